//! Ranges of addresses, written as an address and the bits of it that are the network's.

use crate::StoreError;
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// All addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet {
    first: IpAddr,
    bits: u8,
}

impl Subnet {
    /// The addresses that have the first `bits` of `address`; `None` when it has fewer.
    #[must_use]
    pub fn around(address: IpAddr, bits: u8) -> Option<Self> {
        let all = width(address);
        if bits > all {
            return None;
        }
        let mask = u128::MAX.checked_shl(u32::from(all - bits)).unwrap_or(0);
        Some(Self { first: same_family(address, number(address) & mask), bits })
    }

    /// The address that all others follow.
    #[must_use]
    pub fn first(&self) -> IpAddr {
        self.first
    }

    /// The bits that all have.
    #[must_use]
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// True for addresses of IPv4.
    #[must_use]
    pub fn is_v4(&self) -> bool {
        self.first.is_ipv4()
    }

    /// The bits in which they differ.
    #[must_use]
    pub fn free_bits(&self) -> u8 {
        width(self.first) - self.bits
    }

    /// The address that is `steps` after the first, if it is one of these.
    #[must_use]
    pub fn nth(&self, steps: u128) -> Option<IpAddr> {
        let address = number(self.first).checked_add(steps)?;
        let fits = width(self.first) == 128 || address <= u128::from(u32::MAX);
        Some(same_family(self.first, address)).filter(|address| fits && self.contains(*address))
    }

    /// True if the address is one of these.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.is_v4() && Self::around(address, self.bits) == Some(*self)
    }

    /// True if all addresses of `other` are of these.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.bits <= other.bits && self.contains(other.first)
    }

    /// True if some address is in both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.covers(other) || other.covers(self)
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

/// The address with this number, of the family of `like`.
fn same_family(like: IpAddr, number: u128) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::from(u32::try_from(number & u128::from(u32::MAX)).unwrap_or(0)).into(),
        IpAddr::V6(_) => Ipv6Addr::from(number).into(),
    }
}

impl FromStr for Subnet {
    type Err = StoreError;

    /// Reads `ADDRESS/BITS`, in which the other bits of the address are zeros.
    fn from_str(text: &str) -> Result<Self, StoreError> {
        let wrong = |problem: &str| StoreError::Subnet { text: text.to_owned(), problem: problem.to_owned() };
        let no_cidr = || wrong("invalid CIDR block notation");
        let (address, bits) = text.split_once('/').ok_or_else(no_cidr)?;
        if bits.is_empty() || !bits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(no_cidr());
        }
        let address: IpAddr = address.parse().map_err(|_| no_cidr())?;
        let subnet = Self::around(address, bits.parse().map_err(|_| no_cidr())?).ok_or_else(no_cidr)?;
        if subnet.first != address {
            return Err(wrong(&format!("it should be {subnet}")));
        }
        Ok(subnet)
    }
}

impl TryFrom<String> for Subnet {
    type Error = StoreError;

    fn try_from(text: String) -> Result<Self, StoreError> {
        text.parse()
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> Self {
        subnet.to_string()
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_is_written_with_zeros_behind_its_bits() {
        for text in ["10.89.0.0/24", "0.0.0.0/0", "10.1.2.3/32", "fd00:77::/64", "::/0"] {
            assert_eq!(text.parse::<Subnet>().unwrap().to_string(), text);
        }
        for (text, said) in [
            ("10.89.0.5/24", "it should be 10.89.0.0/24"),
            ("10.89.0.0", "invalid CIDR block notation"),
            ("10.89.0.0/33", "invalid CIDR block notation"),
            ("10.89.0.0/+8", "invalid CIDR block notation"),
            ("10.89.0.0/999", "invalid CIDR block notation"),
            ("a/8", "invalid CIDR block notation"),
            ("/", "invalid CIDR block notation"),
        ] {
            let error = text.parse::<Subnet>().unwrap_err().to_string();
            assert_eq!(error, format!("invalid subnet {text}: {said}"));
            assert!(serde_json::from_value::<Subnet>(text.into()).is_err());
        }
    }

    #[test]
    fn addresses_are_in_a_subnet_or_not() {
        let subnet = |text: &str| text.parse::<Subnet>().unwrap();
        let small = subnet("10.89.1.0/30");
        let all: Vec<String> = (0..5).filter_map(|step| Some(small.nth(step)?.to_string())).collect();
        assert_eq!(all, ["10.89.1.0", "10.89.1.1", "10.89.1.2", "10.89.1.3"]);
        assert!(subnet("255.255.255.252/30").nth(4).is_none());
        assert!(subnet("ffff::/16").nth(u128::MAX).is_none());
        for (a, b, covers, overlaps) in [
            ("10.0.0.0/8", "10.89.1.0/24", true, true),
            ("10.89.1.0/24", "10.0.0.0/8", false, true),
            ("10.89.1.0/24", "10.89.2.0/24", false, false),
            ("0.0.0.0/0", "::/0", false, false),
            ("fd00::/16", "fd00:77::/64", true, true),
        ] {
            let (a, b) = (subnet(a), subnet(b));
            assert_eq!((a.covers(&b), a.overlaps(&b)), (covers, overlaps), "{a} {b}");
        }
    }
}
