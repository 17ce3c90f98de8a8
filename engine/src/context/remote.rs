//! Contexts on the network: what a text names, and what it led to.

use crate::urls;
use rbuild_oci::Digest;
use std::fmt;

/// Prefixes that docker takes for places on the network; a directory of that name does not change it.
const SCHEMES: [&str; 4] = ["git://", "ssh://", "git@", "github.com/"];

/// A build context on the network.
#[derive(Clone, Debug)]
pub struct RemoteContext {
    pub(super) place: RemotePlace,
    /// What it led to, once [`crate::Engine::open_contexts`] has looked.
    pub(super) pin: Option<ContextPin>,
}

/// What a context on the network led to.
#[derive(Clone, Debug)]
pub(super) enum ContextPin {
    /// A commit, by its number in full.
    Commit(String),
    /// A file of the web.
    File(PinnedFile),
}

/// A file of the web whose bytes are in the store.
#[derive(Clone, Debug)]
pub(crate) struct PinnedFile {
    pub(crate) name: Vec<u8>,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    /// In seconds since 1970.
    pub(crate) modified: i64,
}

/// The address of a context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RemotePlace {
    /// A Git repository, as `URL#REF:SUBDIRECTORY`.
    Git(String),
    /// An archive or a Dockerfile at a URL.
    Http(String),
}

impl RemoteContext {
    /// The place that `text` names as docker's clients read it; `None` when it is a path.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let found = |place| Some(Self { place, pin: None });
        if SCHEMES.iter().any(|scheme| text.starts_with(scheme)) {
            return found(RemotePlace::Git(text.to_owned()));
        }
        if !text.starts_with("http://") && !text.starts_with("https://") {
            return None;
        }
        let url = text.split(['#', '?']).next().unwrap_or(text);
        let is_repository = url.ends_with(".git");
        let place = if is_repository { RemotePlace::Git } else { RemotePlace::Http };
        found(place(text.to_owned()))
    }
}

impl PartialEq for RemoteContext {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

impl Eq for RemoteContext {}

/// Without the password of a login.
impl fmt::Display for RemoteContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (RemotePlace::Git(place) | RemotePlace::Http(place)) = &self.place;
        f.write_str(&urls::without_login(place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_as_docker_reads_them() {
        let git = |text: &str| Some(RemotePlace::Git(text.to_owned()));
        let http = |text: &str| Some(RemotePlace::Http(text.to_owned()));
        for (text, expected) in [
            ("https://example.org/a.git", git("https://example.org/a.git")),
            ("https://example.org/a.git#main:sub", git("https://example.org/a.git#main:sub")),
            ("https://example.org/a.git?ref=main", git("https://example.org/a.git?ref=main")),
            ("git://example.org/a", git("git://example.org/a")),
            ("git@example.org:a", git("git@example.org:a")),
            ("ssh://example.org/a", git("ssh://example.org/a")),
            ("github.com/a/b", git("github.com/a/b")),
            ("https://example.org/a.tar", http("https://example.org/a.tar")),
            ("https://example.org/a?b=.git", http("https://example.org/a?b=.git")),
            ("http://example.org/Dockerfile", http("http://example.org/Dockerfile")),
            ("./github.com/a", None),
            ("httpd", None),
            ("/srv/a.git", None),
        ] {
            assert_eq!(RemoteContext::parse(text).map(|context| context.place), expected, "{text}");
        }
        let shown = RemoteContext::parse("https://me:secret@h/a.git#x").unwrap().to_string();
        assert_eq!(shown, "https://me:****@h/a.git#x");
    }
}
