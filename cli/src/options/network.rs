//! The network of a container.

use super::{
    names::{NameFlags, name_options},
    networks, ports,
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
        let network = network(flags)?;
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
        let warning = (publishes && network == ContainerNetwork::Host)
            .then_some("Published ports are discarded when using host network mode");
        Ok(Self {
            network,
            published,
            unnamed_ports: match flags.publish_all {
                true => UnnamedPorts::Published,
                false => UnnamedPorts::Closed,
            },
            exposed,
            names,
            warning,
        })
    }
}

fn network(flags: &NetworkFlags) -> Result<ContainerNetwork, UsageError> {
    let unnamed = flags.network.iter().map(|mode| one(mode)).collect::<Result<Vec<_>, _>>()?;
    let addresses = (flags.ip.as_deref(), flags.ip6.as_deref());
    if !unnamed.is_empty() && unnamed.iter().all(Option::is_none) {
        let places = networks::places(&flags.network, &flags.network_alias, addresses)?;
        return Ok(ContainerNetwork::Named(places));
    }
    if !flags.network_alias.is_empty() {
        return Err(UsageError::new("network-scoped aliases are only supported for user-defined networks"));
    }
    if addresses != (None, None) {
        return Err(UsageError::new("user specified IP address is supported on user defined networks only"));
    }
    let mut unnamed = unnamed.into_iter();
    match (unnamed.next(), unnamed.next()) {
        (None, _) => Ok(ContainerNetwork::Private),
        (Some(Some(mode)), None) => Ok(mode),
        _ => Err(UsageError::new(
            "conflicting options: cannot attach both user-defined and non-user-defined network-modes",
        )),
    }
}

/// A network that has no name of its own; `None` for one that has.
fn one(mode: &str) -> Result<Option<ContainerNetwork>, UsageError> {
    match mode {
        // podman calls it private, docker by what connects it
        "default" | "bridge" | "private" => Ok(Some(ContainerNetwork::Private)),
        "" => Err(UsageError::new("no name set for network")),
        "host" => Ok(Some(ContainerNetwork::Host)),
        "none" => Ok(Some(ContainerNetwork::None)),
        other => match other.strip_prefix("container:") {
            Some("") => Err(UsageError::new("invalid container format container:<name|id>")),
            Some(name) => Ok(Some(ContainerNetwork::Container(name.to_owned()))),
            None => Ok(None),
        },
    }
}
