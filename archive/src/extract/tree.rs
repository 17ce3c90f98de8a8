//! What differs between the trees that archives are extracted into.

use crate::{ArchiveError, Entry, Recorder, Time};
use rustix::{
    fs::{Timespec, Timestamps},
    io::Errno,
};
use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
    rc::Rc,
};

/// A tree that an archive is extracted into: a layer of the store, or the destination of an ADD.
///
/// Law: a directory in a [`Site`] was reached beneath the tree's root without following a link out of it, so that an entry
/// made in it under the last component of the path is in the tree.
pub trait Tree {
    /// The failure of an extraction.
    type Error;
    /// A path in the tree, free of links but perhaps for the last component.
    type Path: AsRef<[u8]>;
    /// Watches the tar.
    type Recorder: Recorder;

    /// The path of the entry; `None` for one that becomes no file, after the tree has done what it means.
    ///
    /// # Errors
    /// For a name that leads out of the tree; when the extraction was canceled.
    fn path(
        &mut self,
        entry: &Entry,
        recorder: &mut Self::Recorder,
    ) -> Result<Option<Self::Path>, Self::Error>;

    /// Makes the directory, or gives the metadata to the one that is there.
    ///
    /// # Errors
    /// When that fails.
    fn directory(
        &mut self,
        path: Self::Path,
        entry: &Entry,
        recorder: &mut Self::Recorder,
    ) -> Result<(), Self::Error>;

    /// The place of an entry that is not a directory. The directories above it are made.
    ///
    /// # Errors
    /// When that fails.
    fn site(
        &mut self,
        path: Self::Path,
        entry: &Entry,
        recorder: &mut Self::Recorder,
    ) -> Result<Site<Self::Path>, Self::Error>;

    /// Removes what stands in the way of an entry.
    ///
    /// # Errors
    /// When that fails, or the tree keeps it.
    fn make_room(
        &mut self,
        site: &Site<Self::Path>,
        recorder: &mut Self::Recorder,
    ) -> Result<(), Self::Error>;

    /// The file that a hard link leads to; `None` when that is the one in its place.
    ///
    /// # Errors
    /// When there is no such file.
    fn link_source(
        &mut self,
        site: &Site<Self::Path>,
        entry: &Entry,
    ) -> Result<Option<LinkSource>, Self::Error>;

    /// The metadata that the file of the entry gets.
    fn metadata(&self, entry: &Entry) -> Metadata;

    /// Asked for each piece of a file.
    ///
    /// # Errors
    /// When the extraction was canceled.
    fn go_on(&self) -> Result<(), Self::Error>;

    /// Decides what an attribute means that cannot be set on `file`.
    ///
    /// # Errors
    /// When the tree cannot do without it.
    fn without_attribute(
        &mut self,
        site: &Site<Self::Path>,
        name: &str,
        cause: (BorrowedFd<'_>, Errno),
    ) -> Result<(), Self::Error>;

    /// Decides what a device or FIFO means that cannot be made.
    ///
    /// # Errors
    /// When the tree cannot do without it.
    fn without_node(
        &mut self,
        site: &Site<Self::Path>,
        entry: &Entry,
        errno: Errno,
    ) -> Result<(), Self::Error>;

    /// The error of a system call on the file of the entry.
    fn failure(&self, site: &Site<Self::Path>, entry: &Entry, cause: (Action, io::Error)) -> Self::Error;

    /// The error of an entry that no tree may have.
    fn refusal(&self, entry: &Entry, reason: Refusal) -> Self::Error;

    /// The error of an archive that cannot be read.
    fn damaged(&self, error: ArchiveError) -> Self::Error;
}

/// A place for one file.
#[derive(Debug)]
pub struct Site<P> {
    /// The open directory in which it is.
    pub directory: Rc<OwnedFd>,
    /// Its path in the tree, whose last component is its name.
    pub path: P,
    /// What the kernel gives to files that are made there.
    pub birth: Birth,
}

impl<P: AsRef<[u8]>> Site<P> {
    /// The file's name in its directory.
    pub fn name(&self) -> &[u8] {
        let path = self.path.as_ref();
        path.iter().rposition(|byte| *byte == b'/').map_or(path, |slash| &path[slash + 1..])
    }
}

/// The file that gets another name.
#[derive(Debug)]
pub struct LinkSource {
    /// The open directory in which it is.
    pub directory: Rc<OwnedFd>,
    /// Its name there.
    pub name: Vec<u8>,
}

/// The owner that the kernel gives to new files, and the bits that it takes from their modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Birth {
    /// The user.
    pub uid: u32,
    /// The group, where the directory does not say another one.
    pub gid: u32,
    /// The mask of the process.
    pub umask: u32,
}

impl Birth {
    /// As this process makes files.
    #[must_use]
    pub fn of_process() -> Self {
        // reading the mask with umask(2) would change it for other threads for a moment
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let umask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
        Self {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            // unknown: every mode is set explicitly
            umask: umask.and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok()).unwrap_or(0o777),
        }
    }
}

/// Owner, mode and times of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Permission bits, with the set-id and sticky bits.
    pub mode: u32,
    /// The time of the last modification.
    pub mtime: Time,
    /// The time of the last read access.
    pub atime: Time,
}

impl Metadata {
    /// True if a new file needs no chown(2).
    pub(super) fn is_owned_at(&self, birth: Birth) -> bool {
        (self.uid, self.gid) == (birth.uid, birth.gid)
    }

    /// True if a file made with the permission bits of the mode needs no chmod(2): chown(2) and writing clear the others.
    pub(super) fn has_mode_at(&self, birth: Birth) -> bool {
        self.mode & (birth.umask | !0o777) == 0
    }

    pub(super) fn times(&self) -> Timestamps {
        let time = |time: Time| Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() };
        Timestamps { last_access: time(self.atime), last_modification: time(self.mtime) }
    }
}

/// What was done to a file when a system call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It was made.
    Create,
    /// The symbolic link was made.
    MakeLink,
    /// The hard link was made.
    Link,
    /// Its content was written.
    Write,
    /// It got its length.
    SetLength,
    /// It got its owner.
    SetOwner,
    /// It got its mode.
    SetMode,
    /// It got its times.
    SetTimes,
    /// It was opened for its attributes.
    Open,
}

/// The reason for which an entry is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Its kind, which becomes no file.
    Kind(u8),
    /// A device that overlayfs would take for a removed file.
    Whiteout,
}
