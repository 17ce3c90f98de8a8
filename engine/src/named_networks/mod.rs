//! Networks with names, in which containers find each other: made, listed, removed; and the places of containers in them.

mod addresses;
mod joining;
mod places;

use crate::{Engine, Error, NetworkError, UnknownName, random_id::random_id};
use rbuild_cache::{NamedNetwork, NetworkAttachment, NetworkName, NetworksLock, Subnet};
use rbuild_executor::{check_network_programs, clear_network, has_interface, host_subnets};
use std::{collections::BTreeMap, net::IpAddr};

/// The digits of an id that an interface is called after, as docker's are.
const INTERFACE_DIGITS: usize = 12;

/// `network create`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkRequest {
    /// Its name.
    pub name: NetworkName,
    /// `--subnet`: of each family one at most; free ones when absent.
    pub subnets: Vec<Subnet>,
    /// `--gateway`: the machine's address in each subnet; the first one when absent.
    pub gateways: Vec<IpAddr>,
    /// `--ip-range`: where the addresses of containers come from, in each subnet.
    pub ranges: Vec<Subnet>,
    /// `--ipv6`.
    pub ipv6: bool,
    /// `--internal`.
    pub internal: bool,
    /// Bytes of its packets, if not as usual.
    pub mtu: Option<u32>,
    /// The interface of the machine; one that is called after its id when absent.
    pub interface: Option<String>,
    /// `--opt` as written.
    pub options: BTreeMap<String, String>,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
}

impl Engine {
    /// Makes a network, of which the kernel knows nothing until a container is in it; returns its id.
    ///
    /// # Errors
    /// [`NetworkError`]; [`Error::Executor`] when a program is missing that networks need; [`Error::Store`].
    pub fn create_network(&self, request: &NetworkRequest) -> Result<String, Error> {
        self.check_networks(request.ipv6 || request.subnets.iter().any(|subnet| !subnet.is_v4()))?;
        let turn = self.store.lock_networks()?;
        let all = self.store.networks()?;
        if all.iter().any(|other| other.name == request.name) {
            return Err(NetworkError::NameTaken(request.name.to_string()).into());
        }
        let id = random_id()?;
        let interface =
            request.interface.clone().unwrap_or_else(|| format!("br-{}", &id[..INTERFACE_DIGITS]));
        if let Some(other) = all.iter().find(|other| other.interface == interface) {
            let text = format!("network {} has the bridge {interface}", other.name);
            return Err(NetworkError::Config(text).into());
        }
        if has_interface(&interface) {
            return Err(NetworkError::Config(format!("the machine has an interface {interface}")).into());
        }
        let random: [u8; 5] = std::array::from_fn(|at| {
            u8::from_str_radix(&id[20 + 2 * at..22 + 2 * at], 16).unwrap_or_default()
        });
        let network = NamedNetwork {
            subnets: addresses::subnets(request, &taken(&all), random)?,
            name: request.name.clone(),
            created: self.store.now().into(),
            internal: request.internal,
            interface,
            mtu: request.mtu,
            options: request.options.clone(),
            labels: request.labels.clone(),
            id,
        };
        self.store.keep_network(&network, &turn)?;
        Ok(network.id)
    }

    /// All networks, by their names, but for those whose records are damaged.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn networks(&self) -> Result<Vec<NamedNetwork>, Error> {
        Ok(self.store.networks()?)
    }

    /// The ids of networks whose records are damaged. Nothing else is known of them, so that only their removal is possible.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn damaged_networks(&self) -> Result<Vec<String>, Error> {
        Ok(self.store.damaged_networks()?)
    }

    /// The network called `name`: its name, its id, or the beginning of its id.
    ///
    /// # Errors
    /// [`NetworkError::NoSuch`], [`NetworkError::Ambiguous`], [`Error::Store`].
    pub fn named_network(&self, name: &str) -> Result<NamedNetwork, Error> {
        let all = self.store.networks()?;
        if let Some(exact) = all.iter().find(|network| network.name.as_str() == name || network.id == name) {
            return Ok(exact.clone());
        }
        let mut fitting = all.iter().filter(|network| !name.is_empty() && network.id.starts_with(name));
        match (fitting.next(), fitting.next()) {
            (Some(one), None) => Ok(one.clone()),
            (Some(_), Some(_)) => Err(NetworkError::Ambiguous(name.to_owned()).into()),
            (None, _) => {
                let known: Vec<&str> = all.iter().map(|network| network.name.as_str()).collect();
                Err(NetworkError::NoSuch(UnknownName::among(name, &known)).into())
            }
        }
    }

    /// The places of containers in a network, with the names that they have by now.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn network_places(&self, network: &NamedNetwork) -> Result<Vec<NetworkAttachment>, Error> {
        self.clear_networks();
        let mut places = self.store.attachments(&network.id)?;
        for place in &mut places {
            if let Ok(container) = self.container(&place.container) {
                place.name = container.name;
            }
        }
        Ok(places)
    }

    /// Removes a network in which no container has a place; one whose record is damaged by its id, or the beginning of that.
    ///
    /// # Errors
    /// [`NetworkError::NoSuch`], [`NetworkError::InUse`], [`NetworkError::Predefined`]; [`Error::Executor`] when what a killed
    /// container left cannot be cleared away.
    pub fn remove_named_network(&self, name: &str) -> Result<(), Error> {
        if NetworkName::is_predefined(name) {
            return Err(NetworkError::Predefined(name.to_owned()).into());
        }
        let turn = self.store.lock_networks()?;
        let network = match self.named_network(name) {
            Err(missing @ Error::Network(NetworkError::NoSuch(_))) => {
                return self.remove_damaged_network(name, &turn)?.ok_or(missing);
            }
            found => found?,
        };
        clear_network(&self.store, &network, &turn)?;
        self.check_empty(&network.id, network.name.as_str())?;
        Ok(self.store.remove_network(&network.id, &turn)?)
    }

    /// Removes the network with this id, or beginning of an id, if its record is damaged. What killed containers have left of it in the
    /// kernel is not known.
    fn remove_damaged_network(&self, id: &str, turn: &NetworksLock) -> Result<Option<()>, Error> {
        let all = self.store.damaged_networks()?;
        let mut fitting = all.into_iter().filter(|damaged| !id.is_empty() && damaged.starts_with(id));
        let (Some(id), None) = (fitting.next(), fitting.next()) else { return Ok(None) };
        for (_, left) in self.store.left_attachments(&id, turn)? {
            left.release(turn)?;
        }
        self.check_empty(&id, &id)?;
        Ok(Some(self.store.remove_network(&id, turn)?))
    }

    /// Sees that no container has a place in a network.
    fn check_empty(&self, id: &str, name: &str) -> Result<(), Error> {
        let places = self.store.attachments(id)?;
        if places.is_empty() {
            return Ok(());
        }
        let containers = places.into_iter().map(|place| (place.name, place.container)).collect();
        Err(NetworkError::InUse { name: name.to_owned(), containers }.into())
    }

    /// Removes those of `networks` in which no container has a place; gives their names.
    pub(crate) fn prune_networks(&self, networks: &[NamedNetwork]) -> Result<Vec<String>, Error> {
        let mut removed = Vec::new();
        for network in networks {
            match self.remove_named_network(&network.id) {
                Ok(()) => removed.push(network.name.to_string()),
                Err(Error::Network(NetworkError::InUse { .. } | NetworkError::NoSuch(_))) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(removed)
    }

    /// Sees that this user can have networks, and that the programs for them are there.
    pub(crate) fn check_networks(&self, v6: bool) -> Result<(), Error> {
        if !self.isolation.is_root() {
            return Err(NetworkError::NeedsRoot.into());
        }
        Ok(check_network_programs(v6)?)
    }

    /// Clears away what killed containers have left of networks. What cannot be stays for who needs that network.
    pub(crate) fn clear_networks(&self) {
        let Ok(networks) = self.store.networks() else { return };
        for network in networks {
            if self.store.attachments(&network.id).is_ok_and(|places| !places.is_empty())
                && let Ok(turn) = self.store.lock_networks()
            {
                let _ = clear_network(&self.store, &network, &turn);
            }
        }
    }
}

/// The addresses that are in use, each with who has them. What leads into a network that is known is that network's.
fn taken(networks: &[NamedNetwork]) -> Vec<(String, Subnet)> {
    let own = networks.iter().flat_map(|network| {
        network.subnets.iter().map(|one| (format!("network {}", network.name), one.subnet))
    });
    let of_machine = host_subnets()
        .into_iter()
        .filter(|(interface, _)| !networks.iter().any(|network| network.interface == *interface));
    own.chain(of_machine.map(|(interface, subnet)| (format!("the machine's interface {interface}"), subnet)))
        .collect()
}

/// Sees that nothing else of the machine has the addresses of a network now.
fn check_free(network: &NamedNetwork) -> Result<(), NetworkError> {
    for (interface, other) in host_subnets().into_iter().filter(|(name, _)| *name != network.interface) {
        if let Some(one) = network.subnets.iter().find(|one| one.subnet.overlaps(&other)) {
            return Err(NetworkError::Overlaps {
                subnet: one.subnet.to_string(),
                other: other.to_string(),
                holder: format!("the machine's interface {interface}"),
            });
        }
    }
    Ok(())
}
