//! Git sources of ADD: which URLs they are, and whether what they ask for makes sense. Fetching is the executor's.

use crate::SourceError;
use crate::lints::parse_bool;

/// The options in a Git URL, besides the commit and directory to fetch.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct GitSource {
    /// The commit it must be.
    pub(super) checksum: Option<String>,
    /// True if `.git` is kept.
    pub(super) keep_git_dir: Option<bool>,
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
    pub(super) fn parse(url: &str) -> Result<Self, SourceError> {
        let (rest, fragment) = url.split_once('#').map_or((url, None), |(rest, f)| (rest, Some(f)));
        let query = rest.split_once('?').map_or("", |(_, query)| query);
        let mut source = Self { checksum: None, keep_git_dir: None };
        let (mut reference, mut tag, mut branch, mut subdir) = (None, None, None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let flag = || {
                let bad = || SourceError::QueryValue { key: key.to_owned(), value: value.to_owned() };
                if value.is_empty() { Ok(true) } else { parse_bool(value).ok_or_else(bad) }
            };
            match key {
                "ref" => reference = Some(value),
                "tag" => tag = Some(value),
                "branch" => branch = Some(value),
                "subdir" => subdir = Some(value),
                "checksum" | "commit" => source.checksum = Some(value.to_owned()),
                "keep-git-dir" => source.keep_git_dir = Some(flag()?),
                "submodules" | "fetch-by-commit" => drop(flag()?),
                "mtime" if matches!(value, "checkout" | "commit") => {}
                "mtime" => {
                    let (key, value) = (key.to_owned(), value.to_owned());
                    return Err(SourceError::QueryValue { key, value });
                }
                other => return Err(SourceError::Query(other.to_owned())),
            }
        }
        if branch.is_some() && tag.is_some() {
            return Err(SourceError::BranchAndTag);
        }
        let (hash_ref, hash_subdir) = match fragment {
            None => (None, None),
            Some(fragment) => match fragment.split_once(':') {
                Some((reference, subdir)) => (Some(reference), Some(subdir)),
                None => (Some(fragment), None),
            },
        };
        let named = reference.or(tag).or(branch);
        if let Some((a, b)) = conflict(named, hash_ref) {
            return Err(SourceError::RefConflict(a, b));
        }
        if let Some((a, b)) = conflict(subdir, hash_subdir) {
            return Err(SourceError::SubdirConflict(a, b));
        }
        Ok(source)
    }
}

fn conflict(query: Option<&str>, fragment: Option<&str>) -> Option<(String, String)> {
    let (query, fragment) = (query?, fragment.filter(|text| !text.is_empty())?);
    (query != fragment).then(|| (query.to_owned(), fragment.to_owned()))
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
        assert_eq!(source, GitSource { checksum: Some("abc".to_owned()), keep_git_dir: Some(true) });
    }
}
