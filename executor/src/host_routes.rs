//! The addresses that this machine reaches by its interfaces, which no network of containers may have too.

use rbuild_cache::Subnet;
use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// The ranges of addresses that lead somewhere, each with the interface; not those that stand for everything.
#[must_use]
pub fn host_subnets() -> Vec<(String, Subnet)> {
    let table = |name: &str| fs::read_to_string(format!("/proc/self/net/{name}")).unwrap_or_default();
    let v4 = table("route");
    let v6 = table("ipv6_route");
    let all = v4.lines().skip(1).filter_map(v4_route).chain(v6.lines().filter_map(v6_route));
    all.filter(|(interface, subnet)| interface != "lo" && subnet.bits() > 0).collect()
}

/// Interface, destination and mask, the numbers hexadecimal in the machine's byte order.
fn v4_route(line: &str) -> Option<(String, Subnet)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let number = |index: usize| u32::from_str_radix(fields.get(index)?, 16).ok();
    let (destination, mask) = (number(1)?, number(7)?);
    let address = Ipv4Addr::from(destination.to_ne_bytes());
    let bits = u8::try_from(mask.count_ones()).ok()?;
    Some(((*fields.first()?).to_owned(), Subnet::around(address.into(), bits)?))
}

/// Destination and its bits, hexadecimal; the interface comes last.
fn v6_route(line: &str) -> Option<(String, Subnet)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let address = u128::from_str_radix(fields.first()?, 16).ok()?;
    let bits = u8::from_str_radix(fields.get(1)?, 16).ok()?;
    let subnet = Subnet::around(IpAddr::V6(Ipv6Addr::from(address)), bits)?;
    Some(((*fields.last()?).to_owned(), subnet))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_of_both_families_are_read() {
        let hex = |address: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(address));
        let line = format!(
            "eth0\t{}\t00000000\t0001\t0\t0\t0\t{}\t0\t0\t0",
            hex([10, 89, 7, 0]),
            hex([255, 255, 255, 0])
        );
        assert_eq!(v4_route(&line).unwrap(), ("eth0".to_owned(), "10.89.7.0/24".parse().unwrap()));
        let line = "fd000077000000000000000000000000 40 00000000000000000000000000000000 00 \
                    00000000000000000000000000000000 00000100 00000001 00000000 00000001    br-1";
        assert_eq!(v6_route(line).unwrap(), ("br-1".to_owned(), "fd00:77::/64".parse().unwrap()));
        assert!(v4_route("").is_none() && v6_route("x").is_none());
    }
}
