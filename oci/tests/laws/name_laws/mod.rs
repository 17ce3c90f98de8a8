//! Laws of texts that name something.

use rbuild_oci::{Digest, ImageName, ParseError, Platform, Reference, Timestamp};
use std::{fmt::Display, str::FromStr};

/// Checks the laws on a text; true if it is a reference.
pub(crate) fn check(text: &str) -> bool {
    reads_as_shown::<Digest>(text);
    reads_as_shown::<Platform>(text);
    reads_as_shown::<Timestamp>(text);
    reads_as_shown::<ImageName>(text);
    let Some(reference) = reads_as_shown::<Reference>(text) else { return false };
    let full = reference.to_string();
    for short in [reference.familiar(), reference.familiar_repository()] {
        let read: Reference = short.parse().expect("the familiar form is a reference");
        assert!(read.has_repository_of(&reference), "{text:?} is shown as {short:?}");
    }
    let familiar: Reference = reference.familiar().parse().expect("the familiar form is a reference");
    assert_eq!(familiar.to_string(), full, "{text:?} is shown as {:?}", reference.familiar());
    let parts = [reference.domain(), reference.tag().unwrap_or("x")].into_iter();
    for part in parts.chain(reference.path().split('/')) {
        let plain = part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-:[]".contains(&byte));
        assert!(plain && !["", ".", ".."].contains(&part), "{text:?} has the part {part:?}");
    }
    let name = ImageName::new(reference.clone());
    assert!(name.is_err() || reference.digest().is_none());
    true
}

/// The value of a text, if it has one. Shown and read again it is the same.
fn reads_as_shown<T: FromStr<Err = ParseError> + Display>(text: &str) -> Option<T> {
    match text.parse::<T>() {
        Ok(value) => {
            let shown = value.to_string();
            let again: T = shown.parse().expect("what is shown can be read");
            assert_eq!(again.to_string(), shown, "{text:?}");
            Some(value)
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            None
        }
    }
}
