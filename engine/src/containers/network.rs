//! The network that a container asks for, made for its program.

use crate::{Engine, Error, NetworkError};
use rbuild_cache::{
    Container, ContainerLock, ContainerNames, ContainerNetwork as Recorded, ContainerProgram,
    ContainerSettings, ContainerState, ProgramNetwork, StoreError,
};
use rbuild_executor::{ContainerNetwork, NameOptions, NetworkNews};
use std::{
    fs::File,
    io::{self, Write},
    os::fd::OwnedFd,
    path::PathBuf,
};

/// Containers one of which has the network of the next.
const MOST_SHARED: usize = 64;

impl Engine {
    /// Makes an ordinary user's process, which must have one thread, root of the user namespace of a container that runs, so that it
    /// may have that container's network. False when there is no such container.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Executor`].
    pub fn begin_beside(&self, name: &str) -> Result<bool, Error> {
        let container = match self.container(name) {
            Err(Error::NoSuchContainer(_)) => return Ok(false),
            found => found?,
        };
        let process = match container.state {
            ContainerState::Running => self.process_of(&container)?,
            ContainerState::Created | ContainerState::Exited(_) => None,
        };
        process.map_or(Ok(false), |process| Ok(process.begin_beside().map(|()| true)?))
    }

    /// Begins to make the network of a container. An ordinary user is root of the same user namespace as a container whose network it
    /// is to be.
    pub(super) fn network_of(&self, container: &Container) -> Result<ContainerNetwork, Error> {
        let Some(settings) = &container.settings else { return Ok(ContainerNetwork::host()) };
        match &settings.network {
            Recorded::Private => {
                let published = container.published();
                Ok(ContainerNetwork::private(&self.isolation, &name_options(settings), &published)?)
            }
            Recorded::Host => Ok(ContainerNetwork::host()),
            Recorded::None => Ok(ContainerNetwork::none()),
            Recorded::Named(joined) => self.named_networks_of(container, settings, joined),
            Recorded::Container(id) => {
                let other = self.container(id).map_err(|_| {
                    NetworkError::Removed(settings.network_owner.as_ref().unwrap_or(id).clone())
                })?;
                let process = match other.state {
                    ContainerState::Running => self.process_of(&other)?,
                    ContainerState::Created | ContainerState::Exited(_) => None,
                };
                let process = process.ok_or(NetworkError::NotRunning(other.name))?;
                Ok(process.network()?.map_or_else(ContainerNetwork::host, ContainerNetwork::of_other))
            }
        }
    }

    /// The network that is asked for, with the id of another container in place of its name. Networks with names are there, and the
    /// programs that they need.
    pub(super) fn recorded_network(&self, network: &Recorded) -> Result<Recorded, Error> {
        match network {
            Recorded::Container(name) => Ok(Recorded::Container(self.container(name)?.id)),
            Recorded::Named(joined) => self.checked_networks(joined).map(Recorded::Named),
            Recorded::Private | Recorded::Host | Recorded::None => Ok(network.clone()),
        }
    }

    /// The host name of a container: its own, or that of the one whose network it has.
    pub(super) fn hostname_of(&self, container: &Container) -> String {
        let owner_of = |container: &Container| self.container(container.other_network()?).ok();
        // records that were changed by hand may lead in a circle
        let owners = std::iter::successors(owner_of(container), owner_of).take(MOST_SHARED);
        let owner = owners.last();
        let owner = owner.as_ref().unwrap_or(container);
        let own = owner.settings.as_ref().and_then(|settings| settings.hostname.clone());
        own.unwrap_or_else(|| owner.id.chars().take(12).collect())
    }
}

/// How names become addresses in a container.
pub(super) fn name_options(settings: &ContainerSettings) -> NameOptions {
    let ContainerNames { add_hosts, servers, searches, options } = settings.names.clone();
    NameOptions { add_hosts, servers, searches, options }
}

/// What is noted of a network that a program has for itself.
pub(super) fn noted(network: &ContainerNetwork) -> Option<Box<ProgramNetwork>> {
    let mut interfaces = network.interfaces().into_iter().map(|(interface, place)| ProgramNetwork {
        hardware: interface.hardware,
        v4: interface.v4,
        v4_gateway: interface.v4_gateway,
        v6: interface.v6,
        v6_gateway: interface.v6_gateway,
        ports: Vec::new(),
        place,
        others: Vec::new(),
    });
    let first = interfaces.next()?;
    Some(Box::new(ProgramNetwork { ports: network.ports().to_vec(), others: interfaces.collect(), ..first }))
}

/// Has `network` connected again when that breaks off, and its note by `lock` corrected where it cannot be. What is returned can be read:
/// a line each time.
pub(super) fn kept(
    network: &ContainerNetwork,
    program: &ContainerProgram,
    lock: &ContainerLock,
) -> Result<OwnedFd, Error> {
    let failed = |errno| Error::Io {
        action: "make a pipe for",
        path: PathBuf::from("the network of a container"),
        source: io::Error::from(errno),
    };
    let (news, told) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(failed)?;
    let mut told = File::from(told);
    let lost = ContainerProgram { network: None, ..program.clone() };
    let mut correct = lock.correction()?;
    network.keep(move |happened| {
        let line = match happened {
            NetworkNews::StartedAgain => {
                "pasta, which carries the container's network, had ended and was started again: connections broke off".to_owned()
            }
            NetworkNews::Lost(reason) => {
                let corrected: Result<(), StoreError> = correct.note(&lost);
                let and = corrected.map_or_else(|error| format!(" ({error})"), |()| String::new());
                format!("the container has no network and no ports any more: pasta ends again and again: {reason}{and}")
            }
        };
        // who does not read any more has ended
        let _ = told.write_all(format!("rbuild: {line}\n").as_bytes());
    });
    Ok(news)
}
