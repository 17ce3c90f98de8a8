//! One `--mount` of `run` and `create`: its fields, and what they mean for each type.

use super::{outputs::fields, size};
use crate::error::UsageError;
use rbuild::{
    Access, FirstFiles, ImagePath, MissingHostPath, MountOrigin, MountPropagation, MountRequest, MountedFrom,
    MountedTmpfs, RequestedSource, Submounts,
};
use std::{collections::BTreeMap, path::PathBuf};

/// The fields of one flag, with names that stand for others settled.
struct Fields<'a> {
    line: &'a str,
    values: Vec<(String, Option<String>)>,
}

/// Reads the value of a `--mount`.
pub(super) fn read(line: &str) -> Result<MountRequest, UsageError> {
    let mut fields = Fields::read(line)?;
    let kind = fields.take("type").flatten().unwrap_or_else(|| "volume".to_owned());
    let path = fields.take("target").flatten().filter(|path| !path.is_empty());
    let path = path.ok_or_else(|| fields.wrong("target is required"))?;
    let access = if fields.switch("readonly")? { Access::ReadOnly } else { Access::ReadWrite };
    let target = target(&kind, &path)?;
    let _consistency = fields.take("consistency");
    let source = match kind.as_str() {
        "volume" => fields.volume()?,
        "bind" => fields.bind()?,
        "tmpfs" => fields.tmpfs()?,
        "image" | "npipe" | "cluster" => {
            return Err(UsageError::unsupported(format_args!("--mount type={kind}")));
        }
        other => return Err(fields.wrong(&format!("mount type unknown: {other:?}"))),
    };
    fields.finish(&kind)?;
    Ok(MountRequest { source, target, access, options: String::new(), origin: MountOrigin::Mount })
}

/// A place in the container.
pub(super) fn target(kind: &str, path: &str) -> Result<ImagePath, UsageError> {
    let wrong = |why: &str| UsageError::new(format!("invalid mount config for type {kind:?}: {why}"));
    let target: ImagePath = path
        .parse()
        .map_err(|_| wrong(&format!("invalid mount path: '{path}' mount path must be absolute")))?;
    if target.is_root() {
        return Err(wrong("invalid specification: destination can't be '/'"));
    }
    Ok(target)
}

/// The word of docker for what of later mounts is seen, where that is possible here.
pub(super) fn propagation(word: &str) -> Option<MountPropagation> {
    use MountPropagation::{Private, RPrivate, RSlave, Slave};
    [Private, RPrivate, Slave, RSlave].into_iter().find(|known| known.word() == word)
}

impl<'a> Fields<'a> {
    fn read(line: &'a str) -> Result<Self, UsageError> {
        let mut values = Vec::new();
        for field in fields(line)? {
            let (name, value) = match field.split_once('=') {
                Some((name, value)) => (name.to_ascii_lowercase(), Some(value.to_owned())),
                None => (field.to_ascii_lowercase(), None),
            };
            let name = match name.as_str() {
                "src" => "source".to_owned(),
                "dst" | "destination" => "target".to_owned(),
                "ro" => "readonly".to_owned(),
                _ => name,
            };
            let is_switch = matches!(name.as_str(), "readonly" | "volume-nocopy" | "bind-nonrecursive");
            if value.is_none() && !is_switch {
                return Err(UsageError::new(format!(
                    "invalid argument {line:?} for \"--mount\" flag: invalid field '{field}' must be a key=value pair"
                )));
            }
            values.push((name, value));
        }
        Ok(Self { line, values })
    }

    fn wrong(&self, why: &str) -> UsageError {
        UsageError::new(format!("invalid argument {:?} for \"--mount\" flag: {why}", self.line))
    }

    /// The value of a field; the last one counts.
    fn take(&mut self, name: &str) -> Option<Option<String>> {
        let mut found = None;
        self.values.retain(|(known, value)| {
            if known == name {
                found = Some(value.clone());
            }
            known != name
        });
        found
    }

    fn switch(&mut self, name: &str) -> Result<bool, UsageError> {
        match self.take(name) {
            None => Ok(false),
            Some(None) => Ok(true),
            Some(Some(text)) => match text.as_str() {
                "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
                "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
                other => Err(self.wrong(&format!("invalid value for {name}: {other}"))),
            },
        }
    }

    fn volume(&mut self) -> Result<RequestedSource, UsageError> {
        let name = self.take("source").flatten().filter(|name| !name.is_empty());
        let name = name.map(|name| {
            name.parse().map_err(|error| {
                UsageError::new(format!("invalid mount config for type \"volume\": {error}"))
            })
        });
        let files = if self.switch("volume-nocopy")? { FirstFiles::None } else { FirstFiles::OfImage };
        let subpath = self.take("volume-subpath").flatten().filter(|path| !path.is_empty());
        if subpath.as_deref().is_some_and(|path| path.starts_with('/')) {
            return Err(self.wrong("invalid value for volume-subpath: it must be a relative path"));
        }
        let mut labels = BTreeMap::new();
        for (_, value) in self.values.extract_if(.., |(name, _)| name == "volume-label") {
            let (name, value) = super::label(&value.unwrap_or_default())?;
            labels.insert(name, value);
        }
        match self.take("volume-driver").flatten().as_deref() {
            None | Some("" | "local") => {}
            Some(driver) => {
                return Err(UsageError::unsupported(format_args!("--mount volume-driver={driver}")));
            }
        }
        if self.take("volume-opt").is_some() {
            return Err(UsageError::unsupported(format_args!(
                "--mount volume-opt (a volume is a directory of the store, nothing is mounted for it)"
            )));
        }
        // with a part of it, what the image has at the place is not what the volume begins with
        let files = if subpath.is_some() { FirstFiles::None } else { files };
        Ok(RequestedSource::Volume { name: name.transpose()?, files, subpath, labels })
    }

    fn bind(&mut self) -> Result<RequestedSource, UsageError> {
        let wrong = |why: &str| UsageError::new(format!("invalid mount config for type \"bind\": {why}"));
        let source = self.take("source").flatten().filter(|path| !path.is_empty());
        let source = source.ok_or_else(|| wrong("field Source must not be empty"))?;
        if !source.starts_with(['/', '.']) {
            return Err(wrong(&format!("invalid mount path: '{source}' mount path must be absolute")));
        }
        let propagation = match self.take("bind-propagation").flatten() {
            None => MountPropagation::default(),
            Some(word) => propagation(&word).ok_or_else(|| match word.as_str() {
                "shared" | "rshared" => {
                    UsageError::unsupported(format_args!("--mount bind-propagation={word}"))
                }
                _ => self.wrong(&format!("invalid propagation option: {word}")),
            })?,
        };
        let mut submounts =
            if self.switch("bind-nonrecursive")? { Submounts::Hidden } else { Submounts::Shown };
        match self.take("bind-recursive").flatten().as_deref() {
            None => {}
            Some("enabled" | "readonly") => submounts = Submounts::Shown,
            Some("disabled") => submounts = Submounts::Hidden,
            Some("writable") => submounts = Submounts::Writable,
            Some(other) => return Err(self.wrong(&format!("invalid value for bind-recursive: {other}"))),
        }
        let source = PathBuf::from(source);
        let missing = MissingHostPath::Refused;
        Ok(RequestedSource::Other(MountedFrom::Host { source, missing, propagation, submounts }))
    }

    fn tmpfs(&mut self) -> Result<RequestedSource, UsageError> {
        if self.take("source").is_some() {
            let message = "invalid mount config for type \"tmpfs\": field Source must not be specified";
            return Err(UsageError::new(message));
        }
        let mut tmpfs = MountedTmpfs::default();
        if let Some(text) = self.take("tmpfs-size").flatten() {
            let bytes = size::bytes("mount", &text)
                .map_err(|_| self.wrong(&format!("invalid value for tmpfs-size: {text}")))?;
            tmpfs.settings.push(("size".to_owned(), bytes.to_string()));
        }
        if let Some(text) = self.take("tmpfs-mode").flatten() {
            let mode = u32::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o7777);
            let mode = mode.ok_or_else(|| self.wrong(&format!("invalid value for tmpfs-mode: {text}")))?;
            tmpfs.settings.push(("mode".to_owned(), format!("{mode:o}")));
        }
        Ok(RequestedSource::Other(MountedFrom::Tmpfs { tmpfs }))
    }

    /// Nothing may be left.
    fn finish(self, kind: &str) -> Result<(), UsageError> {
        let Some((name, _)) = self.values.first() else { return Ok(()) };
        let of_others = ["volume-", "bind-", "tmpfs-"]
            .into_iter()
            .find(|prefix| name.starts_with(prefix) && *prefix != format!("{kind}-"));
        Err(match of_others {
            Some(prefix) => self.wrong(&format!("cannot mix '{prefix}*' options with mount type '{kind}'")),
            None => self.wrong(&format!("unexpected key '{name}' in '{}'", self.line)),
        })
    }
}
