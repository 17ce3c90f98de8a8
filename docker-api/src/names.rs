//! Names, ids and commands as Docker shows them.

use rbuild::{ImageId, Reference};

/// How much of ids and commands a listing shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// The form that fits a column.
    Short,
    /// All of it (`--no-trunc`).
    Full,
}

/// Digits by which people call an image or a container.
const SHORT_ID: usize = 12;

/// A name as Docker's messages have it: short, but with its tag.
#[must_use]
pub fn with_tag(reference: &Reference) -> String {
    match (reference.tag(), reference.digest()) {
        (Some(tag), None) => format!("{}:{tag}", reference.familiar_repository()),
        _ => reference.familiar(),
    }
}

/// The first `width` characters of `text`, the last of them `…` when something is missing.
#[must_use]
pub fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// An image's id in a listing: twelve digits, or all with the algorithm before them.
pub(crate) fn image_id(id: &ImageId, detail: Detail) -> String {
    match detail {
        Detail::Short => id.as_digest().hex()[..SHORT_ID].to_owned(),
        Detail::Full => id.to_string(),
    }
}

/// A container's id in a listing.
pub(crate) fn container_id(id: &str, detail: Detail) -> String {
    match detail {
        Detail::Short => id.chars().take(SHORT_ID).collect(),
        Detail::Full => id.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_end_in_an_ellipsis() {
        assert_eq!(shortened("abcdef", 6), "abcdef");
        assert_eq!(shortened("abcdefg", 6), "abcde…");
    }

    #[test]
    fn names_have_their_tag_unless_a_digest_decides() {
        let shown = |text: &str| with_tag(&text.parse().unwrap());
        assert_eq!(shown("debian"), "debian:latest");
        assert_eq!(shown("docker.io/library/debian:12"), "debian:12");
        assert_eq!(shown("r.example:5000/a:1"), "r.example:5000/a:1");
        let digest = format!("debian@sha256:{}", "a".repeat(64));
        assert_eq!(shown(&digest), digest);
    }
}
