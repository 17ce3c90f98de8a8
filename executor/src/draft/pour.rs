//! The contents of files on their way into a draft. Those of long files come last, several at once: one processor copies no faster
//! than a part of what the memory can bear.

use super::{
    policy::{Birth, Policy},
    taken::Taken,
};
use crate::{
    ExecutorError,
    rooted::shown,
    select::{Entry, Identity, Meta, Owner, Time},
    workers::Queue,
    xattrs::{self, Xattrs},
};
use rbuild_cache::{Cancel, Store};
use rustix::{
    fs::{copy_file_range, fstat, ioctl_ficlone},
    io::{Errno, read, write},
};
use std::{
    os::fd::OwnedFd,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// Files up to this length are copied through the buffer, longer ones inside the kernel.
pub(crate) const BUFFER: usize = 128 << 10;

/// Files from this length on are filled last.
pub(crate) const LONG: u64 = 4 << 20;

/// Long files that wait at most, because each is open twice.
const MOST_WAITING: usize = 64;

/// Bytes the kernel is asked to copy at once: a build that is given up waits for that.
const RANGE: usize = 1 << 20;

/// Ways of copying inside the kernel that were found not to work between these file systems, and when to stop copying.
#[derive(Debug)]
pub(crate) struct Ways {
    no_clone: AtomicBool,
    no_range: AtomicBool,
    cancel: Cancel,
    store: Store,
    /// Long files, with their paths.
    waiting: Mutex<Vec<(Content, Vec<u8>)>>,
}

/// A file that was created for the content of another one.
#[derive(Debug)]
pub(crate) struct Content {
    pub(super) from: OwnedFd,
    pub(super) to: OwnedFd,
    pub(super) seen: Seen,
    pub(super) attributes: Xattrs,
    pub(super) meta: Meta,
    pub(super) birth: Birth,
}

/// How a file looked when its digest was taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    size: u64,
    identity: Identity,
    modified: Time,
}

impl Ways {
    /// All ways into `store` are to be tried, until `cancel` says stop.
    pub(crate) fn new(store: &Store, cancel: &Cancel) -> Self {
        Self {
            no_clone: AtomicBool::new(false),
            no_range: AtomicBool::new(false),
            cancel: cancel.clone(),
            store: store.clone(),
            waiting: Mutex::default(),
        }
    }

    /// Fills a long file: at the end, or now when many wait for that.
    pub(crate) fn fill_later(
        &self,
        (content, path): (Content, Vec<u8>),
        (policy, taken): (&Policy, &Taken),
        buffer: &mut [u8],
    ) -> Result<(), ExecutorError> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < MOST_WAITING {
            waiting.push((content, path));
            return Ok(());
        }
        drop(waiting);
        content.pour((policy, taken), self, buffer).map_err(|errno| failure(&path, errno))
    }

    /// Fills the files that wait for it.
    pub(crate) fn finish(&self, (policy, taken): (&Policy, &Taken)) -> Result<(), ExecutorError> {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        Queue::of_long(waiting).drain(
            || vec![0; BUFFER],
            |(content, path), buffer, _| {
                content.pour((policy, taken), self, buffer).map_err(|errno| failure(&path, errno))
            },
        )
    }

    /// `ECANCELED` once the build was canceled.
    pub(crate) fn go_on(&self) -> Result<(), Errno> {
        if self.cancel.is_canceled() { Err(Errno::CANCELED) } else { Ok(()) }
    }
}

impl Content {
    /// Copies everything, and gives the file what it is to have.
    pub(super) fn pour(
        &self,
        (policy, taken): (&Policy, &Taken),
        ways: &Ways,
        buffer: &mut [u8],
    ) -> Result<(), Errno> {
        let Self { from, to, seen, attributes, meta, birth } = self;
        pour(from, to, seen.size, ways, buffer)?;
        seen.unchanged(from)?;
        policy.finish_file(to, meta, *birth)?;
        if !attributes.is_empty() {
            xattrs::write(to, attributes);
        }
        if seen.size < BUFFER as u64 && attributes.is_empty() {
            taken.add_length(seen.size);
        } else {
            // it may share blocks, have holes, or need more blocks for where they are
            taken.add_stat(&fstat(to)?);
        }
        Ok(())
    }
}

impl Seen {
    /// How `entry` looked.
    pub(crate) fn of(entry: &Entry) -> Self {
        Self { size: entry.size, identity: entry.identity, modified: entry.meta.mtime }
    }

    /// `ESTALE` when the file is not the one whose digest was taken: the copy would be remembered under a wrong key.
    pub(crate) fn unchanged(&self, from: &OwnedFd) -> Result<(), Errno> {
        let stat = fstat(from)?;
        // ctime too: a writer can set the other times back, and nothing a copy does changes its source's
        let ctime = Time { seconds: stat.st_ctime, nanoseconds: stat.st_ctime_nsec as i64 };
        let identity = &self.identity;
        let same = stat.st_size as u64 == self.size
            && (stat.st_dev, stat.st_ino) == (identity.dev, identity.ino)
            && ctime == identity.ctime
            && Meta::of(&stat, Owner::Kept).mtime == self.modified;
        if same { Ok(()) } else { Err(Errno::STALE) }
    }
}

/// The error of copying to `path`.
pub(crate) fn failure(path: &[u8], errno: Errno) -> ExecutorError {
    match errno {
        Errno::STALE => ExecutorError::SourceChanged { path: shown(path) },
        Errno::CANCELED => ExecutorError::Canceled,
        errno => ExecutorError::system("copy", path, errno),
    }
}

/// Copies what is left in `from`, which had `size` bytes when it was looked at.
pub(crate) fn pour(
    from: &OwnedFd,
    to: &OwnedFd,
    size: u64,
    ways: &Ways,
    buffer: &mut [u8],
) -> Result<(), Errno> {
    if size >= buffer.len() as u64 && in_kernel(from, to, ways)? == Poured::All {
        return Ok(());
    }
    loop {
        ways.go_on()?;
        let length = read(from, &mut *buffer)?;
        write_all(to, &buffer[..length])?;
        // a regular file gives less than was asked for only at its end
        if length < buffer.len() {
            return Ok(());
        }
    }
}

#[derive(PartialEq, Eq)]
enum Poured {
    All,
    NotPossible,
}

fn in_kernel(from: &OwnedFd, to: &OwnedFd, ways: &Ways) -> Result<Poured, Errno> {
    if !ways.no_clone.load(Ordering::Relaxed) {
        match ioctl_ficlone(to, from) {
            Ok(()) => return Ok(Poured::All),
            Err(_) => ways.no_clone.store(true, Ordering::Relaxed),
        }
    }
    if ways.no_range.load(Ordering::Relaxed) {
        return Ok(Poured::NotPossible);
    }
    let mut copied = 0;
    loop {
        ways.go_on()?;
        match copy_file_range(from, None, to, None, RANGE) {
            Ok(0) => return Ok(Poured::All),
            Ok(length) => {
                copied += length;
                ways.store.wrote(length as u64);
            }
            Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM)
                if copied == 0 =>
            {
                ways.no_range.store(true, Ordering::Relaxed);
                return Ok(Poured::NotPossible);
            }
            Err(errno) => return Err(errno),
        }
    }
}

/// Writes all of `bytes`.
pub(super) fn write_all(to: &OwnedFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let written = write(to, bytes)?;
        bytes = &bytes[written..];
    }
    Ok(())
}
