//! What can be wrong with a text or document that should become one of this crate's values.

/// A text or document that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Not `sha256:` and 64 hexadecimal digits.
    #[error("invalid digest {0:?}")]
    Digest(String),
    /// Not a Docker image reference; the second field says which rule is broken.
    #[error("invalid reference format{}", if .rule.is_empty() { String::new() } else { format!(": {}", .rule) })]
    Reference {
        /// The text given.
        text: String,
        /// The rule it breaks, empty for the grammar as a whole.
        rule: String,
    },
    /// 64 hexadecimal digits, which could be taken for an image's id.
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    HexadecimalName(String),
    /// A digest in a name that is to be given. The words are Docker's.
    #[error("refusing to create a tag with a digest reference")]
    DigestGiven,
    /// A name that is to be given and reads as the beginning of a digest, `sha256:…`. The words are Docker's.
    #[error("refusing to create an ambiguous tag using digest algorithm as name")]
    AmbiguousName,
    /// More than `os[/arch[/variant]]`.
    #[error("{0:?}: cannot parse platform specifier")]
    Platform(String),
    /// One word that is neither an operating system nor an architecture.
    #[error("{0:?}: unknown operating system or architecture")]
    UnknownPlatform(String),
    /// A part of a platform that has other characters than a part may have.
    #[error(
        "{part:?} is an invalid component of {text:?}: platform specifier component must match \"^[A-Za-z0-9_.-]+$\""
    )]
    PlatformPart {
        /// The whole text.
        text: String,
        /// The bad part of it.
        part: String,
    },
    /// Not an RFC 3339 time.
    #[error("invalid time {0:?}")]
    Timestamp(String),
    /// Not an absolute path.
    #[error("image path {0:?} is not absolute")]
    ImagePath(String),
    /// A JSON document (manifest, index, config) that does not have the required shape.
    #[error("invalid {kind}: {reason}")]
    Document {
        /// Which document was expected.
        kind: &'static str,
        /// What the reader said.
        reason: String,
    },
}
