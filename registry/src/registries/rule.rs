//! What is configured for the references that begin alike.

use super::file::wrong;
use crate::RegistryError;
use rbuild_oci::Reference;
use std::path::{Path, PathBuf};

/// The rule for all references with one prefix.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) prefix: Prefix,
    /// What stands in place of the prefix; `None` for the prefix itself.
    pub(super) location: Option<String>,
    pub(super) blocked: bool,
    /// In the order in which they are asked.
    pub(super) mirrors: Vec<Mirror>,
    /// The file that says so.
    pub(super) file: PathBuf,
}

/// Another place that has the same repositories.
#[derive(Clone, Debug)]
pub(super) struct Mirror {
    /// Host, port and perhaps a path, which stand in place of the prefix.
    pub(super) location: String,
    pub(super) serves: Serves,
}

/// The references that a mirror is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Serves {
    Everything,
    Digests,
    Tags,
}

/// `host[:port][/path]`, `*.domain` for all hosts below a domain, or `*` for all hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Prefix(String);

impl Rule {
    /// The rule for `prefix` in `file`, which changes nothing yet.
    pub(super) fn new(prefix: &str, file: &Path) -> Self {
        let prefix = Prefix(prefix.trim_end_matches('/').to_owned());
        Self { prefix, location: None, blocked: false, mirrors: Vec::new(), file: file.to_owned() }
    }

    pub(super) fn check(&self, reference: &Reference) -> Result<(), RegistryError> {
        if self.blocked {
            let (repository, path) = (reference.familiar_repository(), self.file.clone());
            return Err(RegistryError::Blocked { repository, path });
        }
        Ok(())
    }

    /// `reference` with `location` in place of the prefix.
    pub(super) fn moved(&self, reference: &Reference, location: &str) -> Result<Reference, RegistryError> {
        let text = reference.to_string();
        let matched = self.prefix.matched(&text, reference.domain()).unwrap_or_default();
        let moved = format!("{location}{}", &text[matched..]);
        let place = moved.parse::<Reference>();
        place.map_err(|_| wrong(&self.file, format!("{location:?} makes no image name of {reference}")))
    }
}

impl Prefix {
    pub(super) fn is_wildcard(&self) -> bool {
        self.0.starts_with('*')
    }

    /// The number of bytes of `text`, a reference in full, for which a location stands; `None` when the prefix does not
    /// begin it.
    pub(super) fn matched(&self, text: &str, domain: &str) -> Option<usize> {
        if let Some(parent) = self.0.strip_prefix('*') {
            let host = domain.rsplit_once(':').map_or(domain, |(host, _)| host);
            return (domain.ends_with(parent) || host.ends_with(parent)).then_some(domain.len());
        }
        let rest = text.strip_prefix(self.0.as_str())?;
        (rest.is_empty() || rest.starts_with(['/', ':', '@'])).then_some(self.0.len())
    }
}

/// `host[:port][/path]` of an address with or without a scheme.
///
/// # Errors
/// [`RegistryError::Registries`], naming `path`, when it is not one.
pub(super) fn location(path: &Path, text: &str) -> Result<String, RegistryError> {
    let bare = text.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    // a host without dot and port would be read as a repository of Docker Hub
    match format!("{bare}/x").parse::<Reference>() {
        Ok(place) if bare.split('/').next() == Some(place.domain()) => Ok(bare.to_owned()),
        Ok(_) | Err(_) => Err(wrong(path, format!("{text:?} is not host[:port][/path]"))),
    }
}
