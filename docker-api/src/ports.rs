//! The network of a container in Docker's shapes: its ports, in `ps`, `inspect` and `port`.

use crate::FilterError;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use rbuild::{BoundPort, Container, ContainerNetwork, ContainerState, Digest, PortProtocol, ProgramNetwork};
use serde::Serialize;
use std::collections::BTreeMap;

/// Where a port of a container is reached on the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct HostPort {
    /// The address; all of its family are zeros.
    pub host_ip: String,
    /// The port.
    pub host_port: String,
}

/// A port of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContainerPort {
    number: u16,
    protocol: PortProtocol,
}

impl ContainerPort {
    /// Reads `PORT` or `PORT/PROTOCOL`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let protocol = match protocol {
            "tcp" => PortProtocol::Tcp,
            "udp" => PortProtocol::Udp,
            _ => return None,
        };
        Some(Self { number: number.parse().ok()?, protocol })
    }
}

impl std::fmt::Display for ContainerPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.number, self.protocol)
    }
}

/// The lines of `port`: those of one port of the container, or of all. `None` when there are none.
#[must_use]
pub fn port_lines(container: &Container, only: Option<ContainerPort>) -> Option<String> {
    let reached = reached(container).into_iter();
    let lines: Vec<String> = match only {
        Some(only) => reached.filter(|(port, _)| *port == only).map(|(_, at)| format!("{at}\n")).collect(),
        None => reached.map(|(port, at)| format!("{port} -> {at}\n")).collect(),
    };
    (only.is_none() || !lines.is_empty()).then(|| lines.concat())
}

/// Ports that follow one another, in the container and on the machine.
struct Neighbours {
    /// Where they are reached; `None` for what is only exposed.
    ip: Option<IpAddr>,
    first: ContainerPort,
    last: u16,
    /// The first and the last port of the machine.
    host: (u16, u16),
}

impl Neighbours {
    /// Takes a port if it follows the last one.
    fn take(&mut self, (port, ip, host): (ContainerPort, Option<IpAddr>, u16)) -> bool {
        let follows = self.ip == ip
            && self.first.protocol == port.protocol
            && self.last.checked_add(1) == Some(port.number)
            && self.host.1.checked_add(1) == Some(host);
        if follows {
            (self.last, self.host.1) = (port.number, host);
        }
        follows
    }
}

impl std::fmt::Display for Neighbours {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let range = |first: u16, last: u16| {
            if first == last { first.to_string() } else { format!("{first}-{last}") }
        };
        match self.ip {
            Some(IpAddr::V4(ip)) => write!(f, "{ip}:{}->", range(self.host.0, self.host.1))?,
            Some(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}->", range(self.host.0, self.host.1))?,
            None => {}
        }
        write!(f, "{}/{}", range(self.first.number, self.last), self.first.protocol)
    }
}

/// The column of `ps`.
pub(crate) fn ports_column(container: &Container) -> String {
    if container.network.is_none() {
        return String::new();
    }
    let reached = reached(container);
    let mut all: Vec<_> = reached.iter().map(|(port, at)| (*port, Some(at.ip()), at.port())).collect();
    // those of one address together, as neighbours become ranges
    all.sort_by_key(|(port, ip, host)| (port.protocol, *ip, port.number, *host));
    let is_reached = |exposed: &ContainerPort| reached.iter().any(|(port, _)| port == exposed);
    let closed = exposed(container).into_iter().filter(|port| !is_reached(port));
    let mut groups: Vec<Neighbours> = Vec::new();
    for (port, ip, host) in all.into_iter().chain(closed.map(|port| (port, None, port.number))) {
        if !groups.last_mut().is_some_and(|group| group.take((port, ip, host))) {
            groups.push(Neighbours { ip, first: port, last: port.number, host: (host, host) });
        }
    }
    groups.sort_by_key(|group| (group.first, group.ip));
    groups.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The networks of a container by their names.
pub(crate) fn network_names(container: &Container) -> Vec<&str> {
    match container.settings.as_ref().map(|settings| &settings.network) {
        Some(ContainerNetwork::Private) => vec!["bridge"],
        Some(ContainerNetwork::Host) => vec!["host"],
        Some(ContainerNetwork::None) => vec!["none"],
        Some(ContainerNetwork::Named(joined)) => joined.iter().map(|one| one.name.as_str()).collect(),
        Some(ContainerNetwork::Container(_)) | None => Vec::new(),
    }
}

/// Some ports, as a filter of `ps` names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilteredPorts {
    first: u16,
    last: u16,
    protocol: PortProtocol,
}

impl FilteredPorts {
    /// Reads `PORT[-PORT][/PROTOCOL]`.
    pub(crate) fn parse(text: &str) -> Result<Self, FilterError> {
        let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let read = |number: &str| ContainerPort::parse(&format!("{number}/{protocol}"));
        match (read(first), read(last)) {
            (Some(first), Some(last)) if first <= last => {
                Ok(Self { first: first.number, last: last.number, protocol: first.protocol })
            }
            _ => Err(FilterError::Invalid(text.to_owned())),
        }
    }

    /// True if one of a container's ports is reached at one of these of the machine.
    pub(crate) fn are_published(&self, container: &Container) -> bool {
        let ports = container.network.iter().flat_map(|network| &network.ports);
        ports.into_iter().any(|port| self.admit(port.host, port.protocol))
    }

    /// True if one of a container's ports, reached or not, is one of these.
    pub(crate) fn are_exposed(&self, container: &Container) -> bool {
        let ports = container.network.iter().flat_map(|network| &network.ports);
        let reached = ports.map(|port| (port.container, port.protocol));
        let exposed = exposed(container).into_iter().map(|port| (port.number, port.protocol));
        container.network.is_some()
            && reached.chain(exposed).any(|(number, protocol)| self.admit(number, protocol))
    }

    fn admit(&self, number: u16, protocol: PortProtocol) -> bool {
        protocol == self.protocol && (self.first..=self.last).contains(&number)
    }
}

/// The `NetworkSettings` of `inspect`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkSettings {
    /// Always empty.
    pub bridge: &'static str,
    /// Always empty: a network has no name of its own in the kernel.
    #[serde(rename = "SandboxID")]
    pub sandbox_id: &'static str,
    /// The file that stands for its network, while it runs.
    pub sandbox_key: String,
    /// The ports, each with where it is reached, or nothing for one that is only exposed.
    pub ports: BTreeMap<String, Option<Vec<HostPort>>>,
    #[serde(flatten)]
    old: OldSettings,
    #[serde(flatten)]
    endpoint: Endpoint,
    /// The same by the names of networks.
    pub networks: BTreeMap<String, NamedEndpoint>,
}

/// What docker shows for those who knew it long ago.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct OldSettings {
    hairpin_mode: bool,
    #[serde(rename = "LinkLocalIPv6Address")]
    link_local_ipv6_address: &'static str,
    #[serde(rename = "LinkLocalIPv6PrefixLen")]
    link_local_ipv6_prefix_len: u8,
    #[serde(rename = "SecondaryIPAddresses")]
    secondary_ip_addresses: Option<()>,
    #[serde(rename = "SecondaryIPv6Addresses")]
    secondary_ipv6_addresses: Option<()>,
    #[serde(rename = "EndpointID")]
    endpoint_id: &'static str,
}

/// A place in a network that is named beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NamedEndpoint {
    /// The addresses that were asked for.
    #[serde(rename = "IPAMConfig")]
    pub ipam_config: Option<BTreeMap<&'static str, String>>,
    /// Always none.
    pub links: Option<()>,
    /// Names that were asked for.
    pub aliases: Option<Vec<String>>,
    /// Always none.
    pub driver_opts: Option<()>,
    /// Always 0: the first network leads out.
    pub gw_priority: i32,
    /// The network.
    #[serde(rename = "NetworkID")]
    pub network_id: String,
    /// The place, while it is there.
    #[serde(rename = "EndpointID")]
    pub endpoint_id: String,
    #[serde(flatten)]
    endpoint: Endpoint,
    /// All names that it is found by.
    #[serde(rename = "DNSNames")]
    pub dns_names: Option<Vec<String>>,
}

/// A place in a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Endpoint {
    gateway: String,
    #[serde(rename = "GlobalIPv6Address")]
    global_ipv6_address: String,
    #[serde(rename = "GlobalIPv6PrefixLen")]
    global_ipv6_prefix_len: u8,
    #[serde(rename = "IPAddress")]
    ip_address: String,
    #[serde(rename = "IPPrefixLen")]
    ip_prefix_len: u8,
    #[serde(rename = "IPv6Gateway")]
    ipv6_gateway: String,
    mac_address: String,
}

impl From<&Container> for NetworkSettings {
    fn from(container: &Container) -> Self {
        let network = container.network.as_deref();
        // that of a network with a name is there only
        let own = network.filter(|network| network.place.is_none());
        let endpoint = own.map(Endpoint::from).unwrap_or_default();
        let mut ports = BTreeMap::new();
        if container.network.is_some() {
            ports.extend(exposed(container).into_iter().map(|port| (port.to_string(), None)));
            for (port, at) in reached(container) {
                let places: &mut Option<Vec<HostPort>> = ports.entry(port.to_string()).or_default();
                let place = HostPort { host_ip: at.ip().to_string(), host_port: at.port().to_string() };
                places.get_or_insert_default().push(place);
            }
        }
        let named = |name: &str| (name.to_owned(), named_endpoint(container, name, &endpoint));
        let networks = network_names(container).into_iter().map(named).collect();
        let running = container.pid.filter(|_| container.state == ContainerState::Running);
        Self {
            bridge: "",
            sandbox_id: "",
            sandbox_key: running.map(|pid| format!("/proc/{pid}/ns/net")).unwrap_or_default(),
            ports,
            old: OldSettings::default(),
            endpoint,
            networks,
        }
    }
}

/// The place of a container in the network `name`; `unnamed` is that in one that is only its own.
fn named_endpoint(container: &Container, name: &str, unnamed: &Endpoint) -> NamedEndpoint {
    let asked = match container.settings.as_ref().map(|settings| &settings.network) {
        Some(ContainerNetwork::Named(joined)) => joined.iter().find(|one| one.name == name),
        _ => None,
    };
    let Some(asked) = asked else { return NamedEndpoint { endpoint: unnamed.clone(), ..Default::default() } };
    let addresses: BTreeMap<_, _> = [
        asked.v4.map(|address| ("IPv4Address", address.to_string())),
        asked.v6.map(|address| ("IPv6Address", address.to_string())),
    ]
    .into_iter()
    .flatten()
    .collect();
    let first = container.network.as_deref();
    let mut all = first.into_iter().chain(first.into_iter().flat_map(|first| &first.others));
    let found =
        all.find_map(|one| one.place.as_ref().filter(|place| place.name == name).map(|place| (one, place)));
    let names = found.map(|(_, place)| [&[container.name.clone()][..], &place.aliases].concat());
    NamedEndpoint {
        ipam_config: (!addresses.is_empty()).then_some(addresses),
        aliases: (!asked.aliases.is_empty()).then(|| asked.aliases.clone()),
        network_id: found.map(|(_, place)| place.id.clone()).unwrap_or_default(),
        endpoint_id: found.map(|(_, place)| endpoint_id(&place.id, &container.id)).unwrap_or_default(),
        endpoint: found.map(|(one, _)| Endpoint::from(one)).unwrap_or_default(),
        dns_names: names,
        ..Default::default()
    }
}

/// An id for the place of a container in a network, which has none of its own.
pub(crate) fn endpoint_id(network: &str, container: &str) -> String {
    Digest::of(format!("{network} {container}").as_bytes()).hex()
}

impl From<&ProgramNetwork> for Endpoint {
    fn from(network: &ProgramNetwork) -> Self {
        let text = |address: Option<IpAddr>| address.map(|address| address.to_string()).unwrap_or_default();
        let hardware = network.hardware.map(|bytes| bytes.map(|byte| format!("{byte:02x}")).join(":"));
        Self {
            gateway: text(network.v4_gateway.map(IpAddr::from)),
            global_ipv6_address: text(network.v6.map(|(address, _)| address.into())),
            global_ipv6_prefix_len: network.v6.map_or(0, |(_, bits)| bits),
            ip_address: text(network.v4.map(|(address, _)| address.into())),
            ip_prefix_len: network.v4.map_or(0, |(_, bits)| bits),
            ipv6_gateway: text(network.v6_gateway.map(IpAddr::from)),
            mac_address: hardware.unwrap_or_default(),
        }
    }
}

/// What was asked to be published, as `HostConfig` has it.
pub(crate) fn port_bindings(container: &Container) -> BTreeMap<String, Vec<HostPort>> {
    let mut bindings: BTreeMap<String, Vec<HostPort>> = BTreeMap::new();
    for asked in container.settings.iter().flat_map(|settings| &settings.published) {
        let port = ContainerPort { number: asked.container, protocol: asked.protocol };
        let host_port = match asked.host {
            (0, 0) => String::new(),
            (first, last) if first == last => first.to_string(),
            (first, last) => format!("{first}-{last}"),
        };
        let host_ip = asked.address.map(|address| address.to_string()).unwrap_or_default();
        bindings.entry(port.to_string()).or_default().push(HostPort { host_ip, host_port });
    }
    bindings
}

/// The ports that are reached, and where, by port and address. One that is reached at all addresses is at two.
fn reached(container: &Container) -> Vec<(ContainerPort, SocketAddr)> {
    let ports = container.network.iter().flat_map(|network| &network.ports);
    let mut reached: Vec<(ContainerPort, SocketAddr)> = Vec::new();
    for BoundPort { container, protocol, address, host } in ports {
        let port = ContainerPort { number: *container, protocol: *protocol };
        let all = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        let addresses = address.map_or_else(|| all.to_vec(), |address| vec![address]);
        reached.extend(addresses.into_iter().map(|address| (port, SocketAddr::new(address, *host))));
    }
    reached.sort_unstable();
    reached
}

/// The ports that the container exposes.
fn exposed(container: &Container) -> Vec<ContainerPort> {
    let mut exposed: Vec<_> =
        container.config.exposed_ports.keys().filter_map(|text| ContainerPort::parse(text)).collect();
    exposed.sort_unstable();
    exposed
}
