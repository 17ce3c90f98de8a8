//! Changing the networks of a container: those of one that does not run, which count when it starts, and the name by which one that runs is
//! found.

use super::places::name_in_network;
use crate::{Engine, Error, NetworkError};
use rbuild_cache::{Container, ContainerNetwork, ContainerState, JoinedNetwork};
use rbuild_executor::rename_in_network;

impl Engine {
    /// Gives a container a place in one more network.
    ///
    /// # Errors
    /// [`NetworkError`] when it runs, or is in the network already, or has a network of another kind; [`Error::NoSuchContainer`].
    pub fn connect_network(&self, container: &str, asked: &JoinedNetwork) -> Result<(), Error> {
        let network = self.named_network(&asked.name)?;
        let (container, mut joined) = self.changeable(container)?;
        joined.push(JoinedNetwork { name: network.name.to_string(), ..asked.clone() });
        let joined = self.checked_networks(&joined).map_err(|error| match error {
            Error::Network(NetworkError::Twice(network)) => {
                NetworkError::Joined { container: container.name.clone(), network }.into()
            }
            other => other,
        })?;
        self.rejoin(&container, ContainerNetwork::Named(joined))
    }

    /// Takes a container's place in a network away.
    ///
    /// # Errors
    /// [`NetworkError`] when it runs or is not in the network; [`Error::NoSuchContainer`].
    pub fn disconnect_network(&self, container: &str, network: &str) -> Result<(), Error> {
        // a network that is gone can still be left
        let name = match self.named_network(network) {
            Err(Error::Network(NetworkError::NoSuch(unknown))) => unknown.name,
            found => found?.name.to_string(),
        };
        let (container, mut joined) = self.changeable(container)?;
        let before = joined.len();
        joined.retain(|one| one.name != name);
        if joined.len() == before {
            return Err(NetworkError::NotJoined { container: container.name, network: name }.into());
        }
        let left = if joined.is_empty() { ContainerNetwork::None } else { ContainerNetwork::Named(joined) };
        self.rejoin(&container, left)
    }

    /// Has a container, which is called `to` from now on, found by that name in the networks in which it runs.
    ///
    /// # Errors
    /// [`Error::Executor`] when those that ask for names cannot be told.
    pub(crate) fn rename_in_networks(&self, container: &Container, to: &str) -> Result<(), Error> {
        let Some(ContainerNetwork::Named(joined)) =
            container.settings.as_ref().map(|settings| &settings.network)
        else {
            return Ok(());
        };
        if container.state != ContainerState::Running {
            return Ok(());
        }
        let turn = self.store.lock_networks()?;
        for one in joined {
            let network = self.named_network(&one.name)?;
            let places = self.store.attachments(&network.id)?;
            if let Some(place) = places.iter().find(|place| place.container == container.id) {
                let (from, to) =
                    (name_in_network(&container.id, &container.name), name_in_network(&container.id, to));
                rename_in_network(&self.store, (&network, place), (from, to), &turn)?;
            }
        }
        Ok(())
    }

    /// A container that does not run, with its networks.
    fn changeable(&self, name: &str) -> Result<(Container, Vec<JoinedNetwork>), Error> {
        let container = self.container(name)?;
        if container.state == ContainerState::Running {
            return Err(NetworkError::ContainerRuns(container.name).into());
        }
        match container.settings.as_ref().map(|settings| &settings.network) {
            Some(ContainerNetwork::Named(joined)) => {
                let joined = joined.clone();
                Ok((container, joined))
            }
            Some(ContainerNetwork::None) => Ok((container, Vec::new())),
            Some(ContainerNetwork::Private | ContainerNetwork::Host | ContainerNetwork::Container(_))
            | None => Err(NetworkError::OtherKind(container.name).into()),
        }
    }

    fn rejoin(&self, container: &Container, network: ContainerNetwork) -> Result<(), Error> {
        Ok(self.store.container(&container.id).update(|container| {
            if let Some(settings) = &mut container.settings {
                settings.network = network;
            }
        })?)
    }
}
