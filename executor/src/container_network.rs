//! The network of a container, which lives as long as its program.

use crate::{
    Isolation, NameOptions,
    pasta::{self, NetworkToBe, OwnNetwork},
};
use rbuild_sys::{network::Interface, sandbox};
use std::os::fd::{AsFd, OwnedFd};

/// The network of a container, perhaps still being made.
pub struct ContainerNetwork {
    kind: Kind,
    missing: Option<String>,
}

enum Kind {
    Host,
    None,
    ToBe(NetworkToBe),
    Own(OwnNetwork),
    OfOther(OwnedFd),
}

impl ContainerNetwork {
    /// The machine's.
    #[must_use]
    pub fn host() -> Self {
        Self { kind: Kind::Host, missing: None }
    }

    /// A loopback of its own.
    #[must_use]
    pub fn none() -> Self {
        Self { kind: Kind::None, missing: None }
    }

    /// One of its own with a way out, on which hosts have the names of `names`. The machine's where none can be made.
    #[must_use]
    pub fn private(isolation: &Isolation, names: &NameOptions) -> Self {
        match NetworkToBe::begin(isolation.privilege(), names.gateway()) {
            Ok(network) => Self { kind: Kind::ToBe(network), missing: None },
            Err(error) => Self { kind: Kind::Host, missing: Some(pasta::reason(&error)) },
        }
    }

    /// That of another container.
    #[must_use]
    pub fn of_other(namespace: OwnedFd) -> Self {
        Self { kind: Kind::OfOther(namespace), missing: None }
    }

    /// Why a container that should have a network of its own has the machine's.
    #[must_use]
    pub fn missing(&self) -> Option<&str> {
        self.missing.as_deref()
    }

    /// What leads out of a network of its own.
    #[must_use]
    pub fn interface(&self) -> Option<&Interface> {
        match &self.kind {
            Kind::Own(own) => Some(own.interface()),
            Kind::Host | Kind::None | Kind::ToBe(_) | Kind::OfOther(_) => None,
        }
    }

    /// The same, once it can be used.
    pub(crate) fn ready(self) -> Self {
        let Kind::ToBe(network) = self.kind else { return self };
        match network.finish() {
            Ok(own) => Self { kind: Kind::Own(own), missing: None },
            Err(error) => Self { kind: Kind::Host, missing: Some(pasta::reason(&error)) },
        }
    }

    pub(crate) fn as_sandbox(&self) -> sandbox::Network<'_> {
        match &self.kind {
            Kind::Own(own) => sandbox::Network::Joined(own.namespace()),
            Kind::OfOther(namespace) => sandbox::Network::Joined(namespace.as_fd()),
            Kind::None => sandbox::Network::None,
            Kind::Host | Kind::ToBe(_) => sandbox::Network::Host,
        }
    }

    /// Ends it. Nobody waits for what nobody misses.
    pub(crate) fn end(self) {
        if let Kind::Own(own) = self.kind {
            own.abandon();
        }
    }
}
