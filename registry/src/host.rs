//! Names of registries: the server behind a reference's domain, and the hosts that are this machine itself.

use crate::RegistryError;
use reqwest::Url;
use std::net::IpAddr;

pub(crate) const DOCKER_HUB: &str = "docker.io";
/// The name under which Docker stores logins to Docker Hub.
pub(crate) const DOCKER_HUB_LOGIN: &str = "https://index.docker.io/v1/";

/// Host and port that serve `domain`.
pub(crate) fn authority(domain: &str) -> &str {
    if domain == DOCKER_HUB { "registry-1.docker.io" } else { domain }
}

/// The root of `domain`'s API with `scheme`.
pub(crate) fn base_url(scheme: &str, domain: &str) -> Result<Url, RegistryError> {
    let bad = || RegistryError::Address { host: domain.to_owned() };
    let url = Url::parse(&format!("{scheme}://{}/", authority(domain))).map_err(|_| bad())?;
    // a domain is a host and a port: refuse text in which the URL parser would find more
    if url.path() == "/" && url.username().is_empty() && url.query().is_none() { Ok(url) } else { Err(bad()) }
}

/// True if `url` names this machine (127.0.0.0/8, `::1`, `localhost`), which Docker treats as insecure by default.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The host, with the port if one is written: the name used in messages and in `certs.d`.
pub(crate) fn name_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

pub(crate) fn same_origin(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme()
        && a.host_str() == b.host_str()
        && a.port_or_known_default() == b.port_or_known_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_recognised_and_nothing_else() {
        for (domain, loopback) in [
            ("127.0.0.1:5000", true),
            ("127.9.9.9", true),
            ("localhost:1", true),
            ("[::1]:5000", true),
            ("localhost.example.com", false),
            ("128.0.0.1", false),
            ("docker.io", false),
        ] {
            assert_eq!(is_loopback(&base_url("https", domain).unwrap()), loopback, "{domain}");
        }
        for bad in ["a/b", "u@h", "h?x", ""] {
            assert!(base_url("https", bad).is_err(), "{bad:?}");
        }
    }
}
