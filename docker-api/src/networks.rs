//! Networks with names: lines of `network ls`, answers of `network inspect`, and which of them `--filter` lets through.

use crate::{
    FilterError,
    images::label,
    names::{Detail, container_id},
    ports::endpoint_id,
    times::go_style,
};
use core::net::IpAddr;
use rbuild::{NamedNetwork, NetworkAttachment, Timestamp};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// The only driver.
const DRIVER: &str = "bridge";
/// Where all of them are.
const SCOPE: &str = "local";

/// One line of `network ls`, with Docker's fields in Docker's order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkRow {
    /// When it was made.
    pub created_at: String,
    /// `bridge`.
    pub driver: &'static str,
    /// The network.
    #[serde(rename = "ID")]
    pub id: String,
    /// `true`.
    #[serde(rename = "IPv4")]
    pub ipv4: String,
    /// `true` if it has such addresses.
    #[serde(rename = "IPv6")]
    pub ipv6: String,
    /// `true` if nothing leads out of it.
    pub internal: String,
    /// The labels one by one, which templates ask for by name.
    pub label: BTreeMap<String, String>,
    /// `NAME=VALUE`, with commas between.
    pub labels: String,
    /// Its name.
    pub name: String,
    /// `local`.
    pub scope: &'static str,
}

impl NetworkRow {
    /// The line of `network`.
    #[must_use]
    pub fn new(network: &NamedNetwork, detail: Detail) -> Self {
        let labels = network.labels.iter().map(|(name, value)| format!("{name}={value}"));
        Self {
            created_at: go_style(Some(network.created)),
            driver: DRIVER,
            id: container_id(&network.id, detail),
            ipv4: true.to_string(),
            ipv6: network.has_v6().to_string(),
            internal: network.internal.to_string(),
            label: network.labels.clone(),
            labels: labels.collect::<Vec<_>>().join(","),
            name: network.name.to_string(),
            scope: SCOPE,
        }
    }
}

/// A network, as `inspect` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkInspect {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
    /// When it was made.
    pub created: Timestamp,
    /// `local`.
    pub scope: &'static str,
    /// `bridge`.
    pub driver: &'static str,
    /// True.
    #[serde(rename = "EnableIPv4")]
    pub enable_ipv4: bool,
    /// True if it has such addresses.
    #[serde(rename = "EnableIPv6")]
    pub enable_ipv6: bool,
    /// Its addresses.
    #[serde(rename = "IPAM")]
    pub ipam: Ipam,
    /// True if nothing leads out of it.
    pub internal: bool,
    /// Of clusters only.
    pub attachable: bool,
    /// Of clusters only.
    pub ingress: bool,
    /// Of clusters only.
    pub config_from: ConfigFrom,
    /// Of clusters only.
    pub config_only: bool,
    /// The containers that have places in it, by their ids.
    pub containers: BTreeMap<String, NetworkContainer>,
    /// Options as they were given.
    pub options: BTreeMap<String, String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// The addresses of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Ipam {
    /// `default`.
    pub driver: &'static str,
    /// None.
    pub options: BTreeMap<String, String>,
    /// A range for each family.
    pub config: Vec<IpamConfig>,
}

/// A range of addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct IpamConfig {
    /// All of them.
    pub subnet: String,
    /// Those of containers, if not all.
    #[serde(rename = "IPRange", skip_serializing_if = "Option::is_none")]
    pub ip_range: Option<String>,
    /// That of the machine.
    pub gateway: String,
}

/// A network that another one is made like: none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ConfigFrom {
    /// Empty.
    pub network: &'static str,
}

/// A container in a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkContainer {
    /// Its name.
    pub name: String,
    /// Its place.
    #[serde(rename = "EndpointID")]
    pub endpoint_id: String,
    /// Its hardware address.
    pub mac_address: String,
    /// Its address, with the bits that are the network's.
    #[serde(rename = "IPv4Address")]
    pub ipv4_address: String,
    /// The same of IPv6.
    #[serde(rename = "IPv6Address")]
    pub ipv6_address: String,
}

impl NetworkInspect {
    /// All about a network in which containers have `places`.
    #[must_use]
    pub fn new(network: &NamedNetwork, places: &[NetworkAttachment]) -> Self {
        let config = network.subnets.iter().map(|one| IpamConfig {
            subnet: one.subnet.to_string(),
            ip_range: one.range.map(|range| range.to_string()),
            gateway: one.gateway.to_string(),
        });
        let containers = places.iter().map(|place| (place.container.clone(), container(network, place)));
        Self {
            name: network.name.to_string(),
            id: network.id.clone(),
            created: network.created,
            scope: SCOPE,
            driver: DRIVER,
            enable_ipv4: true,
            enable_ipv6: network.has_v6(),
            ipam: Ipam { driver: "default", options: BTreeMap::new(), config: config.collect() },
            internal: network.internal,
            attachable: false,
            ingress: false,
            config_from: ConfigFrom::default(),
            config_only: false,
            containers: containers.collect(),
            options: network.options.clone(),
            labels: network.labels.clone(),
        }
    }

    /// Every field.
    #[must_use]
    pub fn complete(&self) -> Value {
        serde_json::to_value(self).expect("all keys are texts")
    }
}

fn container(network: &NamedNetwork, place: &NetworkAttachment) -> NetworkContainer {
    let address = |v4: bool| {
        let found = network.subnets.iter().zip(&place.addresses).find(|(_, address)| address.is_ipv4() == v4);
        found
            .map(|(one, address): (_, &IpAddr)| format!("{address}/{}", one.subnet.bits()))
            .unwrap_or_default()
    };
    NetworkContainer {
        name: place.name.clone(),
        endpoint_id: endpoint_id(&network.id, &place.container),
        mac_address: place.hardware.map(|byte| format!("{byte:02x}")).join(":"),
        ipv4_address: address(true),
        ipv6_address: address(false),
    }
}

/// The networks that `--filter` lets through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkFilter {
    /// Whether no container has a place in it.
    Dangling(bool),
    /// The driver.
    Driver(String),
    /// The beginning of the id.
    Id(String),
    /// A label, and its value if there is one.
    Label(String, Option<String>),
    /// Part of the name.
    Name(String),
    /// Where it is.
    Scope(String),
    /// True for those that people have made.
    Custom(bool),
}

impl NetworkFilter {
    /// Reads `NAME=VALUE`.
    ///
    /// # Errors
    /// [`FilterError`].
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let (name, value) = text.split_once('=').ok_or_else(|| FilterError::Argument(text.to_owned()))?;
        let invalid = || FilterError::Invalid(format!("{name}=[{value}]"));
        match (name, value) {
            ("dangling", "1" | "true") => Ok(Self::Dangling(true)),
            ("dangling", "0" | "false") => Ok(Self::Dangling(false)),
            ("dangling", _) => Err(invalid()),
            ("driver", _) => Ok(Self::Driver(value.to_owned())),
            ("id", _) => Ok(Self::Id(value.to_owned())),
            ("label", _) => Ok(label(value, Self::Label)),
            ("name", _) => Ok(Self::Name(value.to_owned())),
            ("scope", _) => Ok(Self::Scope(value.to_owned())),
            ("type", "custom") => Ok(Self::Custom(true)),
            ("type", "builtin") => Ok(Self::Custom(false)),
            ("type", _) => Err(invalid()),
            (other, _) => Err(FilterError::Invalid(other.to_owned())),
        }
    }

    /// True if a network in which so many containers have places passes.
    #[must_use]
    pub fn admits(&self, network: &NamedNetwork, places: usize) -> bool {
        match self {
            Self::Dangling(dangling) => *dangling == (places == 0),
            Self::Driver(driver) => driver == DRIVER,
            Self::Id(id) => network.id.starts_with(id.as_str()),
            Self::Label(name, value) => {
                let found = network.labels.get(name);
                found.is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
            }
            Self::Name(part) => network.name.as_str().contains(part.as_str()),
            Self::Scope(scope) => scope == SCOPE,
            Self::Custom(custom) => *custom,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rbuild::NetworkSubnet;
    use serde_json::json;

    fn network() -> NamedNetwork {
        NamedNetwork {
            id: "ab".repeat(32),
            name: "front".parse().unwrap(),
            created: "2026-05-02T12:00:00Z".parse().unwrap(),
            subnets: vec![NetworkSubnet {
                subnet: "10.89.0.0/24".parse().unwrap(),
                gateway: "10.89.0.1".parse().unwrap(),
                range: None,
            }],
            internal: false,
            interface: "br-ab".to_owned(),
            mtu: None,
            options: BTreeMap::new(),
            labels: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
        }
    }

    #[test]
    fn a_network_looks_as_docker_shows_it() {
        let place = NetworkAttachment {
            container: "c1".to_owned(),
            name: "web".to_owned(),
            interface: "eth0".to_owned(),
            hardware: [2, 66, 10, 89, 0, 2],
            addresses: vec!["10.89.0.2".parse().unwrap()],
            aliases: Vec::new(),
            servers: Vec::new(),
            ports: Vec::new(),
        };
        let shown = NetworkInspect::new(&network(), &[place]).complete();
        let config = json!([{ "Subnet": "10.89.0.0/24", "Gateway": "10.89.0.1" }]);
        assert_eq!(shown["IPAM"], json!({ "Driver": "default", "Options": {}, "Config": config }));
        let container = &shown["Containers"]["c1"];
        assert_eq!(container["IPv4Address"], "10.89.0.2/24");
        assert_eq!(container["MacAddress"], "02:42:0a:59:00:02");
        assert_eq!(container["EndpointID"].as_str().unwrap().len(), 64);
        let row = NetworkRow::new(&network(), Detail::Short);
        assert_eq!(
            (row.id.as_str(), row.labels.as_str(), row.ipv6.as_str()),
            ("abababababab", "a=b", "false")
        );
    }

    #[test]
    fn filters_let_networks_through_as_docker_s_do() {
        for (text, admitted) in [
            ("name=ron", true),
            ("name=x", false),
            ("id=abab", true),
            ("driver=bridge", true),
            ("driver=macvlan", false),
            ("label=a", true),
            ("label=a=c", false),
            ("scope=local", true),
            ("type=custom", true),
            ("type=builtin", false),
            ("dangling=true", true),
        ] {
            assert_eq!(NetworkFilter::parse(text).unwrap().admits(&network(), 0), admitted, "{text}");
        }
        for text in ["name", "foo=bar", "type=x", "dangling=maybe"] {
            assert!(NetworkFilter::parse(text).is_err(), "{text}");
        }
    }
}
