//! `--publish` and `--expose`.

use crate::error::UsageError;
use rbuild::{PortProtocol, PublishedPort};
use std::{net::IpAddr, ops::RangeInclusive};

/// The ports that `--publish`s name, one for each of the container.
///
/// # Errors
/// [`UsageError`] in Docker's words.
pub(super) fn published(flags: &[String]) -> Result<Vec<PublishedPort>, UsageError> {
    let mut published = Vec::new();
    for text in flags {
        for port in ports(text)? {
            if !published.contains(&port) {
                published.push(port);
            }
        }
    }
    Ok(published)
}

/// The ports that `--expose`s name, as `PORT/PROTOCOL`.
///
/// # Errors
/// [`UsageError`] in Docker's words.
pub(super) fn exposed(flags: &[String]) -> Result<Vec<String>, UsageError> {
    let mut exposed = Vec::new();
    for text in flags {
        let (numbers, protocol) = with_protocol(text)?;
        let wrong = || UsageError::new(format!("invalid range format for --expose: {text}"));
        let range = range(numbers).filter(|range| *range.start() > 0).ok_or_else(wrong)?;
        exposed.extend(range.map(|number| format!("{number}/{protocol}")));
    }
    Ok(exposed)
}

/// `[[ADDRESS:]HOST:]CONTAINER[/PROTOCOL]`.
fn ports(text: &str) -> Result<Vec<PublishedPort>, UsageError> {
    let wrong = |what: &str, part: &str| UsageError::new(format!("invalid {what}: {part}"));
    let (rest, protocol) = with_protocol(text)?;
    let (rest, container) = rest.rsplit_once(':').map_or(("", rest), |(rest, container)| (rest, container));
    let (address, host) = rest.rsplit_once(':').map_or(("", rest), |(address, host)| (address, host));
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    let address: Option<IpAddr> = match bare {
        "" => None,
        bare => Some(bare.parse().map_err(|_| wrong("IP address", bare))?),
    };
    if container.is_empty() {
        return Err(UsageError::new(format!("no port specified: {text}<empty>")));
    }
    let inside = range(container).filter(|range| *range.start() > 0);
    let inside = inside.ok_or_else(|| wrong("containerPort", container))?;
    let outside = match host {
        "" => 0..=0,
        host => range(host).ok_or_else(|| wrong("hostPort", host))?,
    };
    let one = |container, host| PublishedPort { container, protocol, address, host };
    if inside.len() == 1 {
        return Ok(vec![one(*inside.start(), outside.into_inner())]);
    }
    if host.is_empty() {
        return Ok(inside.map(|container| one(container, (0, 0))).collect());
    }
    if inside.len() != outside.len() {
        return Err(UsageError::new(format!(
            "invalid ranges specified for container and host Ports: {container} and {host}"
        )));
    }
    Ok(inside.zip(outside).map(|(container, host)| one(container, (host, host))).collect())
}

fn with_protocol(text: &str) -> Result<(&str, PortProtocol), UsageError> {
    let (rest, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    match protocol.to_ascii_lowercase().as_str() {
        "tcp" => Ok((rest, PortProtocol::Tcp)),
        "udp" => Ok((rest, PortProtocol::Udp)),
        "sctp" => Err(UsageError::new(format!("sctp is not supported yet: {text}"))),
        _ => Err(UsageError::new(format!("invalid proto: {protocol}"))),
    }
}

/// `PORT` or `FIRST-LAST`.
fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u16>().ok()).flatten()
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        let ports = published(&[text.to_owned()]).map_err(|error| error.to_string())?;
        let shown = |port: &PublishedPort| {
            let address = port.address.map(|address| address.to_string()).unwrap_or_default();
            format!("{address}|{}-{}>{}/{}", port.host.0, port.host.1, port.container, port.protocol)
        };
        Ok(ports.iter().map(shown).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn ports_are_read_as_docker_reads_them() {
        for (text, meant) in [
            ("80", "|0-0>80/tcp"),
            ("8080:80", "|8080-8080>80/tcp"),
            ("8080:80/UDP", "|8080-8080>80/udp"),
            ("127.0.0.1:8080:80", "127.0.0.1|8080-8080>80/tcp"),
            ("127.0.0.1::80", "127.0.0.1|0-0>80/tcp"),
            ("[::1]:8080:80", "::1|8080-8080>80/tcp"),
            ("8000-8010:80", "|8000-8010>80/tcp"),
            ("8000-8001:90-91", "|8000-8000>90/tcp |8001-8001>91/tcp"),
            ("90-91", "|0-0>90/tcp |0-0>91/tcp"),
        ] {
            assert_eq!(read(text).unwrap(), meant, "{text}");
        }
        for (text, said) in [
            ("", "no port specified: <empty>"),
            ("80:", "no port specified: 80:<empty>"),
            ("x:80", "invalid hostPort: x"),
            ("80:x", "invalid containerPort: x"),
            ("80:0", "invalid containerPort: 0"),
            ("80:70000", "invalid containerPort: 70000"),
            ("1.2.3:1:2", "invalid IP address: 1.2.3"),
            ("80/sctp", "sctp is not supported yet: 80/sctp"),
            ("80/icmp", "invalid proto: icmp"),
            ("1-3:1-2", "invalid ranges specified for container and host Ports: 1-2 and 1-3"),
            ("3-1:80", "invalid hostPort: 3-1"),
        ] {
            assert_eq!(read(text).unwrap_err(), said, "{text}");
        }
        assert_eq!(exposed(&["7-8/udp".to_owned()]).unwrap(), ["7/udp", "8/udp"]);
        assert!(exposed(&["x".to_owned()]).is_err());
    }
}
