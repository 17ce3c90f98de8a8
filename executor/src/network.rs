//! The networks of RUN: by default one of the step's own, from which pasta (passt(1)) carries connections to the outside.
//!
//! A network costs some 30 ms to make, so those that steps have left serve the next ones. Nothing of a step is left in it: its
//! processes have ended, and none may change interfaces, routes or settings.

use crate::{
    NameOptions,
    host_files::{self, FORWARDED_NAME_SERVER},
    host_program::HostProgram,
};
use nix::{
    fcntl::OFlag,
    sys::memfd::{MFdFlags, memfd_create},
};
use rbuild_planner::Network;
use rbuild_sys::{host_program::inherit, network::new_network, sandbox, userns::PrivilegeKind};
use std::{
    fs::File,
    io::{self, Read, Seek},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
};

/// Networks for the steps of a build, made when they are first needed.
pub struct Networks {
    privilege: PrivilegeKind,
    gateway: Gateway,
    state: Mutex<State>,
}

/// What the address of the way out leads to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gateway {
    /// The way out.
    Itself,
    /// The host's loopback, because a name for the host was asked for.
    Host,
}

#[derive(Default)]
struct State {
    idle: Vec<OwnNetwork>,
    /// Why there are none, so that steps have the host's.
    missing: Option<Missing>,
}

struct Missing {
    reason: String,
    told: bool,
}

/// A network namespace and the program that connects it.
struct OwnNetwork {
    namespace: OwnedFd,
    pasta: HostProgram,
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
        let gateway = if names.need_gateway() { Gateway::Host } else { Gateway::Itself };
        Self { privilege: isolation.privilege(), gateway, state: Mutex::default() }
    }

    /// Why steps that should have networks of their own have the host's, if they have; returned once.
    pub fn report_missing(&self) -> Option<String> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = state.missing.as_mut().filter(|missing| !missing.told)?;
        missing.told = true;
        Some(missing.reason.clone())
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
                if idle.pasta.is_running() {
                    return Some(idle);
                }
            }
        }
        let made = OwnNetwork::new(self.privilege, self.gateway);
        if let Err(error) = &made {
            let reason = match error.kind() {
                io::ErrorKind::NotFound => "pasta is not installed (package passt)".to_owned(),
                _ => format!("pasta: {error}"),
            };
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.missing.get_or_insert(Missing { reason, told: false });
        }
        made.ok()
    }
}

impl StepNetwork<'_> {
    pub(crate) fn as_sandbox(&self) -> sandbox::Network<'_> {
        match &self.kind {
            Kind::Own(Some(own)) => sandbox::Network::Joined(own.namespace.as_fd()),
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
            self.networks.state.lock().unwrap_or_else(PoisonError::into_inner).idle.push(own);
        }
    }
}

impl OwnNetwork {
    /// Makes a network and connects it. Nothing of the host's loopback can be reached unless the gateway is the host, and no port of it
    /// from outside.
    fn new(privilege: PrivilegeKind, gateway: Gateway) -> io::Result<Self> {
        let namespace = new_network()?;
        let (ready, is_ready) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        let said = memfd_create(c"pasta", MFdFlags::MFD_CLOEXEC)?;
        let mut said = File::from(said);
        let mut command = Command::new("pasta");
        command.args(["--foreground", "--quiet", "--config-net", "--no-netns-quit"]);
        if gateway == Gateway::Itself {
            command.arg("--no-map-gw");
        }
        command.args(["-t", "none", "-u", "none", "-T", "none", "-U", "none"]);
        if host_files::has_only_loopback_name_servers() {
            // not otherwise: answers of the host's server to who asks it directly would come from this address
            command.args(["--dns-forward", FORWARDED_NAME_SERVER]);
        }
        if privilege == PrivilegeKind::Root {
            // another user may not enter the network; pasta gives up every capability in any case
            command.args(["--runas", "0:0"]);
        }
        let inherited = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
        let for_pasta = namespace.try_clone()?;
        command.args(["--netns", &inherited(&for_pasta), "--pid", &inherited(&is_ready)]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said.try_clone()?);
        inherit(&mut command, vec![for_pasta, is_ready]);
        let pasta = HostProgram::start(command, |_| {
            // it writes its number once the network is there
            let count = File::from(ready).read(&mut [0; 16])?;
            if count > 0 { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
        });
        let pasta = pasta.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => io::Error::other(last_words(&mut said)),
            _ => error,
        })?;
        Ok(Self { namespace, pasta })
    }
}

/// The last line that pasta wrote about itself.
fn last_words(said: &mut File) -> String {
    let mut text = String::new();
    let _ = said.rewind().and_then(|()| said.take(4096).read_to_string(&mut text));
    let of_it = |line: &&str| !line.trim().is_empty() && !line.contains("to syslog");
    text.lines().rfind(of_it).unwrap_or("it ended at once").to_owned()
}
