//! `--add-host`, and `--dns` with its kin.

use crate::error::UsageError;
use rbuild::{HOST_GATEWAY, NameOptions};
use std::net::IpAddr;

/// The flags as they were typed.
pub(super) struct NameFlags<'a> {
    pub(super) add_host: &'a [String],
    pub(super) dns: &'a [String],
    pub(super) dns_search: &'a [String],
    pub(super) dns_option: &'a [String],
}

/// What they mean; `mistake` makes an error of what is wrong.
///
/// # Errors
/// Those of `mistake`.
pub(super) fn name_options(
    flags: &NameFlags<'_>,
    mistake: fn(String) -> UsageError,
) -> Result<NameOptions, UsageError> {
    let server = |text: &String| match text.parse::<IpAddr>() {
        Ok(_) => Ok(text.clone()),
        Err(_) => Err(mistake(format!("invalid name server {text:?}: give its address"))),
    };
    // each is a word of a file
    let word =
        |text: &String| match text.chars().any(|c| c.is_whitespace() || c.is_control()) || text.is_empty() {
            false => Ok(text.clone()),
            true => Err(mistake(format!("invalid word for resolv.conf: {text:?}"))),
        };
    let hosts = flags.add_host.iter().filter(|text| !text.is_empty());
    Ok(NameOptions {
        add_hosts: hosts.map(|text| host(text).map_err(mistake)).collect::<Result<_, _>>()?,
        servers: flags.dns.iter().map(server).collect::<Result<_, _>>()?,
        searches: flags.dns_search.iter().map(word).collect::<Result<_, _>>()?,
        options: flags.dns_option.iter().map(word).collect::<Result<_, _>>()?,
    })
}

fn host(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').or_else(|| text.split_once(':'));
    let Some((name, address)) = parts.filter(|(name, address)| !name.is_empty() && !address.is_empty())
    else {
        return Err(format!("invalid host {text}"));
    };
    if name.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(format!("invalid host {text:?}"));
    }
    if address == HOST_GATEWAY {
        return Ok((name.to_owned(), address.to_owned()));
    }
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    match bare.parse::<IpAddr>() {
        Ok(_) => Ok((name.to_owned(), bare.to_owned())),
        Err(_) => Err(format!("invalid IP address in add-host: {address:?}")),
    }
}
