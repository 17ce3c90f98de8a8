//! netavark, which makes the networks that containers find each other in, and with aardvark-dns answers for their names.
//!
//! It is a program of others with every right that this process has, and is started as those are ([`foreign_program`]). What it is told
//! is one JSON document (netavark(1), `src/network/types.rs` of netavark 1.4); what it says is shown to people and means nothing else.

use crate::foreign_program::{self, Finished, PATH};
use nix::sys::memfd::{MFdFlags, memfd_create};
use rbuild_cache::{BoundPort, NamedNetwork, NetworkAttachment, hardware_address};
use rbuild_sys::network::set_hardware_address;
use serde_json::{Value, json};
use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Seek, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    os::{
        fd::{AsRawFd, BorrowedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Where distributions keep the helpers of podman (containers.conf(5), `helper_binaries_dir`).
const DIRECTORIES: [&str; 5] = [
    "/usr/local/libexec/podman",
    "/usr/local/lib/podman",
    "/usr/libexec/podman",
    "/usr/lib/podman",
    "/usr/bin",
];
/// How long an answer for a name may take after that, and how long each question waits.
const LONGEST_ANSWER: Duration = Duration::from_secs(5);
const QUESTION: Duration = Duration::from_millis(20);

/// The programs, found.
#[derive(Clone, Debug)]
pub(crate) struct Netavark {
    program: PathBuf,
    names: PathBuf,
    tables: PathBuf,
}

impl Netavark {
    /// Finds the programs that a network needs, IPv6 among it if `v6`.
    ///
    /// # Errors
    /// What is missing, with the package that has it.
    pub(crate) fn find(v6: bool) -> Result<Self, String> {
        let helper = |name: &str| {
            let path = DIRECTORIES.iter().map(|directory| Path::new(directory).join(name));
            path.into_iter()
                .find(|path| path.is_file())
                .ok_or_else(|| format!("{name} is not installed (package {name})"))
        };
        let (program, names) = (helper("netavark")?, helper("aardvark-dns")?);
        let table = |name: &str| {
            let path = PATH.split(':').map(|directory| Path::new(directory).join(name));
            path.into_iter()
                .find(|path| path.is_file())
                .ok_or_else(|| format!("{name} is not installed (package iptables)"))
        };
        let tables = table("iptables")?;
        if v6 {
            table("ip6tables")?;
        }
        Ok(Self { program, names, tables })
    }

    /// Makes the place of a container in a network: an interface in `namespace`, and what the machine needs for it. `state` is where
    /// the names are kept. Waits until the name of the container is known.
    ///
    /// # Errors
    /// The words of the program, or that it does not end.
    pub(crate) fn set_up(
        &self,
        state: &Path,
        namespace: BorrowedFd<'_>,
        place: (&NamedNetwork, &NetworkAttachment),
    ) -> io::Result<()> {
        let (network, attachment) = place;
        self.close_loopback(network)?;
        self.run("setup", state, namespace, place)?;
        // otherwise it changes as containers come and go, and the others send to the old one until they notice
        let gateways = network.subnets.iter().map(|one| &one.gateway);
        set_hardware_address(&network.interface, hardware_address(gateways))?;
        let server = first_v4(network.subnets.iter().map(|one| &one.gateway));
        let (Some(server), Some(own)) = (server, first_v4(&attachment.addresses)) else { return Ok(()) };
        await_name(server, &attachment.container[..12], own)
    }

    /// Lets a container that has several places find the containers of all of them by whichever server it asks. A server looks only
    /// into the networks in which the asking address is (aardvark-dns 1.4, `src/backend/mod.rs`), so each of the container's addresses is
    /// written down in its other networks too, under a name that nobody asks for.
    ///
    /// # Errors
    /// An I/O error; that a server does not answer.
    pub(crate) fn join_names(
        &self,
        state: &Path,
        places: &[(&NamedNetwork, &NetworkAttachment)],
    ) -> io::Result<()> {
        if places.len() < 2 {
            return Ok(());
        }
        let directory = state.join("aardvark-dns");
        let mut expected = Vec::new();
        for (network, _) in places {
            let mut lines = String::new();
            let others = places.iter().filter(|(other, _)| other.id != network.id);
            for (other, attachment) in others {
                let Some(address) = first_v4(&attachment.addresses) else { continue };
                let name = format!("{}-{}", &attachment.container[..12], &other.id[..12]);
                lines.push_str(&format!("{} {address}  {name}\n", attachment.container));
                if let Some(server) = first_v4(network.subnets.iter().map(|one| &one.gateway)) {
                    expected.push((server, name, address));
                }
            }
            File::options().append(true).open(directory.join(&network.id))?.write_all(lines.as_bytes())?;
        }
        if let Some(server) = running_server(state) {
            rustix::process::kill_process(server, rustix::process::Signal::HUP)?;
        }
        expected.iter().try_for_each(|(server, name, address)| await_name(*server, name, *address))
    }

    /// Has a container, which stays where it is, found as `to` and no longer as `from`.
    ///
    /// # Errors
    /// An I/O error; that the server does not answer.
    pub(crate) fn rename(
        state: &Path,
        (network, attachment): (&NamedNetwork, &NetworkAttachment),
        (from, to): (&str, &str),
    ) -> io::Result<()> {
        let path = state.join("aardvark-dns").join(&network.id);
        let text = std::fs::read_to_string(&path)?;
        let draft = path.with_extension("new");
        std::fs::write(&draft, renamed(&text, &attachment.container, (from, to)))?;
        std::fs::rename(&draft, &path)?;
        if let Some(server) = running_server(state) {
            rustix::process::kill_process(server, rustix::process::Signal::HUP)?;
        }
        let server = first_v4(network.subnets.iter().map(|one| &one.gateway));
        let (Some(server), Some(own)) = (server, first_v4(&attachment.addresses)) else { return Ok(()) };
        await_name(server, to, own)
    }

    /// Undoes that.
    ///
    /// # Errors
    /// As [`Self::set_up`]; what could be undone is undone then.
    pub(crate) fn tear_down(
        &self,
        state: &Path,
        namespace: BorrowedFd<'_>,
        place: (&NamedNetwork, &NetworkAttachment),
    ) -> io::Result<()> {
        self.run("teardown", state, namespace, place)
    }

    fn run(
        &self,
        action: &str,
        state: &Path,
        namespace: BorrowedFd<'_>,
        (network, attachment): (&NamedNetwork, &NetworkAttachment),
    ) -> io::Result<()> {
        forget_dead_server(state);
        let mut asked = File::from(memfd_create(c"netavark", MFdFlags::MFD_CLOEXEC)?);
        asked.write_all(document(network, attachment).to_string().as_bytes())?;
        asked.rewind()?;
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(state).arg("--aardvark-binary").arg(&self.names).arg(action);
        // by way of this process, so that the program that stays for the names does not get it
        command.arg(format!("/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd()));
        command.stdin(asked);
        let Finished { status, said } = foreign_program::run(command)?;
        match status.success() {
            true => Ok(()),
            false => Err(io::Error::other(words(&said).unwrap_or_else(|| status.to_string()))),
        }
    }

    /// Drops what containers of the network send to the loopback of the machine: netavark opens that to the interface for the sake
    /// of published ports (`route_localnet` of ip-sysctl in the kernel's documentation).
    fn close_loopback(&self, network: &NamedNetwork) -> io::Result<()> {
        if self.loopback_rule("-C", network)?.status.success() {
            return Ok(());
        }
        let Finished { status, said } = self.loopback_rule("-I", network)?;
        match status.success() {
            true => Ok(()),
            false => Err(io::Error::other(format!("iptables: {}", said.trim()))),
        }
    }

    /// Removes that rule; fine when it is not there.
    pub(crate) fn forget_loopback(&self, network: &NamedNetwork) -> io::Result<()> {
        self.loopback_rule("-D", network).map(drop)
    }

    fn loopback_rule(&self, action: &str, network: &NamedNetwork) -> io::Result<Finished> {
        let mut command = Command::new(&self.tables);
        command.args(["-w", "-t", "raw", action, "PREROUTING", "-i", &network.interface]);
        command.args(["-d", "127.0.0.0/8", "-j", "DROP"]).stdin(Stdio::null());
        foreign_program::run(command)
    }
}

/// What it is told of a container's place in a network. The network has its id for a name, because chains of rules are called after
/// it, and others on the machine may have networks of the same name.
fn document(network: &NamedNetwork, attachment: &NetworkAttachment) -> Value {
    let id = &network.id;
    let subnets: Vec<Value> = network
        .subnets
        .iter()
        .map(|one| json!({ "subnet": one.subnet.to_string(), "gateway": one.gateway.to_string() }))
        .collect();
    // nothing of another network reaches this one
    let mut options = json!({ "isolate": "true" });
    if let Some(mtu) = network.mtu {
        options["mtu"] = mtu.to_string().into();
    }
    let servers: Vec<String> = attachment.servers.iter().map(IpAddr::to_string).collect();
    let addresses: Vec<String> = attachment.addresses.iter().map(IpAddr::to_string).collect();
    json!({
        "container_id": attachment.container,
        "container_name": attachment.name,
        "port_mappings": attachment.ports.iter().map(port).collect::<Vec<_>>(),
        "dns_servers": if servers.is_empty() { Value::Null } else { json!(servers) },
        "networks": { id: {
            "interface_name": attachment.interface,
            "static_ips": addresses,
            "static_mac": attachment.hardware.map(|byte| format!("{byte:02x}")).join(":"),
            "aliases": attachment.aliases,
        } },
        "network_info": { id: {
            "name": id,
            "id": id,
            "driver": "bridge",
            "network_interface": network.interface,
            "subnets": subnets,
            "ipv6_enabled": network.has_v6(),
            "internal": network.internal,
            "dns_enabled": true,
            "ipam_options": { "driver": "host-local" },
            "options": options,
        } },
    })
}

fn port(port: &BoundPort) -> Value {
    let address = port.address.filter(|address| !address.is_unspecified());
    json!({
        "container_port": port.container,
        "host_port": port.host,
        "host_ip": address.map(|address| address.to_string()).unwrap_or_default(),
        "protocol": port.protocol.to_string(),
        "range": 1,
    })
}

/// What it said of its failure: `{"error":"…"}`, on one line.
fn words(said: &str) -> Option<String> {
    let answer: Option<Value> = serde_json::from_str(said.trim()).ok();
    let error = answer.and_then(|answer| Some(answer.get("error")?.as_str()?.to_owned()));
    let words = error.unwrap_or_else(|| said.to_owned());
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    (!words.is_empty()).then_some(words)
}

fn first_v4<'a>(addresses: impl IntoIterator<Item = &'a IpAddr>) -> Option<Ipv4Addr> {
    addresses.into_iter().find_map(|address| match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    })
}

/// What the server reads of a network (aardvark-dns 1.4, `src/config/mod.rs`: a line for each container, with its id, its addresses, and
/// its names after commas), with `to` in place of `from` among the names of `container`.
fn renamed(text: &str, container: &str, (from, to): (&str, &str)) -> String {
    let rename = |line: &str| {
        let mut fields: Vec<String> = line.split(' ').map(str::to_owned).collect();
        if let [id, _, _, names, ..] = fields.as_mut_slice()
            && id == container
        {
            let named: Vec<&str> =
                names.split(',').map(|name| if name == from { to } else { name }).collect();
            *names = named.join(",");
        }
        fields.join(" ") + "\n"
    };
    text.lines().map(rename).collect()
}

/// Forgets the number of a server for names that has ended, because netavark would send another process with that number a signal.
fn forget_dead_server(state: &Path) {
    if running_server(state).is_none() {
        let _ = std::fs::remove_file(number_file(state));
    }
}

/// The process that answers for names, if it runs: one that was killed and that nobody has waited for has no command line.
fn running_server(state: &Path) -> Option<rustix::process::Pid> {
    let text = std::fs::read_to_string(number_file(state)).ok()?;
    let pid = text.trim().parse::<i32>().ok()?;
    let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let program = Path::new(OsStr::from_bytes(words.split(|byte| *byte == 0).next()?));
    rustix::process::Pid::from_raw(pid)
        .filter(|_| pid > 0 && program.file_name() == Some(OsStr::new("aardvark-dns")))
}

fn number_file(state: &Path) -> PathBuf {
    state.join("aardvark-dns/aardvark.pid")
}

/// Waits until `server` knows `name`: netavark tells it, and does not wait for it.
fn await_name(server: Ipv4Addr, name: &str, address: Ipv4Addr) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_read_timeout(Some(QUESTION))?;
    let question = question(name);
    let begun = Instant::now();
    let mut answer = [0; 512];
    while begun.elapsed() < LONGEST_ANSWER {
        let sent = socket.send_to(&question, SocketAddr::from((server, 53)));
        match sent.and_then(|_| socket.recv_from(&mut answer)) {
            Ok((length, from)) if from.ip() == server && answers(&answer[..length], address) => return Ok(()),
            // it may not know it yet, and it may not be there yet
            _ => thread::sleep(Duration::from_millis(3)),
        }
    }
    Err(io::Error::new(
        io::ErrorKind::TimedOut,
        format!("aardvark-dns does not answer for names at {server}:53; another program may have that port"),
    ))
}

/// The question for the address of IPv4 of a name of one label (RFC 1035 section 4.1).
fn question(name: &str) -> Vec<u8> {
    let header = [b'r', b'b', 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    let length = u8::try_from(name.len()).unwrap_or(u8::MAX);
    [&header[..], &[length], name.as_bytes(), &[0, 0, 1, 0, 1]].concat()
}

/// True if an answer to that question says this address.
fn answers(packet: &[u8], address: Ipv4Addr) -> bool {
    let has_answer = packet.get(..2) == Some(b"rb") && packet.get(6..8).is_some_and(|count| count != [0, 0]);
    has_answer && packet.ends_with(&address.octets())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rbuild_cache::{NetworkSubnet, PortProtocol};
    use std::{collections::BTreeMap, os::unix::process::CommandExt};

    #[test]
    fn the_document_says_what_a_place_is() {
        let subnet = |subnet: &str, gateway: &str| NetworkSubnet {
            subnet: subnet.parse().unwrap(),
            gateway: gateway.parse().unwrap(),
            range: None,
        };
        let network = NamedNetwork {
            id: "a".repeat(64),
            name: "front".parse().unwrap(),
            created: "2026-05-02T12:00:00Z".parse().unwrap(),
            subnets: vec![subnet("10.89.7.0/24", "10.89.7.1"), subnet("fd00:77::/64", "fd00:77::1")],
            internal: true,
            interface: "br-aaaaaaaaaaaa".to_owned(),
            mtu: Some(1400),
            options: BTreeMap::new(),
            labels: BTreeMap::new(),
        };
        let attachment = NetworkAttachment {
            container: "c".repeat(64),
            name: "web".to_owned(),
            interface: "eth0".to_owned(),
            hardware: [2, 66, 10, 89, 7, 2],
            addresses: vec!["10.89.7.2".parse().unwrap(), "fd00:77::2".parse().unwrap()],
            aliases: vec!["shop".to_owned()],
            servers: vec!["1.1.1.1".parse().unwrap()],
            ports: vec![BoundPort { container: 80, protocol: PortProtocol::Tcp, address: None, host: 8080 }],
        };
        let told = document(&network, &attachment);
        let own = &told["networks"][&network.id];
        assert_eq!(own["static_ips"], json!(["10.89.7.2", "fd00:77::2"]));
        assert_eq!(own["static_mac"], "02:42:0a:59:07:02");
        let info = &told["network_info"][&network.id];
        assert_eq!(info["options"], json!({ "isolate": "true", "mtu": "1400" }));
        assert_eq!((&info["internal"], &info["ipv6_enabled"]), (&json!(true), &json!(true)));
        assert_eq!(told["port_mappings"][0]["host_ip"], "");
        assert_eq!(told["dns_servers"], json!(["1.1.1.1"]));
    }

    #[test]
    fn a_server_that_was_killed_does_not_run_even_if_nobody_has_waited_for_it() {
        let state = tempfile::tempdir().unwrap();
        assert!(running_server(state.path()).is_none());
        let mut server =
            Command::new("sleep").arg0("/usr/lib/podman/aardvark-dns").arg("1000").spawn().unwrap();
        std::fs::create_dir(state.path().join("aardvark-dns")).unwrap();
        std::fs::write(number_file(state.path()), format!("{}\n", server.id())).unwrap();
        // it has begun before its command line can be read
        while running_server(state.path()).map(|pid| pid.as_raw_nonzero().get() as u32) != Some(server.id()) {
            assert!(server.try_wait().unwrap().is_none());
            thread::sleep(Duration::from_millis(1));
        }
        server.kill().unwrap();
        let number = rustix::process::WaitId::Pid(rustix::process::Pid::from_child(&server));
        let ended = rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
        rustix::process::waitid(number, ended).unwrap();
        assert!(running_server(state.path()).is_none());
        forget_dead_server(state.path());
        assert!(!number_file(state.path()).exists());
        server.wait().unwrap();
    }

    #[test]
    fn only_the_name_of_the_container_is_another() {
        let text =
            "10.89.7.1\naa 10.89.7.2  web,shop,aa \nbb 10.89.7.3 fd00::3 web2,web\naa 10.90.0.2  aa-ff\n";
        let expected =
            "10.89.7.1\naa 10.89.7.2  old,shop,aa \nbb 10.89.7.3 fd00::3 web2,web\naa 10.90.0.2  aa-ff\n";
        assert_eq!(renamed(text, "aa", ("web", "old")), expected);
    }

    #[test]
    fn an_answer_is_one_with_the_address() {
        let asked = question("abc");
        let own = Ipv4Addr::new(10, 89, 7, 2);
        assert_eq!(asked.len(), 12 + 4 + 1 + 4);
        assert!(!answers(&asked, own));
        let mut answer = asked.clone();
        answer[7] = 1;
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 10, 89, 7, 2]);
        assert!(answers(&answer, own) && !answers(&answer, Ipv4Addr::new(10, 89, 7, 3)));
        assert!(!answers(&[], own));
    }

    #[test]
    fn its_words_are_its_error_on_one_line() {
        assert_eq!(words("{\"error\":\"two\\n\\tlines\"}\n").unwrap(), "two lines");
        assert_eq!(words("thread panicked\n").unwrap(), "thread panicked");
        assert!(words(" \n").is_none());
    }

    #[test]
    fn the_number_of_a_server_that_has_ended_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("aardvark-dns/aardvark.pid");
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        // this process is no such server
        for text in [std::process::id().to_string(), "nonsense".to_owned()] {
            std::fs::write(&path, text).unwrap();
            forget_dead_server(directory.path());
            assert!(!path.exists());
        }
    }
}
