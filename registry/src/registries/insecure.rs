//! Hosts that may have any certificate, or speak plain HTTP.

use crate::host::name_of;
use reqwest::Url;
use std::net::IpAddr;

/// One entry of a list of such hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum InsecureHost {
    /// A host, with any port if none is written.
    Name(String),
    /// All hosts below a domain: `.example.com`.
    Below(String),
    /// All addresses of a network.
    Network(IpAddr, u8),
}

impl InsecureHost {
    pub(super) fn new(text: &str) -> Self {
        let bare = text.trim_start_matches("https://").trim_start_matches("http://");
        if let Some((address, length)) = bare.split_once('/')
            && let (Ok(address), Ok(length)) = (address.parse(), length.parse())
        {
            return Self::Network(address, length);
        }
        let host = bare.split('/').next().unwrap_or_default();
        match host.strip_prefix('*') {
            Some(parent) if parent.starts_with('.') => Self::Below(parent.to_owned()),
            Some(_) | None => Self::Name(host.to_owned()),
        }
    }

    pub(super) fn covers(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default();
        match self {
            Self::Name(name) => *name == name_of(url) || name == host,
            Self::Below(parent) => host.ends_with(parent.as_str()),
            Self::Network(network, length) => {
                let address = host.trim_start_matches('[').trim_end_matches(']').parse();
                address.is_ok_and(|address| within(address, *network, *length))
            }
        }
    }
}

/// True if the first `length` bits of both addresses are the same.
fn within(address: IpAddr, network: IpAddr, length: u8) -> bool {
    let differs = match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => u128::from(a.to_bits() ^ b.to_bits()) << 96,
        (IpAddr::V6(a), IpAddr::V6(b)) => a.to_bits() ^ b.to_bits(),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
    };
    differs.leading_zeros() >= u32::from(length) || differs == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_ports_domains_and_networks() {
        let covers = |entry: &str, url: &str| InsecureHost::new(entry).covers(&Url::parse(url).unwrap());
        assert!(covers("r.example", "https://r.example:5000/"));
        assert!(covers("r.example:5000", "https://r.example:5000/"));
        assert!(!covers("r.example:5000", "https://r.example/"));
        assert!(covers("http://r.example", "https://r.example/"));
        assert!(covers("*.example", "https://a.b.example/"));
        assert!(!covers("*.example", "https://example/"));
        assert!(covers("10.0.0.0/8", "https://10.9.8.7:5000/"));
        assert!(!covers("10.0.0.0/8", "https://11.0.0.1/"));
        assert!(!covers("10.0.0.0/8", "https://ten.example/"));
        assert!(covers("fd00::/8", "https://[fd12::1]:5000/"));
        assert!(covers("0.0.0.0/0", "https://1.2.3.4/"));
        assert!(covers("10.1.2.3/32", "https://10.1.2.3/"));
    }
}
