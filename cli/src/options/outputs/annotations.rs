//! Annotations: `KEY=VALUE` with where it stands before it.

use crate::error::UsageError;
use rbuild::Platform;

/// An annotation, of one document of all images or of that of one platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Annotation {
    pub(super) place: Place,
    pub(super) platform: Option<Platform>,
    pub(super) key: String,
    pub(super) value: String,
}

/// The document that has an annotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Manifest,
    Index,
    ManifestDescriptor,
    IndexDescriptor,
}

impl Place {
    const NAMES: [(&'static str, Self); 4] = [
        ("manifest", Self::Manifest),
        ("index", Self::Index),
        ("manifest-descriptor", Self::ManifestDescriptor),
        ("index-descriptor", Self::IndexDescriptor),
    ];

    fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, place)| *place)
    }
}

/// The meaning of `--annotation`: `[PLACE[,PLACE][[PLATFORM]]:]KEY=VALUE`.
pub(super) fn of_flags(flags: &[String]) -> Result<Vec<Annotation>, UsageError> {
    let mut annotations = Vec::new();
    for flag in flags.iter().filter(|flag| !flag.is_empty()) {
        let Some((subject, value)) = flag.split_once('=') else {
            return Err(UsageError::in_build(format!("invalid annotation {flag:?}, expected key=value")));
        };
        // a key with a colon needs a place before it
        let (places, key) = subject.split_once(':').unwrap_or(("manifest", subject));
        for place in places.split(',') {
            let name = place.split('[').next().unwrap_or(place);
            let wrong = || match Place::named(name) {
                Some(_) => UsageError::in_build(format!("invalid annotation {flag:?}, expected key=value")),
                None => UsageError::in_build(format!("unknown annotation type {name:?}")),
            };
            annotations.push(annotation(place, key, value).ok_or_else(wrong)??);
        }
    }
    Ok(annotations)
}

/// The meaning of the attribute `annotation[-PLACE][[PLATFORM]].KEY`.
pub(super) fn of_attribute(name: &str, value: &str) -> Result<Annotation, UsageError> {
    let wrong = || UsageError::in_build(format!("invalid annotation attribute {name:?}"));
    let rest = name.strip_prefix("annotation").ok_or_else(wrong)?;
    // a platform may have dots, and comes before the first one of the key
    let from = rest.find(']').unwrap_or(0);
    let dot = rest[from..].find('.').ok_or_else(wrong)? + from;
    let (place, key) = (&rest[..dot], &rest[dot + 1..]);
    let place = match place.strip_prefix('-') {
        Some(place) => place.to_owned(),
        None => format!("manifest{place}"),
    };
    annotation(&place, key, value).ok_or_else(wrong)?
}

/// An annotation at `place`, which may name a platform in brackets.
fn annotation(place: &str, key: &str, value: &str) -> Option<Result<Annotation, UsageError>> {
    let (place, platform) = match place.split_once('[') {
        Some((place, platform)) => (place, Some(platform.strip_suffix(']')?)),
        None => (place, None),
    };
    let place = Place::named(place)?;
    if key.is_empty() {
        return None;
    }
    let (key, value) = (key.to_owned(), value.to_owned());
    let platform = platform.map(super::super::any_platform).transpose();
    Some(platform.map(|platform| Annotation { place, platform, key, value }))
}

/// An annotation of a descriptor that neither a store nor a registry has.
pub(super) fn of_index_descriptor() -> UsageError {
    UsageError::in_build(
        "index-descriptor annotations have no place in a store or a registry, where no descriptor leads to the index: use type=oci",
    )
}
