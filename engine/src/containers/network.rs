//! The network that a container asks for, made for its program.

use crate::{Engine, Error, NetworkError};
use rbuild_cache::{Container, ContainerNetwork as Recorded, ContainerState};
use rbuild_executor::{ContainerNetwork, NameOptions};

impl Engine {
    /// Begins to make the network of a container. An ordinary user is root of the same user namespace as a container whose network it
    /// is to be.
    pub(super) fn network_of(&self, network: &Recorded) -> Result<ContainerNetwork, Error> {
        match network {
            Recorded::Private => Ok(ContainerNetwork::private(&self.isolation, &NameOptions::default())),
            Recorded::Host => Ok(ContainerNetwork::host()),
            Recorded::None => Ok(ContainerNetwork::none()),
            Recorded::Container(id) => {
                let other = self.container(id).map_err(|_| NetworkError::Removed(id.clone()))?;
                let process = match other.state {
                    ContainerState::Running => self.process_of(&other)?,
                    ContainerState::Created | ContainerState::Exited(_) => None,
                };
                let process = process.ok_or(NetworkError::NotRunning(other.name))?;
                Ok(process.network()?.map_or_else(ContainerNetwork::host, ContainerNetwork::of_other))
            }
        }
    }

    /// The network that is asked for, with the id of another container in place of its name.
    pub(super) fn recorded_network(&self, network: &Recorded) -> Result<Recorded, Error> {
        match network {
            Recorded::Container(name) => Ok(Recorded::Container(self.container(name)?.id)),
            Recorded::Private | Recorded::Host | Recorded::None => Ok(network.clone()),
        }
    }

    /// The host name of a container: its own, or that of the one whose network it has.
    pub(super) fn hostname_of(&self, container: &Container) -> String {
        let settings = container.settings.as_ref();
        if let Some(Recorded::Container(id)) = settings.map(|settings| &settings.network)
            && let Ok(other) = self.container(id)
        {
            return self.hostname_of(&other);
        }
        let own = settings.and_then(|settings| settings.hostname.clone());
        own.unwrap_or_else(|| container.id[..12].to_owned())
    }
}
