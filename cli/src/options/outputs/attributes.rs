//! The attributes of one `--output`, each taken once; one that is left over is a mistake.

use super::annotations::{self, Annotation};
use crate::error::UsageError;
use rbuild::ImageName;
use std::path::PathBuf;

/// The attributes of an output.
pub(super) struct Attributes {
    /// Its type.
    pub(super) kind: String,
    /// Names in lower case, in the order in which they were given; of a name that comes again, the last.
    values: Vec<(String, String)>,
}

impl Attributes {
    /// Reads `type=T,NAME=VALUE,…`, a path, or `-`.
    pub(super) fn parse(text: &str) -> Result<Self, UsageError> {
        let fields = fields(text)?;
        if let [only] = fields.as_slice()
            && only == text
            && !only.starts_with("type=")
        {
            let kind = if only == "-" { "tar" } else { "local" };
            return Ok(Self::of(kind, &[("dest", only)]));
        }
        let mut kind = None;
        let mut values: Vec<(String, String)> = Vec::new();
        for field in fields {
            let Some((name, value)) = field.split_once('=') else {
                return Err(UsageError::in_build(format!("invalid value {field}")));
            };
            let name = name.trim().to_ascii_lowercase();
            if name == "type" {
                kind = Some(value.to_owned());
            } else {
                values.retain(|(known, _)| *known != name);
                values.push((name, value.to_owned()));
            }
        }
        match kind.filter(|kind| !kind.is_empty()) {
            Some(kind) => Ok(Self { kind, values }),
            None => Err(UsageError::in_build("type is required for output")),
        }
    }

    /// An output that was not typed in this form.
    pub(super) fn of(kind: &str, values: &[(&str, &str)]) -> Self {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { kind: kind.to_owned(), values }
    }

    /// `--push`: an image is pushed too. False when this is none.
    pub(super) fn push(&mut self) -> bool {
        let is_image = matches!(self.kind.as_str(), "image" | "registry");
        if is_image {
            self.values.retain(|(name, _)| name != "push");
            self.values.push(("push".to_owned(), "true".to_owned()));
        }
        is_image
    }

    pub(super) fn peek(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.values.iter().position(|(known, _)| known == name)?;
        Some(self.values.remove(at).1)
    }

    /// A value that Go's `strconv.ParseBool` reads; one that is empty is true.
    pub(super) fn switch(&mut self, name: &str) -> Result<Option<bool>, UsageError> {
        match self.take(name).as_deref() {
            None => Ok(None),
            Some("" | "1" | "t" | "T" | "TRUE" | "true" | "True") => Ok(Some(true)),
            Some("0" | "f" | "F" | "FALSE" | "false" | "False") => Ok(Some(false)),
            Some(_) => Err(UsageError::in_build(format!("non-bool value specified for {name}"))),
        }
    }

    /// Takes a switch that may only be off, because of `reason`.
    pub(super) fn off(&mut self, name: &str, reason: &str) -> Result<(), UsageError> {
        match self.switch(name)? {
            Some(true) => Err(UsageError::in_build(format!(
                "{name}=true of output type {} is not supported: {reason}",
                self.kind
            ))),
            Some(false) | None => Ok(()),
        }
    }

    /// Takes what is said of attestations, of which there are none.
    pub(super) fn attestations(&mut self) -> Result<(), UsageError> {
        match self.take("attestation-prefix").filter(|prefix| !prefix.is_empty()) {
            Some(_) => Err(UsageError::in_build(format!(
                "attestation-prefix of output type {} is not supported: attestations are not made",
                self.kind
            ))),
            None => Ok(()),
        }
    }

    /// A time in seconds since 1970.
    pub(super) fn seconds(&mut self, name: &str) -> Result<Option<i64>, UsageError> {
        match self.take(name).filter(|text| !text.is_empty()) {
            Some(text) => text.parse().map(Some).map_err(|_| {
                UsageError::in_build(format!("invalid {name} {text:?}: expected seconds since 1970"))
            }),
            None => Ok(None),
        }
    }

    pub(super) fn names(&mut self) -> Result<Vec<ImageName>, UsageError> {
        let text = self.take("name").unwrap_or_default();
        let names = text.split(',').filter(|name| !name.is_empty());
        names.map(super::super::tag).collect()
    }

    /// True if nothing says where it goes.
    pub(super) fn has_no_destination(&self) -> bool {
        self.peek("dest").is_none_or(str::is_empty)
    }

    /// One file; `None` is standard output.
    pub(super) fn file(&mut self) -> Option<PathBuf> {
        self.take("dest").filter(|path| !matches!(path.as_str(), "" | "-")).map(PathBuf::from)
    }

    /// A directory.
    pub(super) fn directory(&mut self) -> Result<PathBuf, UsageError> {
        match self.take("dest").as_deref() {
            None | Some("") => {
                Err(UsageError::in_build(format!("dest is required for {} exporter", self.kind)))
            }
            Some("-") => {
                Err(UsageError::in_build(format!("dest cannot be stdout for {} exporter", self.kind)))
            }
            Some(path) => Ok(path.into()),
        }
    }

    /// All annotations.
    pub(super) fn annotations(&mut self) -> Result<Vec<Annotation>, UsageError> {
        let mut found = Vec::new();
        for (name, value) in std::mem::take(&mut self.values) {
            if name.starts_with("annotation") {
                found.push(annotations::of_attribute(&name, &value)?);
            } else {
                self.values.push((name, value));
            }
        }
        Ok(found)
    }

    /// Nothing may be left.
    pub(super) fn finish(self) -> Result<(), UsageError> {
        match self.values.first() {
            Some((name, _)) => {
                Err(UsageError::in_build(format!("output type {} has no attribute {name}", self.kind)))
            }
            None => Ok(()),
        }
    }
}

/// The fields of a line of comma-separated values (RFC 4180).
pub(in crate::options) fn fields(line: &str) -> Result<Vec<String>, UsageError> {
    let wrong = || UsageError::in_build(format!("invalid value {line}: a quote is not closed"));
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let mut field = String::new();
        if let Some(mut quoted) = rest.strip_prefix('"') {
            loop {
                let (text, after) = quoted.split_once('"').ok_or_else(wrong)?;
                field.push_str(text);
                match after.strip_prefix('"') {
                    Some(more) => {
                        field.push('"');
                        quoted = more;
                    }
                    None => {
                        rest = after;
                        break;
                    }
                }
            }
            if !rest.is_empty() && !rest.starts_with(',') {
                return Err(wrong());
            }
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            field.push_str(&rest[..end]);
            rest = &rest[end..];
        }
        fields.push(field);
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => return Ok(fields),
        }
    }
}
