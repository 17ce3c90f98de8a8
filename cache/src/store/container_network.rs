//! The network of a container, as its record and the note of its program have it.

use serde::{Deserialize, Serialize};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// The network of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContainerNetwork {
    /// One of its own with a way out, where that can be had; the machine's otherwise.
    #[default]
    #[serde(rename = "default")]
    Private,
    /// The machine's.
    Host,
    /// A loopback of its own.
    None,
    /// That of the container with this id.
    Container(String),
    /// Those that have these names.
    Named(Vec<JoinedNetwork>),
}

/// A network of several containers that one of them is to have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinedNetwork {
    /// Its name.
    pub name: String,
    /// Names that the container is found by in it, besides its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// The address that it is to have; any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub v4: Option<Ipv4Addr>,
    /// The same of IPv6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub v6: Option<Ipv6Addr>,
}

/// The network of several containers in which a program has an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkPlace {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
    /// Names that the container is found by in it, besides its own.
    #[serde(default)]
    pub aliases: Vec<String>,
}

/// A protocol that has ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PortProtocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for PortProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// A port of a container that is to be reached through the machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PublishedPort {
    /// In the container.
    pub container: u16,
    /// Its protocol.
    pub protocol: PortProtocol,
    /// The address of the machine; all of them when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// The ports of the machine of which it gets a free one, the first and the last; any when both are 0.
    pub host: (u16, u16),
}

/// A port of a container that is reached through the machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BoundPort {
    /// In the container.
    pub container: u16,
    /// Its protocol.
    pub protocol: PortProtocol,
    /// The address of the machine; all of them when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// The port of the machine.
    pub host: u16,
}

/// A network that a program has for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProgramNetwork {
    /// Its hardware address.
    pub hardware: Option<[u8; 6]>,
    /// Its address, and the bits of that which are the network's.
    pub v4: Option<(Ipv4Addr, u8)>,
    /// The way out.
    pub v4_gateway: Option<Ipv4Addr>,
    /// The same of IPv6.
    pub v6: Option<(Ipv6Addr, u8)>,
    /// The same of IPv6.
    pub v6_gateway: Option<Ipv6Addr>,
    /// Its ports that are reached through the machine.
    pub ports: Vec<BoundPort>,
    /// The network with a name that it leads into.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<NetworkPlace>,
    /// Its other interfaces, each in another such network.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<ProgramNetwork>,
}

/// How names become addresses in a container, beside what is usual.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerNames {
    /// Host and address, or `host-gateway`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub add_hosts: Vec<(String, String)>,
    /// Name servers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<String>,
    /// Domains.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub searches: Vec<String>,
    /// Options of the resolver.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}
