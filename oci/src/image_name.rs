//! Names that can be given to an image.

use crate::{ParseError, Reference};
use std::{fmt, str::FromStr};

/// A name that can be given to an image: a repository and a tag, never a digest. A digest promises certain bytes, so it
/// cannot be given, but is known of an image that was fetched by it. A [`Reference`] is a name to look up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageName(Reference);

impl ImageName {
    /// Makes a name of `reference`.
    ///
    /// # Errors
    /// [`ParseError::DigestGiven`] when it has a digest, [`ParseError::AmbiguousName`] for the repository `sha256`.
    pub fn new(reference: Reference) -> Result<Self, ParseError> {
        if reference.digest().is_some() {
            return Err(ParseError::DigestGiven);
        }
        if reference.familiar_repository() == "sha256" {
            return Err(ParseError::AmbiguousName);
        }
        Ok(Self(reference))
    }

    /// The reference that finds the image with this name.
    #[must_use]
    pub fn as_reference(&self) -> &Reference {
        &self.0
    }

    /// The tag; `latest` when none was written.
    #[must_use]
    pub fn tag(&self) -> &str {
        self.0.tag().expect("only a reference with a digest has no tag")
    }
}

impl fmt::Display for ImageName {
    /// The full form: `docker.io/library/debian:12`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ImageName {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::new(text.parse()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;

    #[test]
    fn a_name_never_has_a_digest() {
        let digest = Digest::of(b"x");
        for text in [format!("a@{digest}"), format!("a:1@{digest}"), format!("localhost:5000/b/c:1@{digest}")]
        {
            assert_eq!(text.parse::<ImageName>(), Err(ParseError::DigestGiven), "{text}");
            assert!(text.parse::<Reference>().is_ok());
        }
        let name: ImageName = "a".parse().unwrap();
        assert_eq!((name.tag(), name.to_string().as_str()), ("latest", "docker.io/library/a:latest"));
        for text in ["sha256", "sha256:abc", "docker.io/library/sha256:1"] {
            assert_eq!(text.parse::<ImageName>(), Err(ParseError::AmbiguousName), "{text}");
        }
        assert!("me/sha256:1".parse::<ImageName>().is_ok() && "sha512:1".parse::<ImageName>().is_ok());
        assert!(matches!("A".parse::<ImageName>(), Err(ParseError::Reference { .. })));
    }
}
