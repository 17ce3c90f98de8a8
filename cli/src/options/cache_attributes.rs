//! The attributes of `--cache-from` and `--cache-to`, as they are typed.

use super::outputs::fields;
use crate::error::UsageError;

/// The attributes of one cache, each taken once; one that is left over is a mistake.
pub(super) struct Attributes {
    pub(super) kind: String,
    values: Vec<(String, String)>,
}

/// Reads `type=T,NAME=VALUE,…`, and references alone, each of which is a cache in a registry.
pub(super) fn entries(values: &[String]) -> Result<Vec<Attributes>, UsageError> {
    let mut entries = Vec::new();
    for text in values.iter().filter(|text| !text.is_empty()) {
        let fields = fields(text)?;
        if fields.iter().all(|field| !field.contains('=')) {
            let of_registry = |name: String| Attributes {
                kind: "registry".to_owned(),
                values: vec![("ref".to_owned(), name)],
            };
            entries.extend(fields.into_iter().map(of_registry));
            continue;
        }
        let (mut kind, mut values) = (None, Vec::new());
        for field in fields {
            // `mounts=A,B`: what follows without a name is one more
            if let (false, Some((_, mounts))) = (
                field.contains('='),
                values.last_mut().filter(|(name, _): &&mut (String, String)| name == "mounts"),
            ) {
                mounts.push(';');
                mounts.push_str(&field);
                continue;
            }
            let Some((name, value)) = field.split_once('=') else {
                return Err(UsageError::in_build(format!("invalid value {field}")));
            };
            match name.trim().to_ascii_lowercase() {
                name if name == "type" => kind = Some(value.to_owned()),
                name => {
                    values.retain(|(known, _)| *known != name);
                    values.push((name, value.to_owned()));
                }
            }
        }
        let required = || {
            // a key that was typed is not shown
            let is_secret = |name: &str| name.contains("secret") || name.contains("token");
            let shown = match values.iter().any(|(name, _)| is_secret(name)) {
                true => "…",
                false => text,
            };
            UsageError::in_build(format!("type required for {shown:?}"))
        };
        let kind = kind.filter(|kind| !kind.is_empty()).ok_or_else(required)?;
        entries.push(Attributes { kind, values });
    }
    Ok(entries)
}

impl Attributes {
    /// Takes a value.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.values.iter().position(|(known, _)| known == name)?;
        Some(self.values.remove(at).1)
    }

    /// Takes the ids of cache mounts.
    pub(super) fn mounts(&mut self) -> Vec<String> {
        let ids = self.take("mounts").unwrap_or_default();
        ids.split(';').map(str::trim).filter(|id| !id.is_empty()).map(str::to_owned).collect()
    }

    /// Takes a value that has to be there.
    pub(super) fn needed(&mut self, name: &str) -> Result<String, UsageError> {
        let given = self.take(name).filter(|value| !value.is_empty());
        given.ok_or_else(|| UsageError::in_build(format!("{} cache requires {name}", self.kind)))
    }

    /// Takes a value that Go's `strconv.ParseBool` reads.
    pub(super) fn switch(&mut self, name: &str) -> Result<Option<bool>, UsageError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let invalid = || UsageError::in_build(format!("non-bool value specified for {name}"));
        go_bool(&value).map(Some).ok_or_else(invalid)
    }

    /// The attributes of a cache that an image carries: its layers are the image's, so what only says how they are written is of
    /// the output.
    pub(super) fn finish_inline(&mut self) -> Result<(), UsageError> {
        if self.take("mode").is_some_and(|mode| mode == "max") {
            return Err(UsageError::in_build(
                "an inline cache has the steps of the image alone: type=registry and type=local take mode=max",
            ));
        }
        let unused =
            ["ignore-error", "compression", "compression-level", "force-compression", "oci-mediatypes"];
        self.values.retain(|(name, _)| !unused.contains(&name.as_str()));
        Self { kind: self.kind.clone(), values: std::mem::take(&mut self.values) }.finish()
    }

    /// Takes a switch that may only say what is done anyway.
    pub(super) fn only(&mut self, name: &str, done: bool) -> Result<(), UsageError> {
        match self.switch(name)? {
            Some(asked) if asked != done => Err(UsageError::unsupported(format_args!(
                "{name}={asked} of cache type {} (--tls-verify=false accepts such registries)",
                self.kind
            ))),
            Some(_) | None => Ok(()),
        }
    }

    /// Nothing may be left.
    pub(super) fn finish(self) -> Result<(), UsageError> {
        match self.values.first() {
            Some((name, _)) => {
                Err(UsageError::in_build(format!("cache type {} has no attribute {name}", self.kind)))
            }
            None => Ok(()),
        }
    }

    pub(super) fn unknown(&self) -> UsageError {
        match self.kind.as_str() {
            "gha" => UsageError::in_build(
                "cache type gha is not supported, because its service answers only inside of GitHub's runners: use type=registry or type=local there",
            ),
            "inline" => UsageError::in_build(
                "an inline cache is read with its image: type=registry,ref=IMAGE (--cache-from IMAGE)",
            ),
            other => UsageError::in_build(format!("unknown cache type {other:?}")),
        }
    }
}

/// A value that Go's `strconv.ParseBool` reads.
pub(super) fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}
