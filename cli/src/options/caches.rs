//! `--cache-from` and `--cache-to`: caches of other machines, and for them.

use super::{image_name, outputs::fields, packing, reference};
use crate::error::UsageError;
use rbuild::{
    CacheContainer, CacheDestination, CacheFailure, CacheForm, CacheMode, CacheOutput, CacheSource,
    CacheTarget, InlineCache, Leftovers, MediaTypes,
};
use std::path::{Path, PathBuf};

/// The name of a cache in a layout when none is given.
const DEFAULT_TAG: &str = "latest";

/// The attributes of one cache, each taken once; one that is left over is a mistake.
struct Attributes {
    kind: String,
    values: Vec<(String, String)>,
}

/// The caches to read that `values` of `--cache-from` name.
///
/// # Errors
/// [`UsageError`] in Docker's words.
pub(super) fn sources(values: &[String]) -> Result<Vec<CacheSource>, UsageError> {
    let mut sources = Vec::new();
    for asked in entries(values)? {
        sources.push(source(asked)?);
    }
    Ok(sources)
}

/// The caches to write that `values` of `--cache-to` and a `BUILDKIT_INLINE_CACHE` among `build_args` ask for.
///
/// # Errors
/// [`UsageError`] in Docker's words.
pub(super) fn outputs(
    values: &[String],
    build_args: &[(String, String)],
) -> Result<(Vec<CacheOutput>, InlineCache), UsageError> {
    let (mut outputs, mut inline) = (Vec::new(), InlineCache::Absent);
    for mut asked in entries(values)? {
        if asked.kind == "inline" {
            asked.finish_inline()?;
            inline = InlineCache::Written;
        } else {
            outputs.push(output(asked)?);
        }
    }
    let argument = build_args.iter().rev().find(|(name, _)| name == "BUILDKIT_INLINE_CACHE");
    if argument.is_some_and(|(_, value)| go_bool(value) == Some(true)) {
        inline = InlineCache::Written;
    }
    Ok((outputs, inline))
}

/// The directory of a layout is recorded, so its whole path is needed.
///
/// # Errors
/// [`UsageError`] when there is no working directory to begin it with.
fn whole(directory: &str, attribute: &str) -> Result<PathBuf, UsageError> {
    std::path::absolute(Path::new(directory))
        .map_err(|error| UsageError::in_build(format!("{attribute}={directory}: {error}")))
}

fn source(mut asked: Attributes) -> Result<CacheSource, UsageError> {
    let source = match asked.kind.as_str() {
        "registry" => {
            asked.only("registry.insecure", false)?;
            CacheSource::Registry(reference(&asked.needed("ref")?)?)
        }
        "local" => {
            let digest = asked.take("digest").filter(|text| !text.is_empty());
            let invalid = |error: rbuild::ParseError| UsageError::in_build(error.to_string());
            CacheSource::Layout {
                directory: whole(&asked.needed("src")?, "src")?,
                tag: asked.take("tag").unwrap_or_else(|| DEFAULT_TAG.to_owned()),
                digest: digest.map(|text| text.parse().map_err(invalid)).transpose()?,
            }
        }
        _ => return Err(asked.unknown()),
    };
    asked.finish()?;
    Ok(source)
}

fn output(mut asked: Attributes) -> Result<CacheOutput, UsageError> {
    let target = match asked.kind.as_str() {
        "registry" => {
            asked.only("registry.insecure", false)?;
            CacheTarget::Registry(image_name(&asked.needed("ref")?)?)
        }
        "local" => {
            let reset = asked.switch("reset")?.unwrap_or(false);
            CacheTarget::Layout {
                directory: whole(&asked.needed("dest")?, "dest")?,
                tag: asked.take("tag").unwrap_or_else(|| DEFAULT_TAG.to_owned()),
                leftovers: if reset { Leftovers::Removed } else { Leftovers::Kept },
            }
        }
        _ => return Err(asked.unknown()),
    };
    let mode = match asked.take("mode").as_deref() {
        None | Some("" | "min") => CacheMode::Min,
        Some("max") => CacheMode::Max,
        Some(other) => {
            return Err(UsageError::in_build(format!("unknown cache mode {other:?}: give min or max")));
        }
    };
    let ignored = asked.switch("ignore-error")?.unwrap_or(false);
    let form = form(&mut asked)?;
    asked.finish()?;
    let failure = if ignored { CacheFailure::Ignored } else { CacheFailure::Fatal };
    Ok(CacheOutput { destination: CacheDestination { target, form }, mode, failure })
}

fn form(asked: &mut Attributes) -> Result<CacheForm, UsageError> {
    let (compression, level) = (asked.take("compression"), asked.take("compression-level"));
    let force = asked.switch("force-compression")?.unwrap_or(false);
    let packing = packing(compression.as_deref(), level.as_deref(), force)?;
    let oci = asked.switch("oci-mediatypes")?.unwrap_or(true);
    // without being asked for, a manifest is what fits the media types
    let manifest = asked.switch("image-manifest")?.unwrap_or(oci);
    if manifest && !oci {
        return Err(UsageError::in_build(
            "invalid configuration for remote cache: OCI mediatypes are required for image-manifest cache format",
        ));
    }
    if !oci && compression.as_deref() == Some("zstd") {
        return Err(UsageError::in_build(
            "cache option \"compression=zstd\" conflicts with \"oci-mediatypes=false\"",
        ));
    }
    Ok(CacheForm {
        packing,
        media_types: if oci { MediaTypes::Oci } else { MediaTypes::Docker },
        container: if manifest { CacheContainer::Manifest } else { CacheContainer::Index },
    })
}

/// Reads `type=T,NAME=VALUE,…`, and references alone, each of which is a cache in a registry.
fn entries(values: &[String]) -> Result<Vec<Attributes>, UsageError> {
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
        let required = || UsageError::in_build(format!("type required for {text:?}"));
        let kind = kind.filter(|kind| !kind.is_empty()).ok_or_else(required)?;
        entries.push(Attributes { kind, values });
    }
    Ok(entries)
}

impl Attributes {
    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.values.iter().position(|(known, _)| known == name)?;
        Some(self.values.remove(at).1)
    }

    fn needed(&mut self, name: &str) -> Result<String, UsageError> {
        let given = self.take(name).filter(|value| !value.is_empty());
        given.ok_or_else(|| UsageError::in_build(format!("{} cache requires {name}", self.kind)))
    }

    fn switch(&mut self, name: &str) -> Result<Option<bool>, UsageError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let invalid = || UsageError::in_build(format!("non-bool value specified for {name}"));
        go_bool(&value).map(Some).ok_or_else(invalid)
    }

    /// The attributes of a cache that an image carries: its layers are the image's, so what only says how they are written is of
    /// the output.
    fn finish_inline(&mut self) -> Result<(), UsageError> {
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
    fn only(&mut self, name: &str, done: bool) -> Result<(), UsageError> {
        match self.switch(name)? {
            Some(asked) if asked != done => Err(UsageError::unsupported(format_args!(
                "{name}={asked} of cache type {} (--tls-verify=false accepts such registries)",
                self.kind
            ))),
            Some(_) | None => Ok(()),
        }
    }

    /// Nothing may be left.
    fn finish(self) -> Result<(), UsageError> {
        match self.values.first() {
            Some((name, _)) => {
                Err(UsageError::unsupported(format_args!("attribute {name} of cache type {}", self.kind)))
            }
            None => Ok(()),
        }
    }

    fn unknown(&self) -> UsageError {
        match self.kind.as_str() {
            "gha" => UsageError::unsupported(
                "cache type gha, whose service answers only inside of GitHub's runners: use type=registry or type=local there",
            ),
            "inline" => UsageError::in_build(
                "an inline cache is read with its image: type=registry,ref=IMAGE (--cache-from IMAGE)",
            ),
            "s3" | "azblob" => {
                UsageError::unsupported(format_args!("cache type {} in this place", self.kind))
            }
            other => UsageError::in_build(format!("unknown cache type {other:?}")),
        }
    }
}

/// A value that Go's `strconv.ParseBool` reads.
fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(text: &str) -> Result<CacheOutput, String> {
        outputs(&[text.to_owned()], &[]).map(|(mut all, _)| all.remove(0)).map_err(|error| error.to_string())
    }

    fn from(text: &str) -> Result<Vec<CacheSource>, String> {
        sources(&[text.to_owned()]).map_err(|error| error.to_string())
    }

    #[test]
    fn references_alone_are_registries() {
        let named = |text: &str| CacheSource::Registry(text.parse().unwrap());
        assert_eq!(from("user/app:tag").unwrap(), [named("user/app:tag")]);
        assert_eq!(from("a,b:1").unwrap(), [named("a"), named("b:1")]);
        assert_eq!(from("type=registry,ref=r.example/a").unwrap(), [named("r.example/a")]);
        assert_eq!(from("").unwrap(), []);
    }

    #[test]
    fn a_directory_has_a_tag_and_its_whole_path() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let read = from(&format!("type=local,src=/c,tag=x,digest={digest}")).unwrap();
        let expected = CacheSource::Layout {
            directory: "/c".into(),
            tag: "x".to_owned(),
            digest: Some(digest.parse().unwrap()),
        };
        assert_eq!(read, [expected]);
        let CacheTarget::Layout { directory, tag, leftovers } =
            to("type=local,dest=c").unwrap().destination.target
        else {
            panic!("no directory")
        };
        assert!(directory.is_absolute() && directory.ends_with("c"), "{directory:?}");
        assert_eq!((tag.as_str(), leftovers), ("latest", Leftovers::Kept));
    }

    #[test]
    fn forms_and_modes_are_read() {
        let usual = to("type=registry,ref=a").unwrap();
        assert_eq!((usual.destination.form, usual.mode), (CacheForm::default(), CacheMode::Min));
        assert_eq!(usual.failure, CacheFailure::Fatal);
        let other = to("type=registry,ref=a,mode=max,ignore-error=true,image-manifest=false").unwrap();
        assert_eq!((other.mode, other.failure), (CacheMode::Max, CacheFailure::Ignored));
        assert_eq!(other.destination.form.container, CacheContainer::Index);
        let docker = to("type=registry,ref=a,oci-mediatypes=false").unwrap().destination.form;
        assert_eq!((docker.media_types, docker.container), (MediaTypes::Docker, CacheContainer::Index));
    }

    #[test]
    fn an_image_carries_its_cache_when_a_flag_or_an_argument_says_so() {
        let asked = |flags: &[&str], value: Option<&str>| {
            let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
            let arguments = value.map(|value| ("BUILDKIT_INLINE_CACHE".to_owned(), value.to_owned()));
            outputs(&flags, &Vec::from_iter(arguments)).map(|(_, inline)| inline).unwrap()
        };
        assert_eq!(asked(&["type=inline"], None), InlineCache::Written);
        assert_eq!(asked(&["type=inline,mode=min,compression=zstd"], Some("0")), InlineCache::Written);
        assert_eq!(asked(&[], Some("1")), InlineCache::Written);
        assert_eq!(asked(&["type=local,dest=/c"], Some("true")), InlineCache::Written);
        for value in [None, Some("0"), Some("no"), Some("")] {
            assert_eq!(asked(&[], value), InlineCache::Absent, "{value:?}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, message) in [
            ("ref=a,mode=max", "type required for \"ref=a,mode=max\""),
            ("type=registry", "registry cache requires ref"),
            ("type=local", "local cache requires dest"),
            ("type=registry,ref=a,mode=most", "unknown cache mode \"most\": give min or max"),
            ("type=registry,ref=a,ignore-error=perhaps", "non-bool value specified for ignore-error"),
            (
                "type=registry,ref=a,colour=red",
                "attribute colour of cache type registry is not supported yet",
            ),
            ("type=inline,mode=max", "an inline cache has the steps of the image alone"),
            ("type=inline,ref=a", "attribute ref of cache type inline"),
            ("type=ftp,ref=a", "unknown cache type \"ftp\""),
            (
                "type=registry,ref=a,image-manifest=true,oci-mediatypes=false",
                "invalid configuration for remote cache: OCI mediatypes are required for image-manifest cache format",
            ),
        ] {
            let error = to(text).unwrap_err();
            assert!(error.contains(message), "{text}: {error}");
        }
        assert!(from("type=gha").unwrap_err().contains("use type=registry or type=local there"));
        assert!(from("type=inline").unwrap_err().contains("type=registry,ref=IMAGE"));
        assert!(from("type=local").unwrap_err().contains("local cache requires src"));
    }
}
