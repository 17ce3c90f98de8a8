//! Paths as people type them: a slash at the end means a directory, `/.` what is in it.

/// A path from a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyPath {
    /// Clean: a slash, and components with single slashes between.
    path: Vec<u8>,
    is_directory: bool,
    is_content: bool,
}

impl CopyPath {
    /// Reads a path; one that is not absolute begins at the root. `..` takes back the part before it, as text.
    #[must_use]
    pub fn new(text: &[u8]) -> Self {
        let mut parts: Vec<&[u8]> = Vec::new();
        for part in text.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        let path = [b"/", parts.join(&b'/').as_slice()].concat();
        let is_content = text == b"." || text.ends_with(b"/.") || parts.is_empty();
        Self { path, is_content, is_directory: is_content || text.ends_with(b"/") }
    }

    /// True if it must be that of a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.is_directory
    }

    /// True if it stands for what is in a directory, and not for the directory itself.
    #[must_use]
    pub fn is_content(&self) -> bool {
        self.is_content
    }

    /// The clean path.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.path
    }

    /// The path `rest` with the same end.
    #[must_use]
    pub fn within(&self, rest: &[u8]) -> Self {
        Self { is_directory: self.is_directory, is_content: self.is_content, ..Self::new(rest) }
    }

    /// The last component; empty for the root.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        let slash = self.path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        &self.path[slash + 1..]
    }

    /// The path of the directory that the last component is in, relative to the root.
    pub(super) fn parent(&self) -> &[u8] {
        let slash = self.path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        if slash == 0 { b"." } else { &self.path[1..slash] }
    }

    /// The whole path, relative to the root.
    pub(super) fn relative(&self) -> &[u8] {
        if self.path.len() == 1 { b"." } else { &self.path[1..] }
    }

    /// The path where a link leads that is the last component of this one.
    pub(super) fn through(&self, target: &[u8]) -> Self {
        let path = if target.starts_with(b"/") {
            target.to_vec()
        } else {
            [b"/", self.parent(), b"/", target].concat()
        };
        Self { is_directory: self.is_directory, ..Self::new(&path) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_paths_have_a_meaning() {
        for (text, path, is_directory, is_content) in [
            ("a/b", "/a/b", false, false),
            ("/a/b/", "/a/b", true, false),
            ("/a/b/.", "/a/b", true, true),
            ("a/../../b", "/b", false, false),
            ("/", "/", true, true),
            (".", "/", true, true),
            ("a/..", "/", true, true),
            ("//a//./b", "/a/b", false, false),
        ] {
            let read = CopyPath::new(text.as_bytes());
            let found = (String::from_utf8_lossy(read.as_bytes()), read.is_directory(), read.is_content());
            assert_eq!(found, (path.into(), is_directory, is_content), "{text}");
        }
        let link = CopyPath::new(b"/a/link");
        assert_eq!(link.through(b"../c").as_bytes(), b"/c");
        assert_eq!(link.through(b"/d/e").as_bytes(), b"/d/e");
        assert_eq!((link.parent(), link.name(), link.relative()), (&b"a"[..], &b"link"[..], &b"a/link"[..]));
    }
}
