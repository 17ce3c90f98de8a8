//! What metadata copied entries get: their source's, changed by `--chown` and `--chmod`, and which calls that takes.

use crate::{
    ExecutorError,
    chmod::ModeChange,
    select::{Kind, Meta},
};
use rbuild_planner::Chmod;
use rustix::fs::{Gid, Mode, Timespec, Timestamps, Uid, fchmod, fchown, futimens};
use std::os::fd::OwnedFd;

/// The metadata rules of one copy.
#[derive(Debug)]
pub(crate) struct Policy {
    owner: Option<(u32, u32)>,
    chmod: Option<ModeChange>,
    umask: u32,
    creator: (u32, u32),
}

/// The owner and mode that the kernel gives to new files of a directory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Birth {
    uid: u32,
    gid: u32,
    /// Directories made here inherit the set-group-id bit.
    setgid: u32,
}

impl Policy {
    /// `owner` is `--chown`, looked up.
    pub(crate) fn new(owner: Option<(u32, u32)>, chmod: Option<&Chmod>) -> Result<Self, ExecutorError> {
        let birth = rbuild_archive::Birth::of_process();
        Ok(Self {
            owner,
            chmod: chmod.map(ModeChange::new).transpose()?,
            umask: birth.umask,
            creator: (birth.uid, birth.gid),
        })
    }

    /// The rules of an archive's entries: `--chown` counts, `--chmod` does not.
    pub(crate) fn without_chmod(&self) -> Self {
        Self { owner: self.owner, chmod: None, umask: self.umask, creator: self.creator }
    }

    /// The metadata of a copy of something with `meta`.
    pub(crate) fn apply(&self, mut meta: Meta, kind: Kind) -> Meta {
        if let Some((uid, gid)) = self.owner {
            (meta.uid, meta.gid) = (uid, gid);
        }
        if let Some(chmod) = &self.chmod {
            meta.mode = match kind {
                Kind::Symlink => meta.mode,
                Kind::Dir(_) => chmod.of_directory(meta.mode),
                Kind::File | Kind::Device(..) | Kind::Socket => chmod.of_file(meta.mode),
            };
        }
        meta
    }

    /// Mode of directories that are created on the way (`spec` §6.1): as Docker's daemon makes them, none that others may
    /// write to, because its umask is 022.
    pub(crate) fn parent_mode(&self) -> u32 {
        match &self.chmod {
            Some(ModeChange::Octal(mode)) => mode & 0o755,
            Some(ModeChange::Symbolic(_)) | None => 0o755,
        }
    }

    /// Owner of directories that are created on the way.
    pub(crate) fn parent_owner(&self) -> (u32, u32) {
        self.owner.unwrap_or((0, 0))
    }

    /// The owner and mode of new files in a directory with this mode and group.
    pub(crate) fn birth_in(&self, mode: u32, gid: u32) -> Birth {
        let (uid, own) = self.creator;
        match mode & 0o2000 {
            0 => Birth { uid, gid: own, setgid: 0 },
            setgid => Birth { uid, gid, setgid },
        }
    }

    /// The same for the entries of an archive.
    pub(crate) fn birth_of_entries(&self, birth: Birth) -> rbuild_archive::Birth {
        rbuild_archive::Birth { uid: birth.uid, gid: birth.gid, umask: self.umask }
    }

    /// Gives a file that was just created with `meta.mode` its owner and mode, with as few calls as that takes.
    pub(crate) fn finish_file(&self, fd: &OwnedFd, meta: &Meta, birth: Birth) -> rustix::io::Result<()> {
        let owned = (meta.uid, meta.gid) == (birth.uid, birth.gid);
        if !owned {
            fchown(fd, Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid)))?;
        }
        // writing and giving away clear the special bits
        if meta.mode & (self.umask | 0o7000) != 0 {
            fchmod(fd, Mode::from_raw_mode(meta.mode))?;
        }
        futimens(fd, &stamps(meta))
    }

    /// As [`Self::finish_file`], for a directory made with mkdir(2), without its times.
    pub(crate) fn finish_dir(&self, fd: &OwnedFd, meta: &Meta, birth: Birth) -> rustix::io::Result<()> {
        if (meta.uid, meta.gid) != (birth.uid, birth.gid) {
            fchown(fd, Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid)))?;
        }
        if meta.mode & (self.umask | 0o6000) != 0 || birth.setgid != 0 {
            fchmod(fd, Mode::from_raw_mode(meta.mode))?;
        }
        Ok(())
    }

    /// Gives a directory that was there before its owner and mode.
    pub(crate) fn overwrite_dir(fd: &OwnedFd, meta: &Meta) -> rustix::io::Result<()> {
        fchown(fd, Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid)))?;
        fchmod(fd, Mode::from_raw_mode(meta.mode))
    }

    /// True if something created by this process needs no chown(2) to be `meta`'s.
    pub(crate) fn is_born_with(meta: &Meta, birth: Birth) -> bool {
        (meta.uid, meta.gid) == (birth.uid, birth.gid)
    }
}

/// The times of `meta` as utimensat(2) takes them.
pub(crate) fn stamps(meta: &Meta) -> Timestamps {
    let time = |time: crate::select::Time| Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds };
    Timestamps { last_access: time(meta.atime), last_modification: time(meta.mtime) }
}
