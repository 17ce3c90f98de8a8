//! Addresses that are free: ranges for networks, and single ones for containers.

use super::NetworkRequest;
use crate::NetworkError;
use rbuild_cache::{NamedNetwork, NetworkAttachment, NetworkSubnet, Subnet};
use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// Where ranges of 256 addresses come from that nobody chose, as with podman: `10.89.0.0/24` and those after it.
const FIRST_POOL: u32 = u32::from_be_bytes([10, 89, 0, 0]);
const LAST_POOL: u32 = u32::from_be_bytes([10, 255, 255, 0]);
/// The fewest bits that tell the addresses of one network apart: itself, all of it, the machine, a container.
const FEWEST_FREE_BITS: u8 = 2;
/// The most addresses that are looked through for a free one.
const MOST_TRIED: u128 = 1 << 20;

/// The subnets of a network that is to be made, of IPv4 first; `taken` are those of others with who has them.
pub(super) fn subnets(
    request: &NetworkRequest,
    taken: &[(String, Subnet)],
    random: [u8; 5],
) -> Result<Vec<NetworkSubnet>, NetworkError> {
    let config = |text: String| NetworkError::Config(text);
    let of = |v4: bool| {
        let mut asked = request.subnets.iter().filter(move |subnet| subnet.is_v4() == v4);
        let first = asked.next();
        match asked.next() {
            Some(second) => Err(config(format!("one subnet of a family at most: {second} is another one"))),
            None => Ok(first.copied()),
        }
    };
    let (v4, v6) = (of(true)?, of(false)?);
    let mut chosen = vec![match v4 {
        Some(subnet) => subnet,
        None => free_pool(taken)?,
    }];
    match v6 {
        Some(subnet) => chosen.push(subnet),
        None if request.ipv6 => chosen.push(unique_local(random)),
        None => {}
    }
    for subnet in &chosen {
        if subnet.free_bits() < FEWEST_FREE_BITS {
            return Err(config(format!("subnet {subnet} is too small for a container")));
        }
        if is_special(subnet) {
            return Err(config(format!("subnet {subnet} is not for networks")));
        }
        if let Some((holder, other)) = taken.iter().find(|(_, other)| other.overlaps(subnet)) {
            let (subnet, other) = (subnet.to_string(), other.to_string());
            return Err(NetworkError::Overlaps { subnet, other, holder: holder.clone() });
        }
    }
    let asked = |subnet: &Subnet| request.subnets.contains(subnet);
    if (!request.gateways.is_empty() || !request.ranges.is_empty()) && !chosen.iter().any(asked) {
        return Err(config("every ip-range or gateway must have a corresponding subnet".to_owned()));
    }
    let covering = |range: &Subnet| chosen.iter().any(|subnet| asked(subnet) && subnet.covers(range));
    if let Some(lost) = request.ranges.iter().find(|range| !covering(range)) {
        return Err(config(format!("no matching subnet for range {lost}")));
    }
    let containing =
        |gateway: &IpAddr| chosen.iter().any(|subnet| asked(subnet) && subnet.contains(*gateway));
    if let Some(lost) = request.gateways.iter().find(|gateway| !containing(gateway)) {
        return Err(config(format!("no matching subnet for gateway {lost}")));
    }
    chosen.into_iter().map(|subnet| whole(subnet, request)).collect()
}

/// True unless the addresses are for hosts (RFC 6890).
fn is_special(subnet: &Subnet) -> bool {
    let first = subnet.first();
    let of_this_network = matches!(first, IpAddr::V4(address) if address.octets()[0] == 0);
    let holds_broadcast = subnet.contains(Ipv4Addr::BROADCAST.into());
    first.is_multicast() || first.is_loopback() || of_this_network || holds_broadcast
}

/// A subnet with what was asked for in it.
fn whole(subnet: Subnet, request: &NetworkRequest) -> Result<NetworkSubnet, NetworkError> {
    let one = |text: &str| NetworkError::Config(format!("one {text} for subnet {subnet} at most"));
    let mut gateways = request.gateways.iter().filter(|gateway| subnet.contains(**gateway));
    let gateway = gateways.next().copied();
    let mut ranges = request.ranges.iter().filter(|range| subnet.covers(range));
    let range = ranges.next().copied();
    if gateways.next().is_some() {
        return Err(one("gateway"));
    }
    if ranges.next().is_some() {
        return Err(one("ip-range"));
    }
    let gateway = gateway.or_else(|| subnet.nth(1)).unwrap_or(subnet.first());
    if !is_for_hosts(&subnet, gateway) {
        return Err(NetworkError::Config(format!("gateway {gateway} is not the address of a host")));
    }
    Ok(NetworkSubnet { subnet, gateway, range })
}

fn free_pool(taken: &[(String, Subnet)]) -> Result<Subnet, NetworkError> {
    (FIRST_POOL..=LAST_POOL)
        .step_by(256)
        .filter_map(|address| Subnet::around(Ipv4Addr::from(address).into(), 24))
        .find(|subnet| !taken.iter().any(|(_, other)| other.overlaps(subnet)))
        .ok_or(NetworkError::NoSubnet)
}

/// A range of addresses that nobody else has, most likely (RFC 4193).
fn unique_local([a, b, c, d, e]: [u8; 5]) -> Subnet {
    let address = Ipv6Addr::from([0xfd, a, b, c, d, e, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    Subnet::around(address.into(), 64).expect("an address of IPv6 has 64 bits")
}

/// True unless the address stands for the network itself, or for all of IPv4 in it.
fn is_for_hosts(subnet: &Subnet, address: IpAddr) -> bool {
    let all = subnet.nth((1_u128 << subnet.free_bits().min(127)) - 1);
    subnet.contains(address) && address != subnet.first() && !(subnet.is_v4() && Some(address) == all)
}

/// The addresses of a new container in a network, one of each family: those `asked` for, or free ones.
pub(super) fn free_addresses(
    network: &NamedNetwork,
    asked: &[IpAddr],
    others: &[NetworkAttachment],
) -> Result<Vec<IpAddr>, NetworkError> {
    let mut taken: HashSet<IpAddr> = others.iter().flat_map(|one| &one.addresses).copied().collect();
    taken.extend(network.subnets.iter().map(|one| one.gateway));
    let address = |one: &NetworkSubnet| {
        let own = asked.iter().find(|address| address.is_ipv4() == one.subnet.is_v4());
        if let Some(own) = own {
            return if taken.contains(own) {
                Err(NetworkError::AddressTaken(own.to_string()))
            } else {
                Ok(*own)
            };
        }
        let range = one.range.unwrap_or(one.subnet);
        let mut tried = (0..MOST_TRIED).map_while(|step| range.nth(step));
        tried
            .find(|address| is_for_hosts(&one.subnet, *address) && !taken.contains(address))
            .ok_or_else(|| NetworkError::Full(network.name.to_string()))
    };
    check_addresses(network, asked)?;
    network.subnets.iter().map(address).collect()
}

/// Sees that a container could have the addresses `asked` for in a network.
pub(super) fn check_addresses(network: &NamedNetwork, asked: &[IpAddr]) -> Result<(), NetworkError> {
    for address in asked {
        let subnet = network.subnets.iter().find(|one| one.subnet.contains(*address));
        let Some(subnet) = subnet else {
            let text = format!("no configured subnet contains IP address {address}");
            return Err(NetworkError::Address(text));
        };
        if !is_for_hosts(&subnet.subnet, *address) || subnet.gateway == *address {
            return Err(NetworkError::AddressTaken(address.to_string()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn request(subnets: &[&str], gateways: &[&str], ranges: &[&str]) -> NetworkRequest {
        NetworkRequest {
            name: "n".parse().unwrap(),
            subnets: subnets.iter().map(|text| text.parse().unwrap()).collect(),
            gateways: gateways.iter().map(|text| text.parse().unwrap()).collect(),
            ranges: ranges.iter().map(|text| text.parse().unwrap()).collect(),
            ipv6: false,
            internal: false,
            mtu: None,
            interface: None,
            options: BTreeMap::new(),
            labels: BTreeMap::new(),
        }
    }

    fn taken() -> Vec<(String, Subnet)> {
        vec![
            ("network a".to_owned(), "10.89.0.0/24".parse().unwrap()),
            ("interface eth0".to_owned(), "10.89.1.64/28".parse().unwrap()),
        ]
    }

    #[test]
    fn a_network_gets_addresses_that_nobody_has() {
        let found = subnets(&request(&[], &[], &[]), &taken(), [0; 5]).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].subnet.to_string(), found[0].gateway.to_string()),
            ("10.89.2.0/24".into(), "10.89.2.1".into())
        );
        let both =
            NetworkRequest { ipv6: true, ..request(&["10.1.0.0/16"], &["10.1.9.9"], &["10.1.2.0/24"]) };
        let found = subnets(&both, &taken(), [1, 2, 3, 4, 5]).unwrap();
        assert_eq!(found[0].range.unwrap().to_string(), "10.1.2.0/24");
        assert_eq!(found[1].gateway.to_string(), "fd01:203:405::1");
        for (asked, said) in [
            (request(&["10.89.0.0/16"], &[], &[]), "10.89.0.0/16 and 10.89.0.0/24 of network a"),
            (request(&["10.1.0.0/16", "10.2.0.0/16"], &[], &[]), "one subnet of a family at most"),
            (request(&["10.1.0.0/31"], &[], &[]), "too small"),
            (request(&["127.0.0.0/24"], &[], &[]), "is not for networks"),
            (request(&["255.255.255.0/24"], &[], &[]), "is not for networks"),
            (request(&["0.0.1.0/24"], &[], &[]), "is not for networks"),
            (request(&[], &["10.9.9.9"], &[]), "every ip-range or gateway must have a corresponding subnet"),
            (request(&["10.1.0.0/24"], &["10.9.9.9"], &[]), "no matching subnet for gateway 10.9.9.9"),
            (request(&["10.1.0.0/24"], &["10.1.0.255"], &[]), "is not the address of a host"),
            (request(&["10.1.0.0/24"], &["10.1.0.4", "10.1.0.5"], &[]), "one gateway for subnet"),
            (request(&["10.1.0.0/24"], &[], &["10.1.0.0/16"]), "no matching subnet for range 10.1.0.0/16"),
        ] {
            let error = subnets(&asked, &taken(), [0; 5]).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_container_gets_an_address_that_no_other_has() {
        let subnets = subnets(&request(&["10.1.0.0/30", "fd00::/64"], &[], &[]), &[], [0; 5]).unwrap();
        let network = NamedNetwork {
            id: "a".repeat(64),
            name: "n".parse().unwrap(),
            created: "2026-05-02T12:00:00Z".parse().unwrap(),
            subnets,
            internal: false,
            interface: "br-1".to_owned(),
            mtu: None,
            options: BTreeMap::new(),
            labels: BTreeMap::new(),
        };
        let free = |asked: &[&str], others: &[NetworkAttachment]| {
            let asked: Vec<IpAddr> = asked.iter().map(|text| text.parse().unwrap()).collect();
            let found = free_addresses(&network, &asked, others).map_err(|error| error.to_string())?;
            Ok::<_, String>(found.iter().map(IpAddr::to_string).collect::<Vec<_>>())
        };
        assert_eq!(free(&[], &[]).unwrap(), ["10.1.0.2", "fd00::2"]);
        assert_eq!(free(&["fd00::77"], &[]).unwrap(), ["10.1.0.2", "fd00::77"]);
        let other = NetworkAttachment {
            container: "c".to_owned(),
            name: "c".to_owned(),
            interface: "eth0".to_owned(),
            hardware: [0; 6],
            addresses: vec!["10.1.0.2".parse().unwrap(), "fd00::2".parse().unwrap()],
            aliases: Vec::new(),
            servers: Vec::new(),
            ports: Vec::new(),
        };
        let others = [other];
        assert!(free(&[], &others).unwrap_err().contains("no available addresses"));
        assert!(free(&["10.1.0.2"], &others).unwrap_err().contains("Address already in use"));
        for (asked, said) in [
            ("10.1.0.1", "Address already in use: 10.1.0.1"),
            ("10.1.0.3", "Address already in use: 10.1.0.3"),
            ("10.9.0.3", "no configured subnet contains IP address 10.9.0.3"),
        ] {
            assert!(free(&[asked], &[]).unwrap_err().contains(said), "{asked}");
        }
    }
}
