//! The command line of pasta (passt(1)).

use crate::host_files::{self, FORWARDED_NAME_SERVER, OwnAddress};
use rbuild_cache::{BoundPort, PortProtocol};
use rbuild_sys::{host_program::inherit, userns::PrivilegeKind};
use std::{
    fs::File,
    io::{self, Read, Seek},
    os::fd::{AsRawFd, OwnedFd},
    process::{Command, Stdio},
};

/// The address of a network that has none of the machine's, its mask and its way out: those of RFC 7335, which nobody has who could be
/// meant, because they are for such an end of a line alone.
const OTHER_ADDRESS: [&str; 6] = ["-a", "192.0.0.2", "-n", "29", "-g", "192.0.0.1"];

/// What pasta is started with, perhaps more than once.
pub(crate) struct PastaCommand {
    pub(crate) privilege: PrivilegeKind,
    pub(crate) address: OwnAddress,
    pub(crate) ports: Vec<BoundPort>,
    /// Where it writes what goes wrong.
    pub(crate) said: File,
}

impl PastaCommand {
    /// The command that connects `namespace`. It writes its number to `ready`; the interface has the address `hardware`, or any.
    pub(crate) fn prepare(
        &self,
        namespace: &OwnedFd,
        ready: Option<OwnedFd>,
        hardware: Option<[u8; 6]>,
    ) -> io::Result<Command> {
        let mut command = Command::new("pasta");
        command.args(["--foreground", "--quiet", "--config-net", "--no-netns-quit", "--no-map-gw"]);
        if self.address == OwnAddress::Another && host_files::leads_out_by_v4() {
            command.args(OTHER_ADDRESS);
        }
        command.args(forwarded(&self.ports));
        if host_files::has_only_loopback_name_servers() {
            // not otherwise: answers of the host's server to who asks it directly would come from this address
            command.args(["--dns-forward", FORWARDED_NAME_SERVER]);
        }
        if let Some([a, b, c, d, e, f]) = hardware {
            command.args(["--ns-mac-addr", &format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")]);
        }
        if self.privilege == PrivilegeKind::Root {
            // another user may not enter the network; pasta gives up every capability in any case
            command.args(["--runas", "0:0"]);
        }
        let inherited = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
        let namespace = namespace.try_clone()?;
        command.args(["--netns", &inherited(&namespace)]);
        if let Some(ready) = &ready {
            command.args(["--pid", &inherited(ready)]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(self.said.try_clone()?);
        inherit(&mut command, std::iter::once(namespace).chain(ready).collect());
        Ok(command)
    }

    /// The last line that it wrote about itself.
    pub(crate) fn last_words(&self) -> String {
        self.said.try_clone().map_or_else(|error| error.to_string(), |mut said| last_words(&mut said))
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

/// The last line that pasta wrote about itself.
pub(crate) fn last_words(said: &mut File) -> String {
    let mut text = String::new();
    let _ = said.rewind().and_then(|()| said.take(4096).read_to_string(&mut text));
    let of_it = |line: &&str| !line.trim().is_empty() && !line.contains("to syslog");
    text.lines().rfind(of_it).unwrap_or("it ended at once").to_owned()
}
