//! Looking up both ends of a copy.

use super::{CopyError, CopyPath, CopySource, error::shown, source::is_directory};
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, fstat, openat2, readlinkat, statat},
    io::Errno,
};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// As many as the kernel follows.
const MOST_LINKS: usize = 40;

/// Bytes of a path that the kernel takes at once (PATH_MAX, without its NUL), and those that it is given of a longer one.
const LONGEST: usize = 4095;
const STRETCH: usize = 2048;

/// The root of a container, or of the host.
#[derive(Debug)]
pub struct CopyRoot {
    root: OwnedFd,
    place: String,
}

/// Treatment of a link that is the last component of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastLink {
    /// It is copied.
    Kept,
    /// What it leads to is copied (`--follow-link`).
    Followed,
}

/// Where files are to be copied to.
#[derive(Debug)]
pub enum CopyDestination {
    /// Into a directory that is there.
    Directory(OwnedFd),
    /// To a file that is there: the directory it is in, and its name.
    File(OwnedFd, Vec<u8>),
    /// To a name that is free in a directory.
    New(OwnedFd, Vec<u8>),
}

impl CopyRoot {
    /// Makes a directory a root; `container` names it in errors.
    #[must_use]
    pub fn new(root: OwnedFd, container: Option<&str>) -> Self {
        let place = container.map(|name| format!(" in container {name}")).unwrap_or_default();
        Self { root, place }
    }

    /// The file or directory at `path`.
    ///
    /// # Errors
    /// [`CopyError::Missing`], [`CopyError::NotADirectory`].
    pub fn source(&self, path: &CopyPath, last: LastLink) -> Result<CopySource, CopyError> {
        let follows = path.is_directory() || last == LastLink::Followed;
        let flags = OFlags::PATH | if follows { OFlags::empty() } else { OFlags::NOFOLLOW };
        let node = self.open(path.relative(), flags).map_err(|errno| self.unfound(path, errno))?;
        let stat = fstat(&node).map_err(|errno| CopyError::io("stat", path.as_bytes(), errno))?;
        if path.is_directory() && !is_directory(&stat) {
            return Err(CopyError::NotADirectory { path: shown(path.as_bytes()) });
        }
        Ok(CopySource::new(node, stat, path.clone()))
    }

    /// What is at `path`, or could be; links are followed, also one that leads to nothing yet.
    ///
    /// # Errors
    /// [`CopyError::Missing`] when there is not even the directory above.
    pub fn destination(&self, path: &CopyPath) -> Result<CopyDestination, CopyError> {
        let mut at = path.clone();
        for _ in 0..MOST_LINKS {
            if at.name().is_empty() {
                return Ok(CopyDestination::Directory(self.directory(at.relative(), path)?));
            }
            let parent = self.directory(at.parent(), &at)?;
            let name = at.name().to_vec();
            match statat(&parent, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if is_directory(&stat) => {
                    return Ok(CopyDestination::Directory(self.directory(at.relative(), path)?));
                }
                Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
                    let target = readlinkat(&parent, name.as_slice(), Vec::new());
                    let target = target.map_err(|errno| CopyError::io("readlink", at.as_bytes(), errno))?;
                    at = at.through(target.to_bytes());
                }
                Ok(_) => return Ok(CopyDestination::File(parent, name)),
                Err(Errno::NOENT) => return Ok(CopyDestination::New(parent, name)),
                Err(errno) => return Err(CopyError::io("stat", at.as_bytes(), errno)),
            }
        }
        Err(CopyError::TooManyLinks { path: shown(path.as_bytes()) })
    }

    fn directory(&self, path: &[u8], asked: &CopyPath) -> Result<OwnedFd, CopyError> {
        self.open(path, OFlags::PATH | OFlags::DIRECTORY).map_err(|errno| match errno {
            Errno::NOENT | Errno::NOTDIR => {
                let parent = CopyPath::new(asked.parent());
                CopyError::Missing { path: shown(parent.as_bytes()), place: self.place.clone() }
            }
            errno => CopyError::io("open", asked.as_bytes(), errno),
        })
    }

    fn open(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        open_beneath(self.root.as_fd(), path, flags, ResolveFlags::IN_ROOT)
    }

    fn unfound(&self, path: &CopyPath, errno: Errno) -> CopyError {
        match errno {
            Errno::NOENT | Errno::NOTDIR => {
                CopyError::Missing { path: shown(path.as_bytes()), place: self.place.clone() }
            }
            errno => CopyError::io("open", path.as_bytes(), errno),
        }
    }
}

/// Opens `path` below `root`, and nothing through the links of `/proc`. A rename that races with it is tried again. What is longer
/// than the kernel takes at once leads through no link.
pub(super) fn open_beneath(
    root: BorrowedFd<'_>,
    path: &[u8],
    flags: OFlags,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    if path.len() <= LONGEST {
        return open_stretch(root, path, flags, resolve);
    }
    let without_links = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let (mut at, mut rest): (Option<OwnedFd>, _) = (None, path);
    while rest.len() > STRETCH {
        let slash = rest[..STRETCH].iter().rposition(|byte| *byte == b'/').ok_or(Errno::NAMETOOLONG)?;
        let from = at.as_ref().map_or(root, AsFd::as_fd);
        at = Some(open_stretch(from, &rest[..slash], OFlags::PATH | OFlags::DIRECTORY, without_links)?);
        rest = &rest[slash + 1..];
    }
    open_stretch(at.as_ref().map_or(root, AsFd::as_fd), rest, flags, without_links)
}

fn open_stretch(
    root: BorrowedFd<'_>,
    path: &[u8],
    flags: OFlags,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    const ATTEMPTS: usize = 128;
    let resolve = resolve | ResolveFlags::NO_MAGICLINKS;
    for _ in 1..ATTEMPTS {
        match openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            answer => return answer,
        }
    }
    openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
}
