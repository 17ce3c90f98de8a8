//! `--network NAME`, `network create` and `network connect`.

use super::label;
use crate::{args::NetworkCreateArgs, error::UsageError};
use rbuild::{JoinedNetwork, NetworkName, NetworkRequest, Subnet};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// The smallest packets that a network of IPv4 carries, and the largest (RFC 791 section 3.1).
const MTU: std::ops::RangeInclusive<u32> = 68..=65_535;
/// The longest name of an interface.
const LONGEST_INTERFACE: usize = 15;
/// Names that the kernel has for the settings of all interfaces, and of those to come.
const OF_NO_INTERFACE: [&str; 2] = ["all", "default"];

/// The places that `--network`s with names ask for; `alias`, `ip` and `ip6` are those of the first.
///
/// # Errors
/// [`UsageError`] in Docker's words.
pub(super) fn places(
    modes: &[String],
    alias: &[String],
    (ip, ip6): (Option<&str>, Option<&str>),
) -> Result<Vec<JoinedNetwork>, UsageError> {
    let mut places = modes.iter().map(|mode| place(mode)).collect::<Result<Vec<_>, _>>()?;
    if let Some(first) = places.first_mut() {
        let both = |flag: &str, what: &str| {
            UsageError::new(format!("conflicting options: cannot specify both {flag} and per-network {what}"))
        };
        if !alias.is_empty() {
            if !first.aliases.is_empty() {
                return Err(both("--network-alias", "alias"));
            }
            first.aliases = alias.to_vec();
        }
        if let Some(ip) = ip {
            if first.v4.is_some() {
                return Err(both("--ip", "IPv4 address"));
            }
            first.v4 = Some(v4(ip)?);
        }
        if let Some(ip) = ip6 {
            if first.v6.is_some() {
                return Err(both("--ip6", "IPv6 address"));
            }
            first.v6 = Some(v6(ip)?);
        }
    }
    Ok(places)
}

/// What `network connect` asks for.
///
/// # Errors
/// [`UsageError`].
pub(crate) fn place_in_network(
    network: &str,
    aliases: &[String],
    (ip, ip6): (Option<&str>, Option<&str>),
) -> Result<JoinedNetwork, UsageError> {
    Ok(JoinedNetwork {
        name: network.to_owned(),
        aliases: aliases.to_vec(),
        v4: ip.map(v4).transpose()?,
        v6: ip6.map(v6).transpose()?,
    })
}

/// `NAME`, or `name=NAME,alias=ALIAS,ip=…,ip6=…`.
fn place(text: &str) -> Result<JoinedNetwork, UsageError> {
    let mut place = JoinedNetwork { name: String::new(), aliases: Vec::new(), v4: None, v6: None };
    if !text.contains('=') {
        return Ok(JoinedNetwork { name: text.to_owned(), ..place });
    }
    for field in text.split(',') {
        let (key, value) =
            field.split_once('=').ok_or_else(|| UsageError::new(format!("invalid field: {field}")))?;
        match key.trim().to_ascii_lowercase().as_str() {
            "name" => place.name = value.to_owned(),
            "alias" => place.aliases.push(value.to_owned()),
            "ip" => place.v4 = Some(v4(value)?),
            "ip6" => place.v6 = Some(v6(value)?),
            key @ ("mac-address" | "link-local-ip" | "driver-opt" | "gw-priority") => {
                return Err(UsageError::unsupported(format_args!("--network {key}={value}")));
            }
            other => return Err(UsageError::new(format!("invalid field key {other}"))),
        }
    }
    match place.name.as_str() {
        "" => Err(UsageError::new("network name/id is not specified")),
        _ => Ok(place),
    }
}

fn v4(text: &str) -> Result<Ipv4Addr, UsageError> {
    text.parse().map_err(|_| UsageError::new(format!("invalid IPv4 address: {text}")))
}

fn v6(text: &str) -> Result<Ipv6Addr, UsageError> {
    text.parse().map_err(|_| UsageError::new(format!("invalid IPv6 address: {text}")))
}

/// What `network create` asks for.
///
/// # Errors
/// [`UsageError`] in Docker's words where it has them.
pub(crate) fn network_request(args: &NetworkCreateArgs) -> Result<NetworkRequest, UsageError> {
    refuse_others(args)?;
    let subnet = |text: &String| {
        text.parse::<Subnet>()
            .map_err(|error| UsageError::refused(format!("invalid network config: {error}")))
    };
    let address = |text: &String| {
        text.parse::<IpAddr>().map_err(|_| UsageError::new(format!("invalid gateway address: {text}")))
    };
    let options = DriverOptions::read(&args.opt)?;
    Ok(NetworkRequest {
        name: network_name(&args.name)?,
        subnets: args.subnet.iter().map(subnet).collect::<Result<_, _>>()?,
        gateways: args.gateway.iter().map(address).collect::<Result<_, _>>()?,
        ranges: args.ip_range.iter().map(subnet).collect::<Result<_, _>>()?,
        ipv6: args.ipv6,
        internal: args.internal,
        mtu: options.mtu,
        interface: options.interface,
        options: options.written,
        labels: args.label.iter().map(|text| label(text)).collect::<Result<_, _>>()?,
    })
}

fn network_name(text: &str) -> Result<NetworkName, UsageError> {
    text.parse::<NetworkName>().map_err(|error| UsageError::refused(error.to_string()))
}

fn refuse_others(args: &NetworkCreateArgs) -> Result<(), UsageError> {
    match args.driver.as_str() {
        "" | "default" | "bridge" => {}
        known @ ("host" | "null" | "macvlan" | "ipvlan" | "overlay") => {
            return Err(UsageError::unsupported(format_args!("--driver {known}")));
        }
        other => return Err(UsageError::refused(format!("plugin {other:?} not found"))),
    }
    let is_other = |given: &Option<String>, usual: &str| {
        given.as_deref().is_some_and(|given| !matches!(given, "") && given != usual)
    };
    let refused = [
        (!args.ipv4, "--ipv4=false"),
        (args.attachable, "--attachable"),
        (args.ingress, "--ingress"),
        (args.config_only, "--config-only"),
        (is_other(&args.config_from, ""), "--config-from"),
        (is_other(&args.scope, "local"), "--scope"),
        (is_other(&args.ipam_driver, "default"), "--ipam-driver"),
        (!args.ipam_opt.is_empty(), "--ipam-opt"),
        (!args.aux_address.is_empty(), "--aux-address"),
    ];
    match refused.iter().find(|(is_given, _)| *is_given) {
        Some((_, flag)) => Err(UsageError::unsupported(flag)),
        None => Ok(()),
    }
}

/// `--opt`.
#[derive(Debug, Default)]
struct DriverOptions {
    mtu: Option<u32>,
    interface: Option<String>,
    written: BTreeMap<String, String>,
}

impl DriverOptions {
    fn read(given: &[String]) -> Result<Self, UsageError> {
        let mut options = Self::default();
        for text in given {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            let wrong = || UsageError::new(format!("invalid value for --opt {name}: {value:?}"));
            match name {
                "com.docker.network.driver.mtu" | "mtu" => {
                    let mtu = value.parse().ok().filter(|mtu| MTU.contains(mtu));
                    options.mtu = Some(mtu.ok_or_else(wrong)?);
                }
                "com.docker.network.bridge.name" => {
                    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
                    let is_name = value.starts_with(|c: char| c.is_ascii_alphanumeric())
                        && value.len() <= LONGEST_INTERFACE
                        && !OF_NO_INTERFACE.contains(&value)
                        && value.chars().all(good);
                    options.interface = Some(Some(value.to_owned()).filter(|_| is_name).ok_or_else(wrong)?);
                }
                // as it is in any case
                "com.docker.network.bridge.enable_icc" | "com.docker.network.bridge.enable_ip_masquerade"
                    if value == "true" => {}
                "com.docker.network.bridge.host_binding_ipv4" if value == "0.0.0.0" => {}
                _ => return Err(UsageError::unsupported(format_args!("--opt {text}"))),
            }
            options.written.insert(name.to_owned(), value.to_owned());
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_named_in_two_forms() {
        let read = |modes: &[&str], alias: &[&str], ip: Option<&str>| {
            let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
            let places =
                places(&owned(modes), &owned(alias), (ip, None)).map_err(|error| error.to_string())?;
            let shown = |one: &JoinedNetwork| format!("{}|{}|{:?}", one.name, one.aliases.join(","), one.v4);
            Ok::<_, String>(places.iter().map(shown).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(read(&["front"], &["web"], Some("10.89.0.9")).unwrap(), "front|web|Some(10.89.0.9)");
        assert_eq!(
            read(&["name=front,alias=a,alias=b,ip=10.89.0.9", "back"], &[], None).unwrap(),
            "front|a,b|Some(10.89.0.9) back||None"
        );
        for (modes, alias, ip, said) in [
            (&["name=a,ip=x"][..], &[][..], None, "invalid IPv4 address: x"),
            (&["alias=x"], &[], None, "network name/id is not specified"),
            (&["name=a,foo=b"], &[], None, "invalid field key foo"),
            (&["name=a,b"], &[], None, "invalid field: b"),
            (&["name=a,mac-address=b"], &[], None, "--network mac-address=b is not supported yet"),
            (&["name=a,alias=b"], &["c"], None, "cannot specify both --network-alias and per-network alias"),
            (
                &["name=a,ip=1.2.3.4"],
                &[],
                Some("1.2.3.4"),
                "cannot specify both --ip and per-network IPv4 address",
            ),
        ] {
            let error = read(modes, alias, ip).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn options_of_the_driver_are_known_or_refused() {
        let read = |text: &str| DriverOptions::read(&[text.to_owned()]);
        assert_eq!(read("com.docker.network.driver.mtu=1400").unwrap().mtu, Some(1400));
        assert_eq!(read("com.docker.network.bridge.name=br-x").unwrap().interface.unwrap(), "br-x");
        assert_eq!(read("com.docker.network.bridge.enable_icc=true").unwrap().written.len(), 1);
        for text in [
            "mtu=1",
            "mtu=x",
            "com.docker.network.bridge.name=../x",
            "com.docker.network.bridge.name=a123456789012345",
            "com.docker.network.bridge.name=all",
            "com.docker.network.bridge.name=default",
            "com.docker.network.bridge.enable_icc=false",
            "x=y",
            "x",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
