//! `--cache-from` and `--cache-to`: caches of other machines, and for them.

use super::{
    buckets,
    cache_attributes::{Attributes, entries, go_bool},
    image_name, packing, reference,
};
use crate::{environment::Environment, error::UsageError};
use rbuild::{
    CacheContainer, CacheDestination, CacheFailure, CacheForm, CacheInput, CacheMode, CacheOutput,
    CacheSource, CacheTarget, InlineCache, Leftovers, MediaTypes,
};
use std::path::{Path, PathBuf};

/// The name of a cache in a layout when none is given.
const DEFAULT_TAG: &str = "latest";

/// The caches to read that `values` of `--cache-from` name.
///
/// # Errors
/// [`UsageError`] in Docker's words.
pub(super) fn sources(values: &[String], environment: &Environment) -> Result<Vec<CacheInput>, UsageError> {
    let mut sources = Vec::new();
    for asked in entries(values)? {
        sources.push(source(asked, environment)?);
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
    environment: &Environment,
) -> Result<(Vec<CacheOutput>, InlineCache), UsageError> {
    let (mut outputs, mut inline) = (Vec::new(), InlineCache::Absent);
    for mut asked in entries(values)? {
        if asked.kind == "inline" {
            asked.finish_inline()?;
            inline = InlineCache::Written;
        } else {
            outputs.push(output(asked, environment)?);
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

fn source(mut asked: Attributes, environment: &Environment) -> Result<CacheInput, UsageError> {
    let mounts = asked.mounts();
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
        "s3" => CacheSource::Bucket(buckets::s3(&mut asked, environment)?),
        "azblob" => CacheSource::Bucket(buckets::azure(&mut asked, environment)?),
        _ => return Err(asked.unknown()),
    };
    asked.finish()?;
    Ok(CacheInput { source, mounts })
}

fn output(mut asked: Attributes, environment: &Environment) -> Result<CacheOutput, UsageError> {
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
        "s3" => CacheTarget::Bucket(buckets::s3(&mut asked, environment)?),
        "azblob" => CacheTarget::Bucket(buckets::azure(&mut asked, environment)?),
        _ => return Err(asked.unknown()),
    };
    let mounts = asked.mounts();
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
    Ok(CacheOutput { destination: CacheDestination { target, form }, mode, mounts, failure })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::User;

    fn nothing() -> Environment {
        Environment::of(&[], User::Root)
    }

    fn to(text: &str) -> Result<CacheOutput, String> {
        outputs(&[text.to_owned()], &[], &nothing())
            .map(|(mut all, _)| all.remove(0))
            .map_err(|error| error.to_string())
    }

    fn from(text: &str) -> Result<Vec<CacheSource>, String> {
        let only = |all: Vec<CacheInput>| all.into_iter().map(|input| input.source).collect();
        sources(&[text.to_owned()], &nothing()).map(only).map_err(|error| error.to_string())
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
            outputs(&flags, &Vec::from_iter(arguments), &nothing()).map(|(_, inline)| inline).unwrap()
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
    fn cache_mounts_are_a_list() {
        let mounts = |text: &str| to(text).unwrap().mounts;
        assert_eq!(mounts("type=registry,ref=a,mounts=cargo,npm,mode=max"), ["cargo", "npm"]);
        assert_eq!(mounts("type=registry,ref=a,mounts=/root/.cargo;npm"), ["/root/.cargo", "npm"]);
        assert_eq!(to("type=registry,ref=a,mounts=cargo,mode=max").unwrap().mode, CacheMode::Max);
        assert!(mounts("type=registry,ref=a").is_empty());
        let read = sources(&["type=local,src=/c,mounts=a,b".to_owned()], &nothing()).unwrap();
        assert_eq!(read[0].mounts, ["a", "b"]);
        assert!(to("type=registry,ref=a,npm").unwrap_err().contains("invalid value npm"));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, message) in [
            ("ref=a,mode=max", "type required for \"ref=a,mode=max\""),
            ("bucket=b,secret_access_key=hunter2", "type required for \"…\""),
            ("type=registry", "registry cache requires ref"),
            ("type=local", "local cache requires dest"),
            ("type=registry,ref=a,mode=most", "unknown cache mode \"most\": give min or max"),
            ("type=registry,ref=a,ignore-error=perhaps", "non-bool value specified for ignore-error"),
            ("type=registry,ref=a,colour=red", "cache type registry has no attribute colour"),
            ("type=inline,mode=max", "an inline cache has the steps of the image alone"),
            ("type=inline,ref=a", "cache type inline has no attribute ref"),
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
