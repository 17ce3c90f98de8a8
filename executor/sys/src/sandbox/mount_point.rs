//! Files and directories made in a root to mount on, and their removal afterwards.
//!
//! Made through the root's descriptor while no process runs in it, so that none can swap a directory for a link
//! between two looks. Links in the image are followed inside the root, also those that lead to nothing yet.

use super::PartKind;
use crate::{
    SandboxError,
    fs::{FileStat, Resolve, open_below, open_in_root, set_mode, stat_at, stat_fd},
};
use nix::{
    fcntl::OFlag,
    sys::{
        stat::{Mode, SFlag, UtimensatFlags, mkdirat, mknodat, utimensat},
        time::TimeSpec,
    },
    unistd::{UnlinkatFlags, unlinkat},
};
use std::{
    collections::VecDeque,
    ffi::OsString,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Component, Path, PathBuf},
};

/// Links followed on the way to one target, as many as the kernel follows.
const MAX_LINKS: usize = 40;

/// The mount points made in one root.
#[derive(Debug)]
pub struct MountPoints {
    root: OwnedFd,
    created: Vec<(PathBuf, PartKind)>,
}

impl MountPoints {
    /// None yet, in `root`.
    ///
    /// # Errors
    /// If the descriptor cannot be duplicated.
    pub fn new(root: BorrowedFd<'_>) -> Result<Self, SandboxError> {
        let root = root.try_clone_to_owned();
        let root = root.map_err(|source| SandboxError::MountPoint { path: "/".into(), source })?;
        Ok(Self { root, created: Vec::new() })
    }

    /// Makes `target` and its parents where they are missing; they will be removed if nothing uses them.
    ///
    /// # Errors
    /// [`SandboxError::MountPoint`].
    pub fn create(&mut self, target: &Path, kind: PartKind) -> Result<(), SandboxError> {
        self.ensure(target, kind)
            .map_err(|source| SandboxError::MountPoint { path: target.to_owned(), source })
    }

    /// The same as [`Self::create`], but directories that were there keep their times.
    ///
    /// # Errors
    /// [`SandboxError::MountPoint`].
    pub fn create_unnoticed(&mut self, target: &Path, kind: PartKind) -> Result<(), SandboxError> {
        let fail = |source| SandboxError::MountPoint { path: target.to_owned(), source };
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let open = |path: &Path| open_in_root(self.root.as_fd(), path, flags, Mode::empty()).ok();
        let parent = target.ancestors().skip(1).find_map(open);
        let before = parent.as_ref().map(|parent| stat_fd(parent.as_fd())).transpose().map_err(fail)?;
        self.ensure(target, kind).map_err(fail)?;
        parent.iter().zip(&before).try_for_each(|(parent, before)| reset_times(parent, before)).map_err(fail)
    }

    /// What was made, as something that may be in `root` as well.
    ///
    /// # Errors
    /// If the descriptor cannot be duplicated.
    pub fn in_root(self, root: BorrowedFd<'_>) -> Result<Self, SandboxError> {
        Ok(Self { created: self.created, ..Self::new(root)? })
    }

    /// Makes the directory `target`; it stays, as under Docker do `/proc`, `/dev` and `/sys`.
    pub(super) fn create_permanent(&mut self, target: &Path) -> Result<(), SandboxError> {
        let before = self.created.len();
        let result = self.create(target, PartKind::Directory);
        self.created.truncate(before);
        result
    }

    /// Fails if a symbolic link is at `target` or on the way to it.
    pub(super) fn require_no_link(&self, target: &Path) -> Result<(), SandboxError> {
        let path = target.strip_prefix("/").unwrap_or(target);
        match open_below(self.root.as_fd(), path, Resolve::BeneathNoSymlinks, OFlag::O_PATH, Mode::empty()) {
            Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
                Err(SandboxError::LinkInstead { path: target.to_owned() })
            }
            Ok(_) => Ok(()),
            Err(source) => Err(SandboxError::MountPoint { path: target.to_owned(), source }),
        }
    }

    /// Removes what is still an empty directory or file, deepest first. Each parent keeps the times it had
    /// just before, so that cleaning up changes nothing itself. To be called after the process has ended.
    ///
    /// # Errors
    /// The first failure; the rest is removed all the same.
    pub fn remove_unused(self) -> Result<(), SandboxError> {
        let mut first = Ok(());
        for (path, kind) in self.created.iter().rev() {
            if let Err(source) = self.remove(path, *kind)
                && first.is_ok()
            {
                first = Err(SandboxError::MountPoint { path: path.clone(), source });
            }
        }
        first
    }

    fn remove(&self, path: &Path, kind: PartKind) -> io::Result<()> {
        let (parent, name) = match self.parent_of(path) {
            Err(error) if is_gone(&error) => return Ok(()),
            found => found?,
        };
        let found = match stat_at(parent.as_fd(), name) {
            Err(error) if is_gone(&error) => return Ok(()),
            found => found?,
        };
        let flag = match kind {
            PartKind::File if found.is_regular() && found.size == 0 => UnlinkatFlags::NoRemoveDir,
            PartKind::Directory if found.is_directory() => UnlinkatFlags::RemoveDir,
            PartKind::File | PartKind::Directory => return Ok(()),
        };
        let before = stat_fd(parent.as_fd())?;
        match unlinkat(&parent, name, flag) {
            Ok(()) => reset_times(&parent, &before),
            Err(nix::errno::Errno::ENOTEMPTY | nix::errno::Errno::ENOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn ensure(&mut self, target: &Path, kind: PartKind) -> io::Result<()> {
        match open_in_root(self.root.as_fd(), target, OFlag::O_PATH, Mode::empty()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
            Ok(there) => return fits(&stat_fd(there.as_fd())?, kind),
        }
        let mut resolved = PathBuf::new();
        let mut pending: VecDeque<OsString> = names(target);
        let mut links = 0;
        while let Some(name) = pending.pop_front() {
            if name == ".." {
                resolved.pop();
                continue;
            }
            let path = resolved.join(&name);
            match stat_at(self.root.as_fd(), &path) {
                Ok(found) if found.is_symlink() => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(io::Error::from_raw_os_error(libc::ELOOP));
                    }
                    let link = PathBuf::from(nix::fcntl::readlinkat(&self.root, &path)?);
                    if link.is_absolute() {
                        resolved.clear();
                    }
                    let mut ahead = names(&link);
                    ahead.append(&mut pending);
                    pending = ahead;
                }
                Ok(_) => resolved = path,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let kind = if pending.is_empty() { kind } else { PartKind::Directory };
                    self.make(&path, kind)?;
                    resolved.clone_from(&path);
                    self.created.push((path, kind));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn make(&self, path: &Path, kind: PartKind) -> io::Result<()> {
        let (parent, name) = self.parent_of(path)?;
        // The caller's umask takes bits away, so they are set once more.
        match kind {
            PartKind::Directory => {
                mkdirat(&parent, name, Mode::from_bits_truncate(0o755))?;
                set_mode(parent.as_fd(), name, 0o755)
            }
            PartKind::File => {
                mknodat(&parent, name, SFlag::S_IFREG, Mode::from_bits_truncate(0o644), 0)?;
                set_mode(parent.as_fd(), name, 0o644)
            }
        }
    }

    /// The directory that `path`, whose links have been followed, lies in, and its name there.
    fn parent_of<'a>(&self, path: &'a Path) -> io::Result<(OwnedFd, &'a Path)> {
        let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or_else(|| Path::new("."));
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let rule = Resolve::BeneathNoSymlinks;
        Ok((open_below(self.root.as_fd(), parent, rule, flags, Mode::empty())?, Path::new(name)))
    }
}

/// Succeeds if `kind` can be mounted on the file that is there: a directory on a directory only.
fn fits(there: &FileStat, kind: PartKind) -> io::Result<()> {
    match (kind, there.is_directory()) {
        (PartKind::Directory, true) | (PartKind::File, false) => Ok(()),
        (PartKind::Directory, false) | (PartKind::File, true) => {
            Err(io::Error::from_raw_os_error(libc::ENOTDIR))
        }
    }
}

/// True if the process has removed what led to a mount point, or put something else there.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP))
}

fn names(path: &Path) -> VecDeque<OsString> {
    let keep = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(keep).collect()
}

fn reset_times(directory: &OwnedFd, before: &FileStat) -> io::Result<()> {
    let time = |(seconds, nanoseconds): (i64, u32)| TimeSpec::new(seconds, nanoseconds.into());
    let flag = UtimensatFlags::FollowSymlink;
    // An O_PATH descriptor has no futimens; its "." has utimensat.
    Ok(utimensat(directory, ".", &time(before.accessed), &time(before.modified), flag)?)
}
