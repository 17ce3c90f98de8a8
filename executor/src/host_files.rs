//! `/etc/hosts` and `/etc/resolv.conf` as every RUN of a build sees them, and its scripts; each written once a build. A
//! container has its own, and `/etc/hostname`.

use crate::ExecutorError;
use rbuild_cache::{ScratchDir, Store, create_private_file};
use rbuild_oci::Digest;
use rbuild_sys::sandbox::Network;
use std::{
    collections::BTreeSet,
    fs::{self, Permissions},
    io::Write,
    net::{IpAddr, Ipv4Addr, UdpSocket},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

/// Name servers that stand in when the host has only loopback ones and the container cannot reach those.
const PUBLIC_NAME_SERVERS: &str = "nameserver 8.8.8.8\nnameserver 8.8.4.4\n";
/// Where a step's own network has a name server, if the host's are on loopback (RFC 3927).
pub(crate) const FORWARDED_NAME_SERVER: &str = "169.254.1.1";
/// Where systemd-resolved keeps the real servers behind its stub at 127.0.0.53.
const SYSTEMD_RESOLVED: &str = "/run/systemd/resolve/resolv.conf";

/// Bytes of a host name that the kernel takes (`HOST_NAME_MAX`).
const LONGEST_HOSTNAME: usize = 64;

/// The address in `--add-host` that stands for the machine itself: what listens on its addresses, but not on its loopback alone.
pub const HOST_GATEWAY: &str = "host-gateway";

/// How names become addresses in a sandbox, beside what is usual.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameOptions {
    /// `--add-host`: host and address, or [`HOST_GATEWAY`].
    pub add_hosts: Vec<(String, String)>,
    /// `--dns`: name servers instead of the host's.
    pub servers: Vec<String>,
    /// `--dns-search`: domains instead of the host's; `.` stands for none.
    pub searches: Vec<String>,
    /// `--dns-option`: options instead of the host's.
    pub options: Vec<String>,
}

/// What the files of a process say of its network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Addresses {
    /// Those that bear its name.
    pub(crate) own: Vec<IpAddr>,
    /// Those of the machine in networks with names, where other containers are found by theirs.
    pub(crate) servers: Vec<IpAddr>,
}

/// Which IPv4 address a network of its own has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum OwnAddress {
    /// The machine's.
    OfMachine,
    /// Another one, so that the machine's leads to the machine, because a name for it was asked for.
    Another,
}

impl NameOptions {
    /// The address that a network needs for these names.
    pub(crate) fn own_address(&self) -> OwnAddress {
        let needs_host = self.add_hosts.iter().any(|(_, address)| address == HOST_GATEWAY);
        if needs_host { OwnAddress::Another } else { OwnAddress::OfMachine }
    }

    /// The same where `servers` know the names of other containers; the host's file is `text`. What `--dns` says is asked by those
    /// servers. A name without a dot is asked for as it is before it is looked for in domains, as docker has it, because it is a
    /// container's more often.
    fn among_others(&self, text: &str, servers: &[IpAddr]) -> Self {
        let options = if self.options.is_empty() {
            let of_host = text.lines().filter_map(|line| line.trim_start().strip_prefix("options"));
            of_host.flat_map(str::split_whitespace).chain(["ndots:0"]).map(str::to_owned).collect()
        } else {
            self.options.clone()
        };
        Self { servers: servers.iter().map(IpAddr::to_string).collect(), options, ..self.clone() }
    }

    /// `text` with what they say in the place of what it says.
    fn apply(&self, text: &str) -> String {
        let said: [(&str, &[String]); 3] =
            [("nameserver", &self.servers), ("search", &self.searches), ("options", &self.options)];
        let replaced = |line: &&str| {
            let word = line.split_whitespace().next().unwrap_or_default();
            let word = if word == "domain" { "search" } else { word };
            said.iter().any(|(key, values)| *key == word && !values.is_empty())
        };
        let mut kept: String =
            text.lines().filter(|line| !replaced(line)).flat_map(|line| [line, "\n"]).collect();
        for server in &self.servers {
            kept.push_str(&format!("nameserver {server}\n"));
        }
        let searches: Vec<&str> =
            self.searches.iter().map(String::as_str).filter(|one| *one != ".").collect();
        if !searches.is_empty() {
            kept.push_str(&format!("search {}\n", searches.join(" ")));
        }
        if !self.options.is_empty() {
            kept.push_str(&format!("options {}\n", self.options.join(" ")));
        }
        kept
    }
}

/// Sees that `name` can be a line of a file, a part of a file's name, and what sethostname(2) takes.
///
/// # Errors
/// [`ExecutorError::HostName`].
pub fn check_hostname(name: &str) -> Result<(), ExecutorError> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.len() <= LONGEST_HOSTNAME && name.bytes().all(is_part) {
        return Ok(());
    }
    Err(ExecutorError::HostName { name: name.to_owned() })
}

/// What a machine, which a process takes its sandbox for, is called.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HostNames<'a> {
    /// Its name.
    pub(crate) host: &'a str,
    /// That of its domain.
    pub(crate) domain: Option<&'a str>,
}

impl HostNames<'_> {
    /// The name with that of the domain.
    pub(crate) fn whole(&self) -> String {
        self.domain.map_or_else(|| self.host.to_owned(), |domain| format!("{}.{domain}", self.host))
    }

    /// All names, as a line of `/etc/hosts` has them.
    fn listed(&self) -> String {
        if self.domain.is_some() { format!("{} {}", self.whole(), self.host) } else { self.host.to_owned() }
    }
}

/// The files, made when the first RUN needs them and removed with the value.
#[derive(Debug)]
pub struct HostFiles {
    store: Store,
    names: NameOptions,
    made: Mutex<Option<Made>>,
}

/// The directory, and the names of the files that are in it whole.
#[derive(Debug)]
struct Made {
    directory: ScratchDir,
    files: BTreeSet<String>,
}

impl HostFiles {
    /// Files that say what `names` does. Nothing is written yet.
    #[must_use]
    pub fn new(store: &Store, names: NameOptions) -> Self {
        Self { store: store.clone(), names, made: Mutex::new(None) }
    }

    /// What is not usual in them.
    #[must_use]
    pub fn names(&self) -> &NameOptions {
        &self.names
    }

    /// The hosts file for a container called `names` on `network`, where it may have addresses.
    ///
    /// # Errors
    /// [`ExecutorError::HostName`], [`ExecutorError::NoHostGateway`]; an I/O error when it cannot be written.
    pub(crate) fn hosts(
        &self,
        (names, addresses): (HostNames<'_>, &Addresses),
        network: Network<'_>,
    ) -> Result<PathBuf, ExecutorError> {
        check_hostname(names.host)?;
        names.domain.map_or(Ok(()), check_hostname)?;
        let (name, machine) = match network {
            Network::Host => (format!("hosts-host-{}", names.whole()), Machine::Here),
            Network::None => (format!("hosts-none-{}", names.whole()), Machine::OutOfReach),
            Network::Joined(_) => (own_hosts(names), Machine::Outside),
        };
        let text = self.hosts_text(names, addresses, machine)?;
        self.write(&name, &text, 0o644)
    }

    /// Writes the addresses, which were not known yet, into the hosts file of a container called `names` in a network of its own. No
    /// process reads that yet.
    ///
    /// # Errors
    /// As [`Self::hosts`].
    pub(crate) fn complete_hosts(
        &self,
        names: HostNames<'_>,
        addresses: &Addresses,
    ) -> Result<(), ExecutorError> {
        let text = self.hosts_text(names, addresses, Machine::Outside)?;
        let path = self.write(&own_hosts(names), &text, 0o644)?;
        // in its place, where it is mounted already
        fs::write(&path, text)
            .map_err(|source| ExecutorError::system("write", path.as_os_str().as_encoded_bytes(), source))
    }

    fn hosts_text(
        &self,
        names: HostNames<'_>,
        addresses: &Addresses,
        machine: Machine,
    ) -> Result<String, ExecutorError> {
        let listed = names.listed();
        let own = match names.domain {
            _ if !addresses.own.is_empty() => String::new(),
            None => format!(" {listed}"),
            // the first name of a line is the one in full
            Some(_) => format!("\n127.0.0.1\t{listed}"),
        };
        let mut text = format!("127.0.0.1\tlocalhost{own}\n::1\tlocalhost ip6-localhost ip6-loopback\n");
        for (host, address) in &self.names.add_hosts {
            if address != HOST_GATEWAY {
                text.push_str(&format!("{address}\t{host}\n"));
                continue;
            }
            match machine.address(addresses) {
                Some(machine) => text.push_str(&format!("{machine}\t{host}\n")),
                None => return Err(ExecutorError::NoHostGateway { host: host.clone() }),
            }
        }
        for address in &addresses.own {
            text.push_str(&format!("{address}\t{listed}\n"));
        }
        Ok(text)
    }

    /// The file `/etc/hostname` of a container called `hostname`.
    ///
    /// # Errors
    /// An I/O error when it cannot be written.
    pub(crate) fn hostname(&self, hostname: &str) -> Result<PathBuf, ExecutorError> {
        self.write("hostname", &format!("{hostname}\n"), 0o644)
    }

    /// The resolver configuration for a container on `network`, where it may have name servers that know others.
    ///
    /// # Errors
    /// An I/O error when it cannot be written.
    pub(crate) fn resolv_conf(
        &self,
        network: Network<'_>,
        addresses: &Addresses,
    ) -> Result<PathBuf, ExecutorError> {
        let own = resolv_conf();
        if !addresses.servers.is_empty() {
            let names = self.names.among_others(&own, &addresses.servers);
            return self.write("resolv.conf-named", &names.apply(&own), 0o644);
        }
        let (name, text) = match network {
            Network::Host | Network::None | Network::Joined(_) if !self.names.servers.is_empty() => {
                ("resolv.conf", own)
            }
            // the host's network reaches the host's loopback servers too
            Network::Host => ("resolv.conf", own),
            Network::None => ("resolv.conf-none", without_loopback(&own, PUBLIC_NAME_SERVERS)),
            Network::Joined(_) => {
                let forwarded = format!("nameserver {FORWARDED_NAME_SERVER}\n");
                ("resolv.conf-own", without_loopback(&own, &forwarded))
            }
        };
        self.write(name, &self.names.apply(&text), 0o644)
    }

    /// A here-document script, executable.
    ///
    /// # Errors
    /// An I/O error when it cannot be written.
    pub(crate) fn script(&self, body: &str) -> Result<PathBuf, ExecutorError> {
        self.write(&format!("script-{}", Digest::of(body.as_bytes()).hex()), body, 0o755)
    }

    /// Writes a file once; steps that start together wait for each other here, since a file that is being mounted must
    /// not be replaced. The mode does not depend on the user's umask: a command may run as another user.
    fn write(&self, name: &str, text: &str, mode: u32) -> Result<PathBuf, ExecutorError> {
        let mut guard = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let made = match &mut *guard {
            Some(made) => made,
            empty => empty.insert(Made { directory: self.store.scratch_dir()?, files: BTreeSet::new() }),
        };
        let path = made.directory.path().join(name);
        if !made.files.contains(name) {
            create_private_file(&path)
                .and_then(|mut file| {
                    file.write_all(text.as_bytes())?;
                    file.set_permissions(Permissions::from_mode(mode))
                })
                .map_err(|source| {
                    ExecutorError::system("write", path.as_os_str().as_encoded_bytes(), source)
                })?;
            made.files.insert(name.to_owned());
        }
        Ok(path)
    }
}

/// The name of the hosts file of a container in a network that is not the machine's.
fn own_hosts(names: HostNames<'_>) -> String {
    format!("hosts-own-{}", names.whole())
}

/// Where the machine is, seen from a network.
#[derive(Clone, Copy)]
enum Machine {
    /// The network is its own, and its loopback too.
    Here,
    Outside,
    OutOfReach,
}

impl Machine {
    /// Its address there; one that nothing answers at where it cannot be reached.
    fn address(self, addresses: &Addresses) -> Option<IpAddr> {
        match self {
            Self::Here => Some(Ipv4Addr::LOCALHOST.into()),
            Self::OutOfReach => Some(machine_address().unwrap_or(Ipv4Addr::UNSPECIFIED).into()),
            // in a network with a name it is there itself
            Self::Outside => {
                addresses.servers.first().copied().or_else(|| machine_address().map(IpAddr::from))
            }
        }
    }
}

/// The machine's IPv4 address on its way out, at which nothing answers that listens on loopback alone; none if it has no such way.
fn machine_address() -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // sends nothing; any port will do
    socket.connect((host_gateway()?, 9)).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(address) if !address.is_loopback() => Some(address),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

/// The host's way out over IPv4; none if the host has no such way.
fn host_gateway() -> Option<Ipv4Addr> {
    parse_gateway(&fs::read_to_string("/proc/net/route").ok()?)
}

/// True if the host reaches others by IPv4.
pub(crate) fn leads_out_by_v4() -> bool {
    host_gateway().is_some()
}

/// True if the host reaches others by IPv6.
pub(crate) fn leads_out_by_v6() -> bool {
    let table = fs::read_to_string("/proc/net/ipv6_route").unwrap_or_default();
    table.lines().any(|line| {
        // destination, its bits, source, its bits, gateway
        let fields: Vec<&str> = line.split_whitespace().take(5).collect();
        let is_zero = |text: &str| text.bytes().all(|digit| digit == b'0');
        matches!(fields[..], [to, bits, _, _, gateway] if is_zero(to) && is_zero(bits) && !is_zero(gateway))
    })
}

/// The first default route of a table as `/proc/net/route` has it: hexadecimal numbers in the machine's byte order.
fn parse_gateway(table: &str) -> Option<Ipv4Addr> {
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (destination, gateway) = (fields.next()?, fields.next()?);
        let number = u32::from_str_radix(gateway, 16).ok().filter(|_| destination == "00000000")?;
        (number != 0).then(|| Ipv4Addr::from(number.to_ne_bytes()))
    })
}

fn resolv_conf() -> String {
    fs::read_to_string("/etc/resolv.conf").unwrap_or_default()
}

/// True if the host's name servers cannot be reached from another network.
pub(crate) fn has_only_loopback_name_servers() -> bool {
    !without_loopback(&resolv_conf(), "").contains("nameserver")
}

/// `text` without name servers on loopback, or with `instead` when no other is in it; the stub of systemd-resolved is replaced by
/// what it asks.
fn without_loopback(text: &str, instead: &str) -> String {
    let text = if text.contains("127.0.0.53") {
        fs::read_to_string(SYSTEMD_RESOLVED).unwrap_or_else(|_| text.to_owned())
    } else {
        text.to_owned()
    };
    let loopback = |line: &str| {
        let server = line.trim_start().strip_prefix("nameserver").map(str::trim);
        server.is_some_and(|server| server.starts_with("127.") || server == "::1")
    };
    let mut kept: String =
        text.lines().filter(|line| !loopback(line)).flat_map(|line| [line, "\n"]).collect();
    if !kept.contains("nameserver") {
        kept.push_str(instead);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_take_the_place_of_what_the_host_says() {
        let host = "# by hand\nnameserver 10.0.0.1\nnameserver 10.0.0.2\nsearch a b\noptions edns0\n";
        let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(NameOptions::default().apply(host), host);
        let all = NameOptions {
            add_hosts: Vec::new(),
            servers: list(&["1.1.1.1", "::2"]),
            searches: list(&["x.example", "y"]),
            options: list(&["ndots:3", "rotate"]),
        };
        let expected =
            "# by hand\nnameserver 1.1.1.1\nnameserver ::2\nsearch x.example y\noptions ndots:3 rotate\n";
        assert_eq!(all.apply(host), expected);
        let none = NameOptions { searches: list(&["."]), ..NameOptions::default() };
        assert_eq!(none.apply("domain a\nnameserver 10.0.0.1\n"), "nameserver 10.0.0.1\n");
    }

    #[test]
    fn containers_are_found_by_their_bare_names_before_domains_are_tried() {
        let host = "nameserver 127.0.0.53\nsearch corp.example\noptions edns0\n";
        let servers = ["10.89.0.1".parse().unwrap()];
        let said = |names: NameOptions| names.among_others(host, &servers).apply(host);
        assert_eq!(
            said(NameOptions::default()),
            "search corp.example\nnameserver 10.89.0.1\noptions edns0 ndots:0\n"
        );
        let list = |word: &str| vec![word.to_owned()];
        let (servers_asked, searches) = (list("1.1.1.1"), list("x"));
        let other = NameOptions {
            servers: servers_asked,
            searches,
            options: list("ndots:2"),
            ..NameOptions::default()
        };
        assert_eq!(said(other), "nameserver 10.89.0.1\nsearch x\noptions ndots:2\n");
    }

    #[test]
    fn the_stub_of_systemd_and_loopback_servers_are_not_handed_on() {
        for (host, instead, expected) in [
            ("nameserver 10.0.0.1\nnameserver 127.0.0.1\n", "", "nameserver 10.0.0.1\n"),
            ("nameserver ::1\nsearch a\n", "nameserver 8.8.8.8\n", "search a\nnameserver 8.8.8.8\n"),
        ] {
            assert_eq!(without_loopback(host, instead), expected);
        }
    }

    #[test]
    fn the_way_out_is_that_of_the_default_route() {
        let gateway = format!("{:08X}", u32::from_ne_bytes([10, 1, 2, 3]));
        let table =
            format!("Iface Destination Gateway\neth0 0001000A 00000000\neth0 00000000 {gateway} 0003\n");
        assert_eq!(parse_gateway(&table), Some(Ipv4Addr::new(10, 1, 2, 3)));
        assert_eq!(parse_gateway("Iface Destination Gateway\nlo 00000000 00000000\n"), None);
    }
}
