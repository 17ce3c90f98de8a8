//! Changing the networks of a container that does not run: they count when it starts.

use crate::{Engine, Error, NetworkError};
use rbuild_cache::{Container, ContainerNetwork, ContainerState, JoinedNetwork};

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
            Err(Error::Network(NetworkError::NoSuch(name))) => name,
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
