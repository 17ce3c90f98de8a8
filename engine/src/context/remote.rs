//! Contexts on the network: what a text names, and that rbuild does not fetch them yet.
//!
//! A context has an identity before it has files (a commit, an entity tag), so that a build whose steps are all in the
//! cache fetches nothing; see `docs/decisions/0010-identity-before-files.md`.

use crate::{Error, RemoteContext};
use std::fmt;

/// Prefixes that docker takes for places on the network; a directory of that name does not change it.
const SCHEMES: [&str; 4] = ["git://", "ssh://", "git@", "github.com/"];

impl RemoteContext {
    /// The place that `text` names as docker's clients read it; `None` when it is a path.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if SCHEMES.iter().any(|scheme| text.starts_with(scheme)) {
            return Some(Self::Git(text.to_owned()));
        }
        if !text.starts_with("http://") && !text.starts_with("https://") {
            return None;
        }
        let (url, _) = text.split_once('#').unwrap_or((text, ""));
        let is_repository = url.ends_with(".git");
        Some(if is_repository { Self::Git(text.to_owned()) } else { Self::Http(text.to_owned()) })
    }

    /// Refuses the place, which cannot be fetched yet.
    ///
    /// # Errors
    /// [`Error::Unsupported`], always.
    pub(super) fn identify<T>(&self) -> Result<T, Error> {
        Err(Error::Unsupported { what: format!("a URL as build context ({self})") })
    }
}

impl fmt::Display for RemoteContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Git(place) | Self::Http(place) => f.write_str(place),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_as_docker_reads_them() {
        let git = |text: &str| Some(RemoteContext::Git(text.to_owned()));
        let http = |text: &str| Some(RemoteContext::Http(text.to_owned()));
        for (text, expected) in [
            ("https://example.org/a.git", git("https://example.org/a.git")),
            ("https://example.org/a.git#main:sub", git("https://example.org/a.git#main:sub")),
            ("git://example.org/a", git("git://example.org/a")),
            ("git@example.org:a", git("git@example.org:a")),
            ("ssh://example.org/a", git("ssh://example.org/a")),
            ("github.com/a/b", git("github.com/a/b")),
            ("https://example.org/a.tar", http("https://example.org/a.tar")),
            ("http://example.org/Dockerfile", http("http://example.org/Dockerfile")),
            ("./github.com/a", None),
            ("httpd", None),
            ("/srv/a.git", None),
        ] {
            assert_eq!(RemoteContext::parse(text), expected, "{text}");
        }
    }
}
