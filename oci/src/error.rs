//! Mistakes in texts and documents that should become values of this crate.

/// A text or document that does not have the required form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// A digest that does not consist of `sha256:` and 64 hexadecimal digits.
    #[error("invalid digest {0:?}")]
    Digest(String),
    /// A text that is not a Docker image reference.
    #[error("invalid reference format{}", if .rule.is_empty() { String::new() } else { format!(": {}", .rule) })]
    Reference {
        /// The text.
        text: String,
        /// The rule that it breaks; empty for the grammar as a whole.
        rule: String,
    },
    /// A name of 64 hexadecimal digits, which could be confused with an image's id.
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    HexadecimalName(String),
    /// A digest in a new name for an image. The words are Docker's.
    #[error("refusing to create a tag with a digest reference")]
    DigestGiven,
    /// A name that is to be given and reads as the beginning of a digest, `sha256:…`. The words are Docker's.
    #[error("refusing to create an ambiguous tag using digest algorithm as name")]
    AmbiguousName,
    /// A platform with more parts than `os[/arch[/variant]]`.
    #[error("{0:?}: cannot parse platform specifier")]
    Platform(String),
    /// A platform of one word that is neither an operating system nor an architecture.
    #[error("{0:?}: unknown operating system or architecture")]
    UnknownPlatform(String),
    /// A part of a platform with characters that it may not have.
    #[error(
        "{part:?} is an invalid component of {text:?}: platform specifier component must match \"^[A-Za-z0-9_.-]+$\""
    )]
    PlatformPart {
        /// The whole text.
        text: String,
        /// The part with these characters.
        part: String,
    },
    /// A text that is not an RFC 3339 time.
    #[error("invalid time {0:?}")]
    Timestamp(String),
    /// A path that is not absolute.
    #[error("image path {0:?} is not absolute")]
    ImagePath(String),
    /// A manifest of something that is no container image, such as a chart or an attestation, or of encrypted layers.
    #[error("it is no container image that can be unpacked: it has a {part} of type {media_type:?}")]
    NotAnImage {
        /// `config` or `layer`.
        part: &'static str,
        /// The media type of that part.
        media_type: String,
    },
    /// A JSON document (manifest, index, config) that does not have the required shape.
    #[error("invalid {kind}: {reason}")]
    Document {
        /// The kind of document that was expected.
        kind: &'static str,
        /// The JSON reader's message.
        reason: String,
    },
}
