//! Names of tar entries as paths beneath the layer's root: no `..`, not absolute, no reserved names.

use super::whiteout::{OPAQUE_NAME, WHITEOUT_PREFIX};
use crate::error::EntryProblem;

/// A clean relative path: components joined by single slashes; empty for the root.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct EntryPath(Vec<u8>);

/// What an entry's name asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// That this path is there.
    Present(EntryPath),
    /// That this path is gone from the layers below.
    Gone(EntryPath),
    /// That this directory hides everything below it.
    Opaque(EntryPath),
}

impl EntryPath {
    /// Cleans `name`, which may begin with `./` and end in a slash.
    pub(crate) fn clean(name: &[u8]) -> Result<Self, EntryProblem> {
        if name.starts_with(b"/") {
            return Err(EntryProblem::Absolute);
        }
        let mut path = Vec::with_capacity(name.len());
        for part in name.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => continue,
                b".." => return Err(EntryProblem::ParentReference),
                _ => {}
            }
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(part);
        }
        Ok(Self(path))
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
            None => (Self(Vec::new()), &self.0),
        }
    }

    /// Every directory on the way, the root first, this path last.
    pub(crate) fn ancestry(&self) -> impl Iterator<Item = &[u8]> {
        let inner = (0..self.0.len()).filter(|at| self.0[*at] == b'/').map(|at| &self.0[..at]);
        let last = (!self.0.is_empty()).then_some(&self.0[..]);
        std::iter::once(&b""[..]).chain(inner).chain(last)
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
        if parent.0.split(|byte| *byte == b'/').any(|part| part.starts_with(WHITEOUT_PREFIX)) {
            return Err(EntryProblem::Reserved);
        }
        if base == OPAQUE_NAME {
            return Ok(Self::Opaque(parent));
        }
        let Some(target) = base.strip_prefix(WHITEOUT_PREFIX) else { return Ok(Self::Present(path)) };
        if matches!(target, b"" | b"." | b"..") || target.starts_with(WHITEOUT_PREFIX) {
            return Err(EntryProblem::Reserved);
        }
        let slash: &[u8] = if parent.is_root() { b"" } else { b"/" };
        Ok(Self::Gone(EntryPath([&parent.0, slash, target].concat())))
    }
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
        ] {
            assert_eq!(Meaning::of(name.as_bytes()), Ok(meaning), "{name}");
        }
        for (name, problem) in [
            ("/etc/passwd", EntryProblem::Absolute),
            ("a/../../b", EntryProblem::ParentReference),
            ("..", EntryProblem::ParentReference),
            (".wh..", EntryProblem::Reserved),
            (".wh...", EntryProblem::Reserved),
            (".wh.", EntryProblem::Reserved),
            (".wh..wh.plnk", EntryProblem::Reserved),
            (".wh.a/b", EntryProblem::Reserved),
        ] {
            assert_eq!(Meaning::of(name.as_bytes()), Err(problem), "{name}");
        }
    }
}
