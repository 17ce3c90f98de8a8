//! The places that a container gets in its networks when it starts.

use super::{addresses, check_free};
use crate::{Engine, Error, NetworkError};
use rbuild_cache::{
    Container, ContainerSettings, JoinedNetwork, NamedNetwork, NetworkAttachment, NetworksLock,
    PublishedPort, hardware_address, is_alias,
};
use rbuild_executor::{ContainerNetwork, clear_network, free_ports};
use std::net::{IpAddr, Ipv4Addr};

/// The digits of an id that a container is found by.
const SHORT_ID: usize = 12;

/// A name server that nothing can be sent to (socket(7), `SO_BROADCAST`): questions are a way out of an internal network too.
const NO_SERVER: IpAddr = IpAddr::V4(Ipv4Addr::BROADCAST);

impl Engine {
    /// What was asked for, with the networks' names in place of ids.
    ///
    /// # Errors
    /// [`NetworkError`], before anything is made.
    pub(crate) fn checked_networks(&self, asked: &[JoinedNetwork]) -> Result<Vec<JoinedNetwork>, Error> {
        let mut checked: Vec<JoinedNetwork> = Vec::new();
        for one in asked {
            self.check_networks(false)?;
            let network = self.named_network(&one.name)?;
            self.check_networks(network.has_v6())?;
            let name = network.name.to_string();
            if checked.iter().any(|other| other.name == name) {
                return Err(NetworkError::Twice(name).into());
            }
            if let Some(alias) = one.aliases.iter().find(|alias| !is_alias(alias)) {
                return Err(NetworkError::Alias(alias.clone()).into());
            }
            addresses::check_addresses(&network, &asked_addresses(one))?;
            checked.push(JoinedNetwork { name, ..one.clone() });
        }
        Ok(checked)
    }

    /// Makes the places of a container that is about to start. This process runs it.
    ///
    /// # Errors
    /// [`NetworkError`], [`Error::Executor`].
    pub(crate) fn named_networks_of(
        &self,
        container: &Container,
        settings: &ContainerSettings,
        joined: &[JoinedNetwork],
    ) -> Result<ContainerNetwork, Error> {
        let turn = self.store.lock_networks()?;
        let mut networks = Vec::new();
        for one in joined {
            networks.push((self.ready_network(&one.name, &turn)?, one));
        }
        let (published, of) = published(&networks, container.published())?;
        // held from here on, so that nobody else of the machine gets them
        let held = free_ports(&published)?;
        let mut planned = Vec::new();
        for (index, (network, one)) in networks.into_iter().enumerate() {
            let others = self.store.attachments(&network.id)?;
            let addresses = addresses::free_addresses(&network, &asked_addresses(one), &others)?;
            let short = short_id(&container.id).to_owned();
            let name = name_in_network(&container.id, &container.name).to_owned();
            let mut aliases = one.aliases.clone();
            aliases.push(short);
            let attachment = NetworkAttachment {
                container: container.id.clone(),
                name,
                interface: format!("eth{index}"),
                hardware: hardware_address(&addresses),
                addresses,
                aliases,
                servers: match network.internal {
                    true => vec![NO_SERVER],
                    false => settings.names.servers.iter().filter_map(|text| text.parse().ok()).collect(),
                },
                ports: if index == of { held.ports.clone() } else { Vec::new() },
            };
            planned.push((network, attachment));
        }
        Ok(ContainerNetwork::named(&self.store, &turn, planned, held)?)
    }

    /// A network in which places can be made.
    fn ready_network(&self, name: &str, turn: &NetworksLock) -> Result<NamedNetwork, Error> {
        let network = self.named_network(name)?;
        self.check_networks(network.has_v6())?;
        clear_network(&self.store, &network, turn)?;
        check_free(&network)?;
        Ok(network)
    }
}

fn asked_addresses(one: &JoinedNetwork) -> Vec<IpAddr> {
    one.v4.map(IpAddr::from).into_iter().chain(one.v6.map(IpAddr::from)).collect()
}

/// The name by which a container called `name` is found: that, if a name server can have it.
pub(super) fn name_in_network<'n>(id: &'n str, name: &'n str) -> &'n str {
    if is_alias(name) { name } else { short_id(id) }
}

fn short_id(id: &str) -> &str {
    id.get(..SHORT_ID).unwrap_or(id)
}

/// The ports of the machine that lead into a container, and the index of the network by which they do: the first that leads out.
fn published(
    networks: &[(NamedNetwork, &JoinedNetwork)],
    asked: Vec<PublishedPort>,
) -> Result<(Vec<PublishedPort>, usize), NetworkError> {
    let Some((first, _)) = networks.first() else { return Ok((Vec::new(), 0)) };
    if asked.is_empty() {
        return Ok((asked, 0));
    }
    let refused =
        |network: &NamedNetwork, reason| NetworkError::Ports { network: network.name.to_string(), reason };
    let index = networks.iter().position(|(network, _)| !network.internal);
    let index = index.ok_or_else(|| refused(first, "nothing leads into an internal network"))?;
    let (network, _) = &networks[index];
    if network.has_v6() {
        return Ok((asked, index));
    }
    let by_v4 = |port: PublishedPort| match port.address {
        Some(IpAddr::V6(_)) => Err(refused(network, "it has no addresses of IPv6; make one with --ipv6")),
        Some(IpAddr::V4(_)) => Ok(port),
        // the other family would lead nowhere
        None => Ok(PublishedPort { address: Some(Ipv4Addr::UNSPECIFIED.into()), ..port }),
    };
    Ok((asked.into_iter().map(by_v4).collect::<Result<_, _>>()?, index))
}
