//! `hosts.toml` of containerd: the file of one registry in `certs.d`.

use super::{
    Registries,
    file::{toml, wrong},
    insecure::InsecureHost,
    rule::{Mirror, Rule, Serves, location},
};
use crate::{RegistryError, certificate_files::CertificateFiles};
use serde::{Deserialize, Deserializer, de::MapAccess, de::Visitor};
use std::{
    fmt,
    path::{Path, PathBuf},
};

#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    server: String,
    host: Hosts,
    #[serde(flatten)]
    own: Host,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Host {
    capabilities: Option<Vec<String>>,
    ca: OneOrMore<PathBuf>,
    client: OneOrMore<OneOrMore<PathBuf>>,
    skip_verify: bool,
    override_path: bool,
}

/// Hosts in the order of the file, in which they are asked.
#[derive(Default)]
struct Hosts(Vec<(String, Host)>);

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore<T> {
    More(Vec<T>),
    One(T),
}

impl<T> Default for OneOrMore<T> {
    fn default() -> Self {
        Self::More(Vec::new())
    }
}

impl<T> OneOrMore<T> {
    fn as_slice(&self) -> &[T] {
        match self {
            Self::More(all) => all,
            Self::One(one) => std::slice::from_ref(one),
        }
    }
}

impl Registries {
    /// The mirrors of the registry `domain` (`*` for those that have no file of their own) in a `hosts.toml`, found at `path`, whose content is `text`.
    ///
    /// # Errors
    /// [`RegistryError::Registries`] when it is not such a file, or wants a path that no repository can stand for.
    pub fn from_containerd_hosts(domain: &str, path: &Path, text: &str) -> Result<Self, RegistryError> {
        let file: File = toml(path, text)?;
        let mut all = Self::default();
        let mut rule = Rule::new(domain, path);
        for (address, host) in &file.host.0 {
            let location = all.host(path, address, host)?;
            let can = |what: &str| {
                host.capabilities.as_ref().is_none_or(|all| all.iter().any(|capability| capability == what))
            };
            match (can("pull"), can("resolve")) {
                (true, true) => rule.mirrors.push(Mirror { location, serves: Serves::Everything }),
                (true, false) => rule.mirrors.push(Mirror { location, serves: Serves::Digests }),
                (false, _) => {}
            }
        }
        if domain == "*" {
            all.rules.push(rule);
            return Ok(all);
        }
        let server = if file.server.is_empty() { domain } else { &file.server };
        let server = all.host(path, server, &file.own)?;
        // Docker Hub's server has another name than the domain of its images
        if server != domain && server != crate::host::authority(domain) {
            rule.location = Some(server);
        }
        all.rules.push(rule);
        Ok(all)
    }

    /// The location of a host, whose trust is noted.
    fn host(&mut self, path: &Path, address: &str, host: &Host) -> Result<String, RegistryError> {
        let location = at_repository(path, address, host)?;
        let name = location.split('/').next().unwrap_or_default().to_owned();
        if host.skip_verify || address.starts_with("http://") {
            self.insecure.push(InsecureHost::new(&name));
        }
        let beside = |file: &PathBuf| path.parent().map_or_else(|| file.clone(), |folder| folder.join(file));
        let mut files =
            CertificateFiles { authorities: host.ca.as_slice().iter().map(beside).collect(), client: None };
        files.client = match host.client.as_slice() {
            [] => None,
            [both] if both.as_slice().len() == 1 => {
                Some((beside(&both.as_slice()[0]), beside(&both.as_slice()[0])))
            }
            [pair] if pair.as_slice().len() == 2 => {
                Some((beside(&pair.as_slice()[0]), beside(&pair.as_slice()[1])))
            }
            _ => {
                return Err(wrong(path, format!("{address}: one client certificate is taken, with its key")));
            }
        };
        if !files.authorities.is_empty() || files.client.is_some() {
            self.certificates.push((name, files));
        }
        Ok(location)
    }
}

/// Where the repositories of a host begin. A path below `/v2` is the beginning of their names.
fn at_repository(path: &Path, address: &str, host: &Host) -> Result<String, RegistryError> {
    let bare = address.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let (name, below) = bare.split_once('/').unwrap_or((bare, ""));
    match below.strip_prefix("v2") {
        None if below.is_empty() => location(path, name),
        Some("") => location(path, name),
        Some(prefix) if host.override_path && prefix.starts_with('/') => {
            location(path, &format!("{name}{prefix}"))
        }
        Some(_) | None => Err(wrong(
            path,
            format!("{address}: a path is taken with override_path = true and below /v2 only"),
        )),
    }
}

impl<'de> Deserialize<'de> for Hosts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Hosts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("hosts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Hosts, A::Error> {
                let mut hosts = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    hosts.push(entry);
                }
                Ok(Hosts(hosts))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}
