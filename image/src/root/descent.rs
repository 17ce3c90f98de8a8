//! The way down a directory tree and up again, beneath descriptors and through no link. A tree may be deeper than descriptors
//! or the stack allow: the directories far above are closed, and opened again from below.

use rustix::{
    fs::{Mode, OFlags, ResolveFlags, fstat, openat, openat2},
    io::Errno,
};
use std::{ffi::CStr, os::fd::OwnedFd};

/// Directories above the one at hand that stay open, besides the top.
const KEPT_OPEN: usize = 32;
/// Bytes of a path that are given to the kernel at once, which takes 4095 (PATH_MAX).
const STRETCH: usize = 2048;

/// The directories that lead to the one at hand.
pub(super) struct Descent {
    above: Vec<Step>,
    here: OwnedFd,
    identity: Identity,
}

struct Step {
    open: Option<OwnedFd>,
    identity: Identity,
}

/// What a directory that was closed is known by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Identity {
    /// It cannot have moved: nothing else writes to the tree. Overlays may number their directories anew.
    Still,
    /// Device and number.
    Numbers(u64, u64),
}

impl Descent {
    /// At the top of the files of an image, which do not change.
    pub(super) fn of_image(top: OwnedFd) -> Self {
        Self { above: Vec::new(), here: top, identity: Identity::Still }
    }

    /// At the top of a directory of the host, where other programs may move directories meanwhile.
    pub(super) fn of_host(top: OwnedFd) -> Result<Self, Errno> {
        let identity = numbers(&top)?;
        Ok(Self { above: Vec::new(), here: top, identity })
    }

    /// The directory at hand.
    pub(super) fn here(&self) -> &OwnedFd {
        &self.here
    }

    /// Goes into the directory `name`, which may be no link.
    pub(super) fn enter(&mut self, name: &CStr) -> Result<(), Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let inner = openat(&self.here, name, flags, Mode::empty())?;
        let identity = self.identity_of(&inner)?;
        let open = Some(std::mem::replace(&mut self.here, inner));
        self.above.push(Step { open, identity: std::mem::replace(&mut self.identity, identity) });
        if let Some(far) = self.above.len().checked_sub(KEPT_OPEN).filter(|far| *far > 0) {
            self.above[far].open = None;
        }
        Ok(())
    }

    /// Goes back to the directory above, and returns the one that was left. At the top it fails.
    pub(super) fn leave(&mut self) -> Result<OwnedFd, Errno> {
        let step = self.above.pop().ok_or(Errno::NOENT)?;
        let parent = match step.open {
            Some(open) => open,
            None => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                openat(&self.here, c"..", flags, Mode::empty())?
            }
        };
        if self.identity_of(&parent)? != step.identity {
            return Err(Errno::STALE);
        }
        self.identity = step.identity;
        Ok(std::mem::replace(&mut self.here, parent))
    }

    fn identity_of(&self, directory: &OwnedFd) -> Result<Identity, Errno> {
        match self.identity {
            Identity::Still => Ok(Identity::Still),
            Identity::Numbers(..) => numbers(directory),
        }
    }
}

fn numbers(directory: &OwnedFd) -> Result<Identity, Errno> {
    fstat(directory).map(|stat| Identity::Numbers(stat.st_dev, stat.st_ino))
}

/// Opens the directory `path` beneath `top` for `*at` calls, however long the path is.
pub(super) fn open_beneath(top: &OwnedFd, path: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let open = |from: &OwnedFd, path: &[u8]| openat2(from, path, flags, Mode::empty(), resolve);
    let (mut at, mut rest) = (None, path);
    while rest.len() > STRETCH {
        let slash = rest[..STRETCH].iter().rposition(|byte| *byte == b'/').ok_or(Errno::NAMETOOLONG)?;
        at = Some(open(at.as_ref().unwrap_or(top), &rest[..slash])?);
        rest = &rest[slash + 1..];
    }
    open(at.as_ref().unwrap_or(top), rest)
}
