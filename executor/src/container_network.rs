//! The network of a container, which lives as long as its program.

use crate::{
    ExecutorError, FreePorts, Isolation, NameOptions,
    host_files::Addresses,
    kept_network::NetworkNews,
    named_network::Places,
    pasta::{self, NetworkToBe, OwnNetwork},
    ports::free_ports,
};
use nix::fcntl::OFlag;
use rbuild_cache::{
    BoundPort, NamedNetwork, NetworkAttachment, NetworkPlace, NetworksLock, PublishedPort, Store,
};
use rbuild_sys::{network::Interface, sandbox};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Write},
    mem,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    panic::resume_unwind,
    thread,
};

/// The network of a container, perhaps still being made.
pub struct ContainerNetwork {
    kind: Kind,
    missing: Option<String>,
    /// False if it is to be had or nothing.
    may_be_missing: bool,
}

/// What a process is made in.
pub(crate) struct Entrance<'a> {
    pub(crate) network: sandbox::Network<'a>,
    /// What is known of that.
    pub(crate) addresses: Addresses,
    /// Where it waits for the network, if that is not connected yet.
    pub(crate) gate: Option<BorrowedFd<'a>>,
}

enum Kind {
    Host,
    None,
    ToBe(NetworkToBe),
    Own(OwnNetwork),
    Named(Places),
    OfOther(OwnedFd),
}

impl ContainerNetwork {
    /// The machine's.
    #[must_use]
    pub fn host() -> Self {
        Self::of(Kind::Host)
    }

    /// A loopback of its own.
    #[must_use]
    pub fn none() -> Self {
        Self::of(Kind::None)
    }

    /// That of another container.
    #[must_use]
    pub fn of_other(namespace: OwnedFd) -> Self {
        Self::of(Kind::OfOther(namespace))
    }

    /// One of its own with a way out, on which hosts have the names of `names`, and whose ports are `published`. The machine's where
    /// none can be made, unless there are such ports.
    ///
    /// # Errors
    /// [`ExecutorError::PortTaken`], [`ExecutorError::NoNetwork`].
    pub fn private(
        isolation: &Isolation,
        names: &NameOptions,
        published: &[PublishedPort],
    ) -> Result<Self, ExecutorError> {
        let free = free_ports(published)?;
        let ports = free.ports.clone();
        // it takes them
        drop(free);
        let to_be = NetworkToBe::begin(isolation.privilege(), names.own_address(), ports);
        Self { may_be_missing: published.is_empty(), ..Self::host() }.with(to_be.map(Kind::ToBe))
    }

    /// Places in networks with names, in this order; the first has the ports `held`. They are undone when this is dropped.
    ///
    /// # Errors
    /// [`ExecutorError::NamedNetwork`]; an I/O error of the store.
    pub fn named(
        store: &Store,
        turn: &NetworksLock,
        planned: Vec<(NamedNetwork, NetworkAttachment)>,
        held: FreePorts,
    ) -> Result<Self, ExecutorError> {
        Ok(Self::of(Kind::Named(Places::make(store, turn, planned, held)?)))
    }

    fn of(kind: Kind) -> Self {
        Self { kind, missing: None, may_be_missing: true }
    }

    fn with(self, made: io::Result<Kind>) -> Result<Self, ExecutorError> {
        match made {
            Ok(kind) => Ok(Self { kind, ..self }),
            Err(error) if self.may_be_missing => {
                Ok(Self { kind: Kind::Host, missing: Some(pasta::reason(&error)), ..self })
            }
            Err(error) => Err(ExecutorError::NoNetwork { reason: pasta::reason(&error) }),
        }
    }

    /// Why a container that should have a network of its own has the machine's.
    #[must_use]
    pub fn missing(&self) -> Option<&str> {
        self.missing.as_deref()
    }

    /// Sees that `parameters` of the kernel would not be the host's.
    ///
    /// # Errors
    /// [`ExecutorError::ParameterOfHost`].
    pub(crate) fn check_parameters(
        &self,
        parameters: &BTreeMap<String, String>,
    ) -> Result<(), ExecutorError> {
        let mut of_network = parameters.keys().filter(|name| name.starts_with("net."));
        match (&self.kind, of_network.next()) {
            (Kind::Host, Some(name)) => {
                Err(ExecutorError::ParameterOfHost { name: name.clone(), missing: self.missing.clone() })
            }
            _ => Ok(()),
        }
    }

    /// What leads out of a network of its own, each into the network that has a name, if it has.
    #[must_use]
    pub fn interfaces(&self) -> Vec<(Interface, Option<NetworkPlace>)> {
        match &self.kind {
            Kind::Own(own) => vec![(own.interface().clone(), None)],
            Kind::Named(places) => {
                places.interfaces().map(|(interface, place)| (interface, Some(place))).collect()
            }
            Kind::Host | Kind::None | Kind::ToBe(_) | Kind::OfOther(_) => Vec::new(),
        }
    }

    /// What its files are to say of it.
    pub(crate) fn addresses(&self) -> Addresses {
        let own = |interface: &Interface| {
            let v4 = interface.v4.map(|(address, _)| address.into());
            v4.into_iter().chain(interface.v6.map(|(address, _)| address.into())).collect::<Vec<_>>()
        };
        match &self.kind {
            // that of IPv6 need not be there yet
            Kind::Own(network) => Addresses {
                own: network.interface().v4.map(|(address, _)| address.into()).into_iter().collect(),
                servers: Vec::new(),
            },
            Kind::Named(places) => Addresses {
                own: places.interfaces().flat_map(|(interface, _)| own(&interface)).collect(),
                servers: places.name_servers(),
            },
            Kind::Host | Kind::None | Kind::ToBe(_) | Kind::OfOther(_) => Addresses::default(),
        }
    }

    /// Connects it again whenever its pasta ends by itself, which `tell` hears of, on another thread.
    pub fn keep(&self, tell: impl FnMut(NetworkNews) + Send + 'static) {
        if let Kind::Own(own) = &self.kind {
            own.keep(tell);
        }
    }

    /// Its ports that are reached through the machine.
    #[must_use]
    pub fn ports(&self) -> &[BoundPort] {
        match &self.kind {
            Kind::Own(own) => own.ports(),
            Kind::Named(places) => places.ports(),
            Kind::Host | Kind::None | Kind::ToBe(_) | Kind::OfOther(_) => &[],
        }
    }

    /// The same, once it can be used.
    ///
    /// # Errors
    /// [`ExecutorError::NoNetwork`].
    pub(crate) fn ready(mut self) -> Result<Self, ExecutorError> {
        match mem::replace(&mut self.kind, Kind::Host) {
            Kind::ToBe(network) => self.with(network.finish().map(Kind::Own)),
            kind => Ok(Self { kind, ..self }),
        }
    }

    /// Starts a process in it by `start`. While it is being connected the process is made already, and waits with its command until that
    /// is done and `know` was told the addresses. There is no process if the network had to become another one: the machine's.
    ///
    /// # Errors
    /// [`ExecutorError::NoNetwork`]; those of `start` and `know`.
    pub(crate) fn start<T>(
        self,
        start: impl FnOnce(Entrance<'_>) -> Result<T, ExecutorError>,
        know: impl FnOnce(&Addresses) -> Result<(), ExecutorError> + Send,
    ) -> Result<(Option<T>, Self), ExecutorError> {
        let Kind::ToBe(to_be) = &self.kind else {
            let entrance = Entrance { network: self.as_sandbox(), addresses: self.addresses(), gate: None };
            return Ok((Some(start(entrance)?), self));
        };
        let failed = |call| move |error: io::Error| ExecutorError::system(call, b"a network", error);
        let namespace = to_be.namespace().try_clone_to_owned().map_err(failed("duplicate"))?;
        let (gate, opener) =
            nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(|errno| failed("pipe2")(errno.into()))?;
        thread::scope(|scope| {
            // closes its end, whatever becomes of the network
            let connected = scope.spawn(move || {
                let mut opener = File::from(opener);
                let network = self.ready()?;
                if let Kind::Own(_) = network.kind {
                    know(&network.addresses())?;
                    opener.write_all(&[1]).map_err(failed("open"))?;
                }
                Ok::<_, ExecutorError>(network)
            });
            let network = sandbox::Network::Joined(namespace.as_fd());
            let entrance = Entrance { network, addresses: Addresses::default(), gate: Some(gate.as_fd()) };
            let started = start(entrance);
            let network: Self = connected.join().unwrap_or_else(|panic| resume_unwind(panic))?;
            match &network.kind {
                Kind::Own(_) => Ok((Some(started?), network)),
                _ => Ok((None, network)),
            }
        })
    }

    fn as_sandbox(&self) -> sandbox::Network<'_> {
        match &self.kind {
            Kind::Own(own) => sandbox::Network::Joined(own.namespace()),
            Kind::Named(places) => sandbox::Network::Joined(places.namespace()),
            Kind::OfOther(namespace) => sandbox::Network::Joined(namespace.as_fd()),
            Kind::None => sandbox::Network::None,
            Kind::ToBe(to_be) => sandbox::Network::Joined(to_be.namespace()),
            Kind::Host => sandbox::Network::Host,
        }
    }

    /// Ends it. Nobody waits for what nobody misses, as ports that others may take.
    pub(crate) fn end(self) {
        match self.kind {
            Kind::Own(own) if own.ports().is_empty() => own.abandon(),
            kind => drop(kind),
        }
    }
}
