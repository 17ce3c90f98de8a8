//! Paths inside a root filesystem, kept apart from host paths by type.

use crate::ParseError;
use std::{fmt, path::Path, str::FromStr};

/// An absolute, lexically clean path inside a root filesystem; never a host path. `/` is the root.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImagePath(String);

impl ImagePath {
    /// The root directory.
    #[must_use]
    pub fn root() -> Self {
        Self("/".to_owned())
    }

    /// The path that `path` names in this directory. An absolute path replaces the directory; `.` and `..` are resolved
    /// lexically and stop at the root.
    #[must_use]
    pub fn join(&self, path: &str) -> Self {
        let base = if path.starts_with('/') { "" } else { self.0.as_str() };
        let mut parts: Vec<&str> = Vec::new();
        for part in base.split('/').chain(path.split('/')) {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop()),
                name => parts.push(name),
            }
        }
        Self(format!("/{}", parts.join("/")))
    }

    /// The path as text, with its leading slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path without its leading slash, `.` for the root, as the `*at` system calls take it.
    #[must_use]
    pub fn relative(&self) -> &Path {
        Path::new(if self.0 == "/" { "." } else { &self.0[1..] })
    }

    /// The directory that contains this path; `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let (dir, name) = self.0.rsplit_once('/')?;
        (!name.is_empty()).then(|| Self(if dir.is_empty() { "/".to_owned() } else { dir.to_owned() }))
    }

    /// The last component; `None` for the root.
    #[must_use]
    pub fn file_name(&self) -> Option<&str> {
        self.0.rsplit_once('/').map(|(_, name)| name).filter(|name| !name.is_empty())
    }

    /// True if this is the root directory.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0 == "/"
    }
}

impl fmt::Display for ImagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ImagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl FromStr for ImagePath {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text.starts_with('/') {
            Ok(Self::root().join(text))
        } else {
            Err(ParseError::ImagePath(text.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn join_is_lexical_and_stops_at_the_root() {
        let app: ImagePath = "/srv//app/./x/..".parse().unwrap();
        assert_eq!(app.as_str(), "/srv/app");
        assert_eq!(app.join("../../../etc").as_str(), "/etc");
        assert_eq!(app.join("/").as_str(), "/");
        assert_eq!(app.parent().unwrap().as_str(), "/srv");
        assert_eq!(ImagePath::root().parent(), None);
        assert_eq!(app.file_name(), Some("app"));
    }
}
