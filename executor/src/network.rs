//! The networks of RUN: by default one of the step's own, from which pasta (passt(1)) carries connections to the outside.
//!
//! A network costs some 10 ms to make, so those that steps have left serve the next ones. Nothing of a step is left in it: its
//! processes have ended, and none may change interfaces, routes or settings.

use crate::{
    NameOptions,
    host_files::OwnAddress,
    pasta::{self, NetworkToBe, OwnNetwork},
};
use rbuild_planner::Network;
use rbuild_sys::{sandbox, userns::PrivilegeKind};
use std::sync::{Mutex, PoisonError};

/// Networks for the steps of a build, made when they are first needed.
pub struct Networks {
    privilege: PrivilegeKind,
    address: OwnAddress,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    idle: Vec<OwnNetwork>,
    /// Why there are none, so that steps have the host's.
    missing: Option<Missing>,
    /// True if one broke off while a step ran, until that was reported.
    has_broken_off: bool,
}

struct Missing {
    reason: String,
    told: bool,
}

/// The network of one step, for as long as it runs.
pub(crate) struct StepNetwork<'a> {
    networks: &'a Networks,
    kind: Kind,
}

enum Kind {
    Host,
    None,
    Own(Option<OwnNetwork>),
}

impl Networks {
    /// Networks that a user with `isolation`'s privilege can make, on which hosts have the names of `names`.
    #[must_use]
    pub fn new(isolation: &crate::Isolation, names: &NameOptions) -> Self {
        let address = names.own_address();
        Self { privilege: isolation.privilege(), address, state: Mutex::default() }
    }

    /// Why steps that should have networks of their own have the host's, if they have; returned once.
    pub fn report_missing(&self) -> Option<String> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = state.missing.as_mut().filter(|missing| !missing.told)?;
        missing.told = true;
        Some(missing.reason.clone())
    }

    /// True if the network of a step broke off while it ran; once for each time.
    pub fn report_broken_off(&self) -> bool {
        std::mem::take(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner).has_broken_off)
    }

    /// The network that a step asks for; the host's when none can be made.
    pub(crate) fn of_step(&self, network: Network) -> StepNetwork<'_> {
        let kind = match network {
            Network::Host => Kind::Host,
            Network::None => Kind::None,
            Network::Default => self.own().map_or(Kind::Host, |own| Kind::Own(Some(own))),
        };
        StepNetwork { networks: self, kind }
    }

    fn own(&self) -> Option<OwnNetwork> {
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.missing.is_some() {
                return None;
            }
            while let Some(idle) = state.idle.pop() {
                if idle.is_connected() {
                    return Some(idle);
                }
            }
        }
        let made = NetworkToBe::begin(self.privilege, self.address, Vec::new());
        let made = made.and_then(NetworkToBe::finish);
        if let Err(error) = &made {
            let reason = pasta::reason(error);
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.missing.get_or_insert(Missing { reason, told: false });
        }
        made.ok()
    }
}

impl StepNetwork<'_> {
    pub(crate) fn as_sandbox(&self) -> sandbox::Network<'_> {
        match &self.kind {
            Kind::Own(Some(own)) => sandbox::Network::Joined(own.namespace()),
            Kind::None => sandbox::Network::None,
            Kind::Host | Kind::Own(None) => sandbox::Network::Host,
        }
    }
}

impl Drop for StepNetwork<'_> {
    fn drop(&mut self) {
        if let Kind::Own(own) = &mut self.kind
            && let Some(own) = own.take()
        {
            let mut state = self.networks.state.lock().unwrap_or_else(PoisonError::into_inner);
            match own.is_connected() {
                true => state.idle.push(own),
                false => state.has_broken_off = true,
            }
        }
    }
}
