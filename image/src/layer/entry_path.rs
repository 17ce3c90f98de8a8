//! Names of tar entries as paths beneath the layer's root, as docker reads them: a slash at the beginning means the layer's
//! root, `..` takes back the part before it, and what tools of old put under `.wh..wh.` means nothing.

use super::whiteout::{MARK_PREFIX, OPAQUE_NAME, WHITEOUT_PREFIX};
use crate::error::EntryProblem;

/// A clean relative path: components joined by single slashes; empty for the root.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct EntryPath(Vec<u8>);

/// The meaning of an entry's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// That this path is there.
    Present(EntryPath),
    /// That this path is gone from the layers below.
    Gone(EntryPath),
    /// That this directory hides everything below it.
    Opaque(EntryPath),
    /// Nothing: it is a mark that the tool which wrote it left for itself.
    Nothing,
}

impl EntryPath {
    /// Cleans `name`, which may begin with `./` or `/` and end in a slash. `..` may not lead above the root.
    pub(crate) fn clean(name: &[u8]) -> Result<Self, EntryProblem> {
        let mut path = Self(Vec::with_capacity(name.len()));
        for part in parts(name) {
            match part {
                b".." if path.is_root() => return Err(EntryProblem::Outside),
                b".." => path.pop(),
                part => path.push(part),
            }
        }
        Ok(path)
    }

    pub(crate) fn root() -> Self {
        Self(Vec::new())
    }

    /// Adds a component.
    pub(crate) fn push(&mut self, name: &[u8]) {
        if !self.0.is_empty() {
            self.0.push(b'/');
        }
        self.0.extend_from_slice(name);
    }

    /// Takes the last component away; the root stays the root.
    pub(crate) fn pop(&mut self) {
        self.0.truncate(self.0.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
    }

    /// The path of `name` in this directory.
    pub(crate) fn join(&self, name: &[u8]) -> Self {
        let mut path = Self(Vec::with_capacity(self.0.len() + 1 + name.len()));
        path.0.extend_from_slice(&self.0);
        path.push(name);
        path
    }

    /// The path's bytes; empty for the root.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Directory and last component; the root has neither.
    pub(crate) fn split(&self) -> (Self, &[u8]) {
        match self.0.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (Self(self.0[..slash].to_vec()), &self.0[slash + 1..]),
            None => (Self::root(), &self.0),
        }
    }

    /// Every directory on the way, the root first, this path last.
    pub(crate) fn ancestry(&self) -> impl Iterator<Item = &[u8]> {
        let inner = (0..self.0.len()).filter(|at| self.0[*at] == b'/').map(|at| &self.0[..at]);
        let last = (!self.0.is_empty()).then_some(&self.0[..]);
        std::iter::once(&b""[..]).chain(inner).chain(last)
    }
}

impl AsRef<[u8]> for EntryPath {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl Meaning {
    /// Reads an entry's name.
    pub(crate) fn of(name: &[u8]) -> Result<Self, EntryProblem> {
        let path = EntryPath::clean(name)?;
        if !path.as_bytes().windows(WHITEOUT_PREFIX.len()).any(|window| window == WHITEOUT_PREFIX) {
            return Ok(Self::Present(path));
        }
        let (parent, base) = path.split();
        if base == OPAQUE_NAME && !is_mark(&parent) {
            return Ok(Self::Opaque(parent));
        }
        if is_mark(&path) {
            return Ok(Self::Nothing);
        }
        if parent.0.split(|byte| *byte == b'/').any(|part| part.starts_with(WHITEOUT_PREFIX)) {
            return Err(EntryProblem::Reserved);
        }
        let Some(target) = base.strip_prefix(WHITEOUT_PREFIX) else { return Ok(Self::Present(path)) };
        if matches!(target, b"" | b"." | b"..") {
            return Err(EntryProblem::Reserved);
        }
        Ok(Self::Gone(parent.join(target)))
    }
}

/// The components of a path as it is written.
pub(crate) fn parts(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"."))
}

/// True if a part of the path begins with the prefix of aufs marks.
fn is_mark(path: &EntryPath) -> bool {
    parts(&path.0).any(|part| part.starts_with(MARK_PREFIX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_meanings() {
        let path = |text: &str| EntryPath(text.as_bytes().to_vec());
        for (name, meaning) in [
            ("./", Meaning::Present(path(""))),
            ("./a//b/", Meaning::Present(path("a/b"))),
            ("a/.wh.b", Meaning::Gone(path("a/b"))),
            (".wh.b", Meaning::Gone(path("b"))),
            ("a/.wh..wh..opq", Meaning::Opaque(path("a"))),
            ("a.wh.b", Meaning::Present(path("a.wh.b"))),
            (".wh.....", Meaning::Gone(path("...."))),
            ("/etc/passwd", Meaning::Present(path("etc/passwd"))),
            ("a/../b", Meaning::Present(path("b"))),
            ("/", Meaning::Present(path(""))),
            (".wh..wh.plnk", Meaning::Nothing),
            ("a/.wh..wh.plnk/1.2", Meaning::Nothing),
            (".wh..wh.aufs", Meaning::Nothing),
            (".wh..wh.orph/.wh..wh..opq", Meaning::Nothing),
        ] {
            assert_eq!(Meaning::of(name.as_bytes()), Ok(meaning), "{name}");
        }
        for (name, problem) in [
            ("a/../../b", EntryProblem::Outside),
            ("/../b", EntryProblem::Outside),
            ("..", EntryProblem::Outside),
            (".wh..", EntryProblem::Reserved),
            (".wh...", EntryProblem::Reserved),
            (".wh.", EntryProblem::Reserved),
            (".wh.a/b", EntryProblem::Reserved),
        ] {
            assert_eq!(Meaning::of(name.as_bytes()), Err(problem), "{name}");
        }
    }
}
