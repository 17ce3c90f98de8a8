//! pasta (passt(1)), which makes the interface of a network of a container's own and carries its connections to the outside.
//!
//! A network can be used when its way out is there, long before pasta has made its tables: what is sent meanwhile waits in the
//! interface.

use crate::{
    host_files::{self, FORWARDED_NAME_SERVER, OwnAddress},
    host_program::HostProgram,
};
use nix::{
    errno::Errno,
    fcntl::OFlag,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::memfd::{MFdFlags, memfd_create},
};
use rbuild_cache::{BoundPort, PortProtocol};
use rbuild_sys::{
    host_program::inherit,
    network::{Interface, NetworkChanges, NewNetwork, new_network},
    userns::PrivilegeKind,
};
use std::{
    fs::File,
    io::{self, Read, Seek},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    process::{Command, Stdio},
};

/// The device that an interface of a program is made with.
const TUN: &str = "/dev/net/tun";

/// The address of a network that has none of the machine's, its mask and its way out: those of RFC 7335, which nobody has who could be
/// meant, because they are for such an end of a line alone.
const OTHER_ADDRESS: [&str; 6] = ["-a", "192.0.0.2", "-n", "29", "-g", "192.0.0.1"];

/// How long pasta may take to connect a network, in milliseconds: what takes it a few, on a machine that has much else to do.
const LONGEST: u16 = 30_000;

/// A network namespace and the program that connects it. Dropping it ends the program, and waits for that.
pub(crate) struct OwnNetwork {
    namespace: OwnedFd,
    interface: Interface,
    ports: Vec<BoundPort>,
    pasta: HostProgram,
    /// Where pasta writes its number, perhaps later.
    _ready: File,
}

/// A network that is being made.
pub(crate) struct NetworkToBe {
    namespace: OwnedFd,
    changes: NetworkChanges,
    pasta: HostProgram,
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
        let mut command = Command::new("pasta");
        command.args(["--foreground", "--quiet", "--config-net", "--no-netns-quit", "--no-map-gw"]);
        if address == OwnAddress::Another && host_files::leads_out_by_v4() {
            command.args(OTHER_ADDRESS);
        }
        command.args(forwarded(&ports));
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
        let pasta = HostProgram::start(command, |_| Ok(()))?;
        Ok(Self { namespace, changes, pasta, ready: File::from(ready), said, ports })
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
                _ready: self.ready,
            });
        }
    }
}

impl OwnNetwork {
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

/// The arguments that forward `ports`, and nothing else.
fn forwarded(ports: &[BoundPort]) -> Vec<String> {
    let mut arguments = ["-T", "none", "-U", "none"].map(str::to_owned).to_vec();
    for (flag, protocol) in [("-t", PortProtocol::Tcp), ("-u", PortProtocol::Udp)] {
        let mut those = ports.iter().filter(|port| port.protocol == protocol).peekable();
        if those.peek().is_none() {
            arguments.extend([flag, "none"].map(str::to_owned));
        }
        for BoundPort { address, host, container, .. } in those {
            let address = address.map(|address| format!("{address}/")).unwrap_or_default();
            arguments.extend([flag.to_owned(), format!("{address}{host}:{container}")]);
        }
    }
    arguments
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
        io::ErrorKind::NotFound => format!("{TUN} is not there"),
        io::ErrorKind::PermissionDenied => format!("{TUN} may not be opened"),
        _ => format!("{TUN}: {error}"),
    })
}

/// The last line that pasta wrote about itself.
fn last_words(said: &mut File) -> String {
    let mut text = String::new();
    let _ = said.rewind().and_then(|()| said.take(4096).read_to_string(&mut text));
    let of_it = |line: &&str| !line.trim().is_empty() && !line.contains("to syslog");
    text.lines().rfind(of_it).unwrap_or("it ended at once").to_owned()
}
