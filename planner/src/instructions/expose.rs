//! EXPOSE: `[ip:][hostPort[-end]:]port[-end][/proto]`, of which only ports and protocol count.

use crate::stage_lowering::StageLowering;
use crate::{PlanError, PlanErrorKind, PortError};
use rbuild_oci::Empty;
use rbuild_parser::{Rule, Word};
use std::net::IpAddr;
use std::ops::RangeInclusive;

pub(super) fn expose(stage: &mut StageLowering<'_, '_>, ports: &[Word]) -> Result<(), PlanError> {
    let mut written: Vec<&str> = ports.iter().map(|port| port.value.as_str()).collect();
    written.sort_unstable();
    let mut expanded = Vec::with_capacity(written.len());
    for word in written {
        expanded.append(&mut stage.expand_list(word)?);
    }
    let mut exposed = Vec::new();
    for text in &expanded {
        let failed = |reason| PlanErrorKind::Port { port: text.clone(), reason };
        let port = Port::split(text).map_err(|reason| stage.error(failed(reason)))?;
        if !port.host.is_empty() || !port.address.is_empty() {
            let message = format!(
                "EXPOSE instruction should not define an IP address or host-port mapping, found '{text}'"
            );
            stage.lint(Rule::ExposeInvalidFormat, message);
        }
        if port.capitals {
            let message = format!("Defined protocol '{text}' in EXPOSE instruction should be lowercase");
            stage.lint(Rule::ExposeProtoCasing, message);
        }
        let numbers = port.numbers().map_err(|reason| stage.error(failed(reason)))?;
        exposed.extend(numbers.map(|number| format!("{number}/{}", port.protocol)));
    }
    stage.record(format!("EXPOSE [{}]", exposed.join(" ")));
    stage.state.config.config.exposed_ports.extend(exposed.into_iter().map(|port| (port, Empty {})));
    Ok(())
}

/// `address:host:container/protocol`, of which only the container's port must be there.
struct Port<'t> {
    address: &'t str,
    host: &'t str,
    container: &'t str,
    protocol: &'static str,
    capitals: bool,
}

impl<'t> Port<'t> {
    fn split(text: &'t str) -> Result<Self, PortError> {
        let mut parts = text.rsplitn(3, ':');
        let container = parts.next().unwrap_or("");
        let (host, address) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let (container, written_protocol) = container.split_once('/').unwrap_or((container, ""));
        if container.is_empty() {
            return Err(PortError::NoPort);
        }
        let lower = written_protocol.to_lowercase();
        let protocol = match lower.as_str() {
            "" | "tcp" => "tcp",
            "udp" => "udp",
            "sctp" => "sctp",
            _ => return Err(PortError::Proto(lower)),
        };
        Ok(Self { address, host, container, protocol, capitals: lower != written_protocol })
    }

    /// The ports of the container.
    fn numbers(&self) -> Result<RangeInclusive<u16>, PortError> {
        let Self { address, host, container, .. } = *self;
        let bare = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
        if !bare.is_empty() && bare.parse::<IpAddr>().is_err() {
            return Err(PortError::Address(bare.to_owned()));
        }
        let range = parse_range(container).ok_or_else(|| PortError::ContainerPort(container.to_owned()))?;
        if !host.is_empty() {
            let host_range = parse_range(host).ok_or_else(|| PortError::HostPort(host.to_owned()))?;
            if range.len() > 1 && range.len() != host_range.len() {
                let [container, host] = [container, host].map(str::to_owned);
                return Err(PortError::Ranges { container, host });
            }
        }
        Ok(range)
    }
}

fn parse_range(text: &str) -> Option<RangeInclusive<u16>> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse::<u16>().ok()).flatten()
    };
    let (start, end) = text.split_once('-').unwrap_or((text, text));
    let (start, end) = (number(start)?, number(end)?);
    (start <= end).then_some(start..=end)
}
