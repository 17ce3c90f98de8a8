//! What can go wrong with shared caches.

use crate::BucketFailure;
use rbuild_image::ImageError;
use rbuild_oci::{Digest, FailureClass, ParseError};
use rbuild_registry::RegistryError;
use std::{io, path::PathBuf};

/// A cache that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RemoteCacheError {
    /// A layer or a layout failed.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The registry failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A manifest is not what it should be.
    #[error("cannot read the manifest of {subject}")]
    Manifest {
        /// The cache.
        subject: String,
        /// The problem in the document.
        #[source]
        source: ParseError,
    },
    /// A description is no JSON, or has other fields than a description.
    #[error("cannot read the cache description of {subject}")]
    Json {
        /// The cache.
        subject: String,
        /// The problem in the document.
        #[source]
        source: serde_json::Error,
    },
    /// A description contradicts itself, or is larger than any that a build makes.
    #[error("the cache description of {subject} is not used: {problem}")]
    Description {
        /// The cache.
        subject: String,
        /// The problem.
        problem: &'static str,
    },
    /// A cache of another builder.
    #[error(
        "BuildKit wrote {subject}, and only BuildKit finds steps by the keys of its {records} records: \
         --cache-to of a build here writes a cache for builds like it"
    )]
    Foreign {
        /// The cache.
        subject: String,
        /// How many records it has.
        records: usize,
    },
    /// A cache of another version.
    #[error("{subject} is of version {version}, which this version does not know")]
    Newer {
        /// The cache.
        subject: String,
        /// Its version.
        version: u32,
    },
    /// An image without a cache.
    #[error("{subject} is an image that carries no cache: build it with --cache-to type=inline")]
    NoInlineCache {
        /// Its name.
        subject: String,
    },
    /// Something else has that name.
    #[error("{subject} is no build cache")]
    NotACache {
        /// The name.
        subject: String,
    },
    /// A layout has no cache of that name.
    #[error("no cache called {tag} is in {}", .directory.display())]
    NoSuchCache {
        /// The layout.
        directory: PathBuf,
        /// The name.
        tag: String,
    },
    /// A file operation in a layout failed.
    #[error("cannot {action} {}", .path.display())]
    File {
        /// The operation, as a verb.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// A service of buckets failed.
    #[error("cannot {action} {object} in {bucket}")]
    Bucket {
        /// The operation, as a verb.
        action: &'static str,
        /// The object.
        object: String,
        /// The bucket.
        bucket: String,
        /// The reason.
        #[source]
        source: BucketFailure,
    },
    /// A blob is another one.
    #[error("blob {expected} has the digest {found}")]
    WrongBlob {
        /// Its name.
        expected: Digest,
        /// The digest of what came.
        found: Digest,
    },
    /// A cache takes too long to say what it has.
    #[error("{subject} has not said within {seconds} seconds what it has")]
    Slow {
        /// The cache.
        subject: String,
        /// The time for it.
        seconds: u64,
    },
    /// A registry takes and says nothing any more, while a cache is written to it.
    #[error("{registry} has taken nothing for {seconds} seconds{}", .said.as_ref().map(|said| format!(", and before: {said}")).unwrap_or_default())]
    Stuck {
        /// The registry.
        registry: String,
        /// The time that it had.
        seconds: u64,
        /// Why it was waited for last.
        said: Option<String>,
    },
    /// A worker ended without an answer.
    #[error("a worker of the cache ended without an answer")]
    Worker,
}

impl RemoteCacheError {
    /// Who has to act on the failure.
    #[must_use]
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Image(error) => error.class(),
            Self::Registry(error) => error.class(),
            Self::Manifest { .. }
            | Self::Json { .. }
            | Self::Description { .. }
            | Self::Foreign { .. }
            | Self::Newer { .. }
            | Self::NoInlineCache { .. }
            | Self::WrongBlob { .. }
            | Self::NotACache { .. }
            | Self::NoSuchCache { .. } => FailureClass::Input,
            Self::Bucket { source, .. } => source.class(),
            Self::File { .. } | Self::Slow { .. } | Self::Stuck { .. } => FailureClass::Environment,
            Self::Worker => FailureClass::Internal,
        }
    }

    /// The failure of `action` on `path`.
    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}
