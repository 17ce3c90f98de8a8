//! `registries.conf` of the containers tools (containers-registries.conf(5)), and the files of `registries.conf.d`.

use super::{
    Registries,
    file::{toml, wrong},
    insecure::InsecureHost,
    rule::{Mirror, Rule, Serves, location},
};
use crate::RegistryError;
use serde::Deserialize;
use std::path::Path;

#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    registry: Vec<Entry>,
    /// The first version of the format.
    registries: First,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Entry {
    prefix: String,
    location: String,
    insecure: bool,
    blocked: bool,
    mirror: Vec<MirrorEntry>,
    mirror_by_digest_only: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct MirrorEntry {
    location: String,
    insecure: bool,
    pull_from_mirror: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct First {
    insecure: List,
    block: List,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct List {
    registries: Vec<String>,
}

impl Registries {
    /// The rules of a `registries.conf`, found at `path`, whose content is `text`.
    ///
    /// # Errors
    /// [`RegistryError::Registries`] when it is not such a file.
    pub fn from_registries_conf(path: &Path, text: &str) -> Result<Self, RegistryError> {
        let file: File = toml(path, text)?;
        let mut all = Self::with_insecure(file.registries.insecure.registries.iter().map(String::as_str));
        for host in &file.registries.block.registries {
            all.rules.push(Rule { blocked: true, ..Rule::new(host, path) });
        }
        for entry in file.registry {
            all.add(path, &entry)?;
        }
        Ok(all)
    }

    fn add(&mut self, path: &Path, entry: &Entry) -> Result<(), RegistryError> {
        let prefix = if entry.prefix.is_empty() { &entry.location } else { &entry.prefix };
        if prefix.is_empty() {
            return Err(wrong(path, "a registry without prefix and location"));
        }
        let mut rule = Rule::new(prefix, path);
        rule.blocked = entry.blocked;
        if !entry.location.is_empty() {
            rule.location = Some(location(path, &entry.location)?);
        }
        if entry.insecure {
            self.insecure.push(InsecureHost::new(rule.location.as_ref().unwrap_or(prefix)));
        }
        for mirror in &entry.mirror {
            let serves = match (mirror.pull_from_mirror.as_str(), entry.mirror_by_digest_only) {
                ("all" | "", false) => Serves::Everything,
                ("digest-only", false) | ("", true) => Serves::Digests,
                ("tag-only", false) => Serves::Tags,
                ("all" | "digest-only" | "tag-only", true) => {
                    let problem = format!("{prefix}: pull-from-mirror beside mirror-by-digest-only");
                    return Err(wrong(path, problem));
                }
                (other, _) => {
                    let problem = format!(
                        "{prefix}: pull-from-mirror is {other:?}, and must be all, digest-only or tag-only"
                    );
                    return Err(wrong(path, problem));
                }
            };
            let location = location(path, &mirror.location)?;
            if mirror.insecure {
                self.insecure.push(InsecureHost::new(&location));
            }
            rule.mirrors.push(Mirror { location, serves });
        }
        self.rules.push(rule);
        Ok(())
    }
}
