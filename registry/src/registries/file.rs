//! Files of configuration, whose mistakes are named with their place.

use crate::RegistryError;
use std::path::Path;

/// A file that cannot be understood.
pub(super) fn wrong(path: &Path, problem: impl Into<String>) -> RegistryError {
    RegistryError::Registries { path: path.to_owned(), problem: problem.into() }
}

/// A TOML file.
pub(super) fn toml<T: serde::de::DeserializeOwned>(path: &Path, text: &str) -> Result<T, RegistryError> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| text[..span.start.min(text.len())].lines().count().max(1));
        let place = line.map(|line| format!("line {line}: ")).unwrap_or_default();
        wrong(path, format!("{place}{}", error.message()))
    })
}
