//! The images that builds stand on, and the contexts and sources of ADD that are on the network, by digest or commit: the
//! content of a lock file, which makes a later build use the same ones whatever their tags lead to by then.
//!
//! The file is JSON in a fixed order, so that equal locks are equal bytes and a diff shows what moved.

use rbuild_oci::{Digest, ImageId, Reference};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// The form of lock file that this code writes and reads.
const VERSION: u32 = 1;

/// What a reference led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LockedImage {
    /// The manifest or index of a registry.
    Digest(Digest),
    /// An image that no registry is known to have, by its id.
    Image(ImageId),
}

/// What a remote source led to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LockedSource {
    /// A file of the web, by the digest of its bytes.
    Http(Digest),
    /// The commit of a repository.
    Git(String),
}

/// Images by their full names, and remote sources by their locations, without logins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageLock {
    version: u32,
    images: BTreeMap<String, LockedImage>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    sources: BTreeMap<String, LockedSource>,
}

/// A lock file that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// It is not JSON, or not what a lock file holds.
    #[error("it is not a lock file")]
    Document(#[source] serde_json::Error),
    /// It was written by a newer rbuild.
    #[error("its version is {found}, and {VERSION} is the newest that can be read")]
    Version {
        /// Its version.
        found: u32,
    },
}

/// An image or a remote source whose name leads elsewhere than a lock says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovedImage {
    /// Its name, short; a location.
    pub name: String,
    /// What is locked.
    pub from: String,
    /// What the name leads to now.
    pub to: String,
}

impl Default for ImageLock {
    fn default() -> Self {
        Self { version: VERSION, images: BTreeMap::new(), sources: BTreeMap::new() }
    }
}

impl ImageLock {
    /// Reads a lock file.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn parse(text: &[u8]) -> Result<Self, LockError> {
        let lock: Self = serde_json::from_slice(text).map_err(LockError::Document)?;
        if lock.version == VERSION { Ok(lock) } else { Err(LockError::Version { found: lock.version }) }
    }

    /// The text of the lock file: the same for the same images.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("{}\n", serde_json::to_string_pretty(self).expect("all keys are texts"))
    }

    /// The image that is locked under `reference`.
    #[must_use]
    pub fn get(&self, reference: &Reference) -> Option<LockedImage> {
        self.images.get(&reference.to_string()).copied()
    }

    /// The images by their references.
    pub fn images(&self) -> impl Iterator<Item = (Reference, LockedImage)> + '_ {
        self.images.iter().filter_map(|(name, image)| Some((name.parse().ok()?, *image)))
    }

    /// The remote source that is locked under `location`.
    pub(crate) fn source(&self, location: &str) -> Option<LockedSource> {
        self.sources.get(location).cloned()
    }

    /// Takes over what `used` has, and returns which of its images and sources had been locked as others. What it does not name
    /// stays, because another Dockerfile or target may use them.
    pub fn update(&mut self, used: &Self) -> Vec<MovedImage> {
        let mut moved = Vec::new();
        for (name, to) in &used.images {
            let from = self.images.insert(name.clone(), *to);
            moved.extend(from.filter(|from| from != to).map(|from| MovedImage {
                name: name.parse::<Reference>().map_or_else(|_| name.clone(), |name| name.familiar()),
                from: from.to_string(),
                to: to.to_string(),
            }));
        }
        for (location, to) in &used.sources {
            let from = self.sources.insert(location.clone(), to.clone());
            moved.extend(from.filter(|from| from != to).map(|from| MovedImage {
                name: location.clone(),
                from: from.to_string(),
                to: to.to_string(),
            }));
        }
        moved
    }

    pub(crate) fn insert_source(&mut self, location: String, source: LockedSource) {
        self.sources.insert(location, source);
    }

    pub(crate) fn insert(&mut self, reference: &Reference, image: LockedImage) {
        self.images.insert(reference.to_string(), image);
    }
}

impl fmt::Display for LockedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(digest) => digest.fmt(f),
            Self::Git(commit) => write!(f, "commit {commit}"),
        }
    }
}

impl fmt::Display for LockedImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digest(digest) => digest.fmt(f),
            Self::Image(id) => write!(f, "image {id}"),
        }
    }
}

impl fmt::Display for MovedImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} moved from {} to {}", self.name, self.from, self.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(images: &[(&str, LockedImage)]) -> ImageLock {
        let mut lock = ImageLock::default();
        images.iter().for_each(|(name, image)| lock.insert(&name.parse().unwrap(), *image));
        lock
    }

    #[test]
    fn a_lock_file_is_the_same_whatever_the_order() {
        let (a, b) = (
            LockedImage::Digest(Digest::of(b"a")),
            LockedImage::Image(ImageId::from_digest(Digest::of(b"b"))),
        );
        let one = lock(&[("debian:12", a), ("r.example/x", b)]);
        assert_eq!(one.to_text(), lock(&[("r.example/x", b), ("debian:12", a)]).to_text());
        assert_eq!(ImageLock::parse(one.to_text().as_bytes()).unwrap(), one);
        let expected = format!(
            "{{\n  \"version\": 1,\n  \"images\": {{\n    \"docker.io/library/debian:12\": {{\n      \"digest\": \"{}\"\n    }},\n    \"r.example/x:latest\": {{\n      \"image\": \"{}\"\n    }}\n  }}\n}}\n",
            Digest::of(b"a"),
            Digest::of(b"b")
        );
        assert_eq!(one.to_text(), expected);
    }

    #[test]
    fn what_moved_is_told_and_what_is_not_used_stays() {
        let digest = |text: &[u8]| LockedImage::Digest(Digest::of(text));
        let mut old = lock(&[("a", digest(b"1")), ("b", digest(b"1")), ("c", digest(b"1"))]);
        let moved = old.update(&lock(&[("a", digest(b"2")), ("b", digest(b"1")), ("d", digest(b"1"))]));
        let expected = format!("a moved from {} to {}", Digest::of(b"1"), Digest::of(b"2"));
        assert_eq!(moved.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
        let now = lock(&[("a", digest(b"2")), ("b", digest(b"1")), ("c", digest(b"1")), ("d", digest(b"1"))]);
        assert_eq!(old, now);
    }

    #[test]
    fn sources_are_locked_beside_images() {
        let locked = |content: &[u8]| {
            let mut lock = lock(&[("a", LockedImage::Digest(Digest::of(b"1")))]);
            lock.insert_source("https://x.example/f".to_owned(), LockedSource::Http(Digest::of(content)));
            lock
        };
        let mut old = locked(b"1");
        let text = old.to_text();
        let written = format!(
            "\"sources\": {{\n    \"https://x.example/f\": {{\n      \"http\": \"{}\"\n",
            Digest::of(b"1")
        );
        assert!(text.contains(&written), "{text}");
        assert_eq!(ImageLock::parse(text.as_bytes()).unwrap(), old);
        let expected = format!("https://x.example/f moved from {} to {}", Digest::of(b"1"), Digest::of(b"2"));
        assert_eq!(old.update(&locked(b"2")).iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
        assert_eq!(old, locked(b"2"));
    }

    #[test]
    fn other_files_are_refused() {
        for text in [
            "",
            "{}",
            "[]",
            "{\"version\":1,\"images\":{\"a\":{\"digest\":\"x\"}}}",
            "{\"version\":1,\"images\":{},\"x\":1}",
        ] {
            assert!(matches!(ImageLock::parse(text.as_bytes()), Err(LockError::Document(_))), "{text}");
        }
        let newer = ImageLock::parse(b"{\"version\":2,\"images\":{}}");
        assert!(matches!(newer, Err(LockError::Version { found: 2 })));
    }
}
