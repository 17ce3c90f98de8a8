//! The part of the Docker daemon's `daemon.json` that concerns registries.

use super::{
    Registries,
    file::wrong,
    insecure::InsecureHost,
    rule::{Mirror, Rule, Serves, location},
};
use crate::{Proxies, RegistryError, Secret, host::DOCKER_HUB};
use serde::Deserialize;
use std::path::Path;

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct File {
    registry_mirrors: Vec<String>,
    insecure_registries: Vec<String>,
    proxies: ProxyEntries,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct ProxyEntries {
    http_proxy: Secret,
    https_proxy: Secret,
    no_proxy: String,
}

impl Registries {
    /// The mirrors of Docker Hub, the insecure hosts and the proxies of a `daemon.json`, found at `path`, whose content is
    /// `text`.
    ///
    /// # Errors
    /// [`RegistryError::Registries`] when it is not such a file.
    pub fn from_docker_daemon(path: &Path, text: &str) -> Result<(Self, Proxies), RegistryError> {
        let file: File = serde_json::from_str(text).map_err(|error| wrong(path, error.to_string()))?;
        let mut all = Self::with_insecure(file.insecure_registries.iter().map(String::as_str));
        let mut hub = Rule::new(DOCKER_HUB, path);
        for mirror in &file.registry_mirrors {
            let location = location(path, mirror)?;
            if mirror.starts_with("http://") {
                all.insecure.push(InsecureHost::new(&location));
            }
            hub.mirrors.push(Mirror { location, serves: Serves::Everything });
        }
        if !hub.mirrors.is_empty() {
            all.rules.push(hub);
        }
        let ProxyEntries { http_proxy, https_proxy, no_proxy } = file.proxies;
        Ok((all, Proxies { http: http_proxy, https: https_proxy, except: no_proxy }))
    }
}
