//! The network of a container.

use super::{
    names::{NameFlags, name_options},
    ports,
};
use crate::{args::NetworkFlags, error::UsageError};
use rbuild::{ContainerNames, ContainerNetwork, NameOptions, PublishedPort, UnnamedPorts};

/// A container's network, and what is to be reached and found in it.
#[derive(Clone, Debug)]
pub(crate) struct NetworkOptions {
    /// `--network`.
    pub(crate) network: ContainerNetwork,
    /// `--publish`.
    pub(crate) published: Vec<PublishedPort>,
    /// `--publish-all`.
    pub(crate) unnamed_ports: UnnamedPorts,
    /// `--expose`.
    pub(crate) exposed: Vec<String>,
    /// `--add-host`, `--dns` and its kin.
    pub(crate) names: ContainerNames,
    /// What has no effect.
    pub(crate) warning: Option<&'static str>,
}

impl NetworkOptions {
    /// Settles what `flags` mean for a container with this `--hostname`.
    ///
    /// # Errors
    /// [`UsageError`] in Docker's words.
    pub(super) fn new(flags: &NetworkFlags, hostname: Option<&str>) -> Result<Self, UsageError> {
        let network = network(flags.network.as_deref())?;
        let names = NameFlags {
            add_host: &flags.add_host,
            dns: &flags.dns,
            dns_search: &flags.dns_search,
            dns_option: &flags.dns_option,
        };
        let NameOptions { add_hosts, servers, searches, options } = name_options(&names, UsageError::Line)?;
        let names = ContainerNames { add_hosts, servers, searches, options };
        let published = ports::published(&flags.publish)?;
        let exposed = ports::exposed(&flags.expose)?;
        let publishes = flags.publish_all || !published.is_empty();
        if let ContainerNetwork::Container(_) = network {
            let conflicts = [
                (hostname.is_some(), "hostname"),
                (!names.add_hosts.is_empty(), "custom host-to-IP mapping"),
                (names != ContainerNames { add_hosts: names.add_hosts.clone(), ..Default::default() }, "dns"),
                (publishes, "port publishing"),
                (!exposed.is_empty(), "port exposing"),
            ];
            if let Some((_, what)) = conflicts.iter().find(|(is_given, _)| *is_given) {
                return Err(UsageError::new(format!("conflicting options: {what} and the network mode")));
            }
        }
        let is_private = network == ContainerNetwork::Private;
        let warning = (publishes && network == ContainerNetwork::Host)
            .then_some("Published ports are discarded when using host network mode");
        Ok(Self {
            network,
            published: if is_private { published } else { Vec::new() },
            unnamed_ports: match flags.publish_all && is_private {
                true => UnnamedPorts::Published,
                false => UnnamedPorts::Closed,
            },
            exposed,
            names,
            warning,
        })
    }
}

fn network(mode: Option<&str>) -> Result<ContainerNetwork, UsageError> {
    match mode {
        // podman calls it private, docker by what connects it
        None | Some("default" | "bridge" | "private") => Ok(ContainerNetwork::Private),
        Some("") => Err(UsageError::new("no name set for network")),
        Some("host") => Ok(ContainerNetwork::Host),
        Some("none") => Ok(ContainerNetwork::None),
        Some(other) => match other.strip_prefix("container:") {
            Some("") => Err(UsageError::new("invalid container format container:<name|id>")),
            Some(name) => Ok(ContainerNetwork::Container(name.to_owned())),
            None => Err(UsageError::new(format!(
                "--network {other} is not supported yet: use private, host, none or container:NAME"
            ))),
        },
    }
}
