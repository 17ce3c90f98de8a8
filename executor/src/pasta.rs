//! pasta (passt(1)), which makes the interface of a network of a container's own and carries its connections to the outside.
//!
//! A network can be used when its way out is there, long before pasta has made its tables: what is sent meanwhile waits in the
//! interface.

use crate::{
    host_files::{self, OwnAddress},
    host_program::HostProgram,
    kept_network::{Keeper, NetworkNews},
    pasta_command::{PastaCommand, last_words},
};
use nix::{
    errno::Errno,
    fcntl::OFlag,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::memfd::{MFdFlags, memfd_create},
};
use rbuild_cache::BoundPort;
use rbuild_sys::{
    network::{Interface, NetworkChanges, NewNetwork, new_network},
    userns::PrivilegeKind,
};
use std::{
    fs::File,
    io::{self, Read},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    process::{Command, Stdio},
};

/// The device that an interface of a program is made with.
const TUN: &str = "/dev/net/tun";

/// How long pasta may take to connect a network, in milliseconds: what takes it a few, on a machine that has much else to do.
const LONGEST: u16 = 30_000;

/// A network namespace and the program that connects it. Dropping it ends the program, and waits for that.
pub(crate) struct OwnNetwork {
    namespace: OwnedFd,
    interface: Interface,
    ports: Vec<BoundPort>,
    pasta: HostProgram,
    keeper: Keeper,
    /// Where pasta writes its number, perhaps later.
    _ready: File,
}

/// A network that is being made.
pub(crate) struct NetworkToBe {
    namespace: OwnedFd,
    changes: NetworkChanges,
    pasta: HostProgram,
    keeper: Keeper,
    ready: File,
    said: File,
    ports: Vec<BoundPort>,
}

impl NetworkToBe {
    /// Makes a network and begins to connect it. Nothing of the host's loopback can be reached from it, and no port of it from outside
    /// but `ports`.
    ///
    /// # Errors
    /// The kernel's; [`io::ErrorKind::NotFound`] when there is no pasta.
    pub(crate) fn begin(
        privilege: PrivilegeKind,
        address: OwnAddress,
        ports: Vec<BoundPort>,
    ) -> io::Result<Self> {
        // pasta would say so too, but later
        File::options().read(true).write(true).open(TUN).map_err(|error| without_tun(&error))?;
        let NewNetwork { namespace, changes } = new_network()?;
        let (ready, is_ready) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        let said = File::from(memfd_create(c"pasta", MFdFlags::MFD_CLOEXEC)?);
        let command_line = PastaCommand { privilege, address, ports: ports.clone(), said: said.try_clone()? };
        let command = command_line.prepare(&namespace, Some(is_ready), None)?;
        let keeper = Keeper::new(command_line, namespace.try_clone()?);
        let pasta = HostProgram::start_lasting(command, keeper.again(), |_| Ok(()))?;
        Ok(Self { namespace, changes, pasta, keeper, ready: File::from(ready), said, ports })
    }

    /// The namespace, which processes can be made in.
    pub(crate) fn namespace(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }

    /// Waits until it can be used.
    ///
    /// # Errors
    /// With the last words of pasta, if that has ended; [`io::ErrorKind::TimedOut`] when it neither ends nor does its work.
    pub(crate) fn finish(mut self) -> io::Result<OwnNetwork> {
        let (v4, v6) = (host_files::leads_out_by_v4(), host_files::leads_out_by_v6());
        loop {
            let mut watched = [
                PollFd::new(self.ready.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.changes.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut watched, PollTimeout::from(LONGEST)) {
                Err(Errno::EINTR) => continue,
                Ok(0) => return Err(io::Error::new(io::ErrorKind::TimedOut, "pasta does not connect it")),
                polled => polled?,
            };
            let has_said = watched[0].any() == Some(true);
            let found = self.changes.look()?;
            let leads_out = (!v4 || found.leads_out_by_v4()) && (!v6 || found.leads_out_by_v6());
            if has_said {
                // its number, once everything is there
                if self.ready.read(&mut [0; 16])? == 0 {
                    return Err(io::Error::other(last_words(&mut self.said)));
                }
            } else if !leads_out || !(v4 || v6) || !self.ports.is_empty() {
                continue;
            }
            let interface = found.clone();
            return Ok(OwnNetwork {
                namespace: self.namespace,
                interface,
                ports: self.ports,
                pasta: self.pasta,
                keeper: self.keeper,
                _ready: self.ready,
            });
        }
    }
}

impl OwnNetwork {
    /// From now on pasta is started again when it ends by itself, and `tell` hears of it.
    pub(crate) fn keep(&self, tell: impl FnMut(NetworkNews) + Send + 'static) {
        self.keeper.keep(self.interface.hardware, Box::new(tell));
    }

    /// The namespace.
    pub(crate) fn namespace(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }

    /// What leads out of it.
    pub(crate) fn interface(&self) -> &Interface {
        &self.interface
    }

    /// Its ports that are reached through the machine.
    pub(crate) fn ports(&self) -> &[BoundPort] {
        &self.ports
    }

    /// True if it is still connected.
    pub(crate) fn is_connected(&self) -> bool {
        self.pasta.is_running()
    }

    /// Ends it without waiting for that.
    pub(crate) fn abandon(self) {
        self.pasta.kill();
    }
}

/// Sees that pasta can be started, and may do what it has to.
pub(crate) fn check() -> io::Result<()> {
    File::options().read(true).write(true).open(TUN).map_err(|error| without_tun(&error))?;
    let mut command = Command::new("pasta");
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().map(drop)
}

/// The reason for which there is no network, in words.
pub(crate) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "pasta is not installed (package passt)".to_owned(),
        _ => format!("pasta: {error}"),
    }
}

fn without_tun(error: &io::Error) -> io::Error {
    io::Error::other(match error.kind() {
        io::ErrorKind::NotFound => format!("{TUN} is not there (the kernel's module is called tun)"),
        io::ErrorKind::PermissionDenied => {
            format!("{TUN} may not be opened (it must be open to users: mode 0666, or a group of this user)")
        }
        _ => format!("{TUN}: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_not_open_the_device_is_told_what_to_do() {
        let said = reason(&without_tun(&io::ErrorKind::PermissionDenied.into()));
        let expected = "pasta: /dev/net/tun may not be opened (it must be open to users: mode 0666, or a group of this user)";
        assert_eq!(said, expected);
    }
}
