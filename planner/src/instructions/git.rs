//! Git sources of ADD: which URLs they are, and whether what they ask for makes sense. Fetching is the executor's.

use crate::SourceError;
use crate::lints::parse_bool;

/// A Git source, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitSource {
    /// The repository's address, without query and fragment.
    pub remote: String,
    /// The branch, tag or commit; the remote's own choice without one.
    pub reference: Option<String>,
    /// The directory in it that is meant; the whole without one.
    pub subdirectory: Option<String>,
    /// The commit it must be.
    pub checksum: Option<String>,
    /// True if `.git` is kept.
    pub keep_git_dir: Option<bool>,
    /// The repositories inside of it.
    pub submodules: Submodules,
    /// The times of its files.
    pub times: GitTimes,
}

/// The repositories inside of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Submodules {
    /// They are fetched too.
    Fetched,
    /// Their directories stay empty.
    LeftOut,
}

/// The times of files that come from a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GitTimes {
    /// That of their being written here.
    Checkout,
    /// That of the commit.
    Commit,
}

/// True if ADD reads `source` as a repository. `github.com/…` without a scheme is a local path.
pub(super) fn is_git(source: &str) -> bool {
    if ["git@", "ssh://", "git://"].iter().any(|scheme| source.starts_with(scheme)) {
        return true;
    }
    let web = source.starts_with("http://") || source.starts_with("https://");
    let path = source.split(['?', '#']).next().unwrap_or("");
    web && path.ends_with(".git")
}

impl GitSource {
    /// Reads `URL[?query][#ref[:subdir]]`.
    ///
    /// # Errors
    /// [`SourceError`] for a query that is unknown, or contradicts itself or the fragment.
    pub fn parse(url: &str) -> Result<Self, SourceError> {
        let (rest, fragment) = url.split_once('#').unwrap_or((url, ""));
        let (remote, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut source = Self {
            remote: remote.to_owned(),
            reference: None,
            subdirectory: None,
            checksum: None,
            keep_git_dir: None,
            submodules: Submodules::Fetched,
            times: GitTimes::Checkout,
        };
        let mut named = Named::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            source.take(key, value, &mut named)?;
        }
        if named.branch.is_some() && named.tag.is_some() {
            return Err(SourceError::BranchAndTag);
        }
        let (reference, subdirectory) = fragment.split_once(':').unwrap_or((fragment, ""));
        let asked = named.reference.or(named.tag).or(named.branch);
        if let Some((a, b)) = conflict(asked, reference) {
            return Err(SourceError::RefConflict(a, b));
        }
        if let Some((a, b)) = conflict(named.subdirectory, subdirectory) {
            return Err(SourceError::SubdirConflict(a, b));
        }
        let full = |prefix: &str, name: Option<&str>| name.map(|name| format!("{prefix}{name}"));
        let exact = full("refs/tags/", named.tag).or(full("refs/heads/", named.branch));
        let plain = named.reference.unwrap_or(reference);
        source.reference = exact.or_else(|| (!plain.is_empty()).then(|| plain.to_owned()));
        let subdirectory = named.subdirectory.unwrap_or(subdirectory).trim_matches('/');
        source.subdirectory = Some(subdirectory.to_owned()).filter(|text| !text.is_empty() && text != ".");
        Ok(source)
    }

    /// Takes one part of the query.
    fn take<'t>(&mut self, key: &str, value: &'t str, named: &mut Named<'t>) -> Result<(), SourceError> {
        let bad = || SourceError::QueryValue { key: key.to_owned(), value: value.to_owned() };
        let flag = || if value.is_empty() { Ok(true) } else { parse_bool(value).ok_or_else(bad) };
        match key {
            "ref" => named.reference = Some(value),
            "tag" => named.tag = Some(value),
            "branch" => named.branch = Some(value),
            "subdir" => named.subdirectory = Some(value),
            "checksum" | "commit" => self.checksum = Some(value.to_owned()),
            "keep-git-dir" => self.keep_git_dir = Some(flag()?),
            "submodules" if flag()? => self.submodules = Submodules::Fetched,
            "submodules" => self.submodules = Submodules::LeftOut,
            // a commit is fetched by its number, and with its branch where a server refuses that
            "fetch-by-commit" => drop(flag()?),
            "mtime" if value == "checkout" => self.times = GitTimes::Checkout,
            "mtime" if value == "commit" => self.times = GitTimes::Commit,
            "mtime" => return Err(bad()),
            other => return Err(SourceError::Query(other.to_owned())),
        }
        Ok(())
    }
}

/// What a query names.
#[derive(Default)]
struct Named<'t> {
    reference: Option<&'t str>,
    tag: Option<&'t str>,
    branch: Option<&'t str>,
    subdirectory: Option<&'t str>,
}

fn conflict(query: Option<&str>, fragment: &str) -> Option<(String, String)> {
    let query = query?;
    (!fragment.is_empty() && query != fragment).then(|| (query.to_owned(), fragment.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_told_from_files() {
        for git in ["git@h:a/b", "ssh://h/a", "git://h/a", "https://h/a.git", "https://h/a.git#v1:d"] {
            assert!(is_git(git), "{git}");
        }
        for other in ["https://h/a.tgz", "github.com/a/b", "a.git", "https://h/a?x=.git"] {
            assert!(!is_git(other), "{other}");
        }
    }

    #[test]
    fn queries_are_checked() {
        let error = |url: &str| GitSource::parse(url).unwrap_err().to_string();
        assert_eq!(error("https://h/a.git?x=1"), "unexpected query \"x\"");
        assert_eq!(error("https://h/a.git?ref=a#b"), "ref conflicts: \"a\" vs \"b\"");
        assert_eq!(error("https://h/a.git?branch=a&tag=b"), "branch conflicts with tag");
        let source = GitSource::parse("https://h/a.git?keep-git-dir=1&commit=abc").unwrap();
        assert_eq!((source.checksum.as_deref(), source.keep_git_dir), (Some("abc"), Some(true)));
    }

    #[test]
    fn sources_are_taken_apart() {
        for (url, remote, reference, subdirectory) in [
            ("https://h/a.git", "https://h/a.git", None, None),
            ("https://h/a.git#v1:d/e/", "https://h/a.git", Some("v1"), Some("d/e")),
            ("https://h/a.git#:d", "https://h/a.git", None, Some("d")),
            ("git@h:a/b#x", "git@h:a/b", Some("x"), None),
            ("https://h/a.git?tag=v1&subdir=d", "https://h/a.git", Some("refs/tags/v1"), Some("d")),
            ("https://h/a.git?branch=b#b", "https://h/a.git", Some("refs/heads/b"), None),
            ("https://h/a.git?ref=refs/x", "https://h/a.git", Some("refs/x"), None),
        ] {
            let source = GitSource::parse(url).unwrap();
            let found = (source.remote.as_str(), source.reference.as_deref(), source.subdirectory.as_deref());
            assert_eq!(found, (remote, reference, subdirectory), "{url}");
        }
        let source = GitSource::parse("git://h/a?submodules=0&mtime=commit").unwrap();
        assert_eq!((source.submodules, source.times), (Submodules::LeftOut, GitTimes::Commit));
    }
}
