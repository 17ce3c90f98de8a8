//! Creating one entry that is not a directory. For a small file whose bytes are in memory that is openat, write,
//! utimensat and close; otherwise openat, flistxattr, one read and close besides.

use super::{
    policy::{Birth, Policy, stamps},
    taken::Taken,
};
use crate::{
    ExecutorError,
    rooted::{FileType, open_unnoticed, shown},
    select::{Dir, Entry, Kind, Meta, Owner, Time},
    xattrs,
};
use rbuild_cache::Cancel;
use rustix::{
    fs::{
        AtFlags, Gid, Mode, OFlags, Uid, chmodat, chownat, copy_file_range, fstat, ioctl_ficlone, mknodat,
        openat, symlinkat, utimensat,
    },
    io::{Errno, read, write},
};
use std::{
    os::fd::OwnedFd,
    sync::atomic::{AtomicBool, Ordering},
};

/// Files up to this length are copied through the buffer, longer ones inside the kernel.
pub(crate) const BUFFER: usize = 128 << 10;

/// Bytes the kernel is asked to copy at once: a build that is given up waits for that.
const RANGE: usize = 1 << 20;

/// Ways of copying inside the kernel that were found not to work between these file systems, and when to stop copying.
#[derive(Debug)]
pub(crate) struct Ways {
    no_clone: AtomicBool,
    no_range: AtomicBool,
    cancel: Cancel,
}

impl Ways {
    /// All ways are to be tried, until `cancel` says stop.
    pub(crate) fn new(cancel: &Cancel) -> Self {
        Self { no_clone: AtomicBool::new(false), no_range: AtomicBool::new(false), cancel: cancel.clone() }
    }

    /// `ECANCELED` once the build was canceled.
    pub(crate) fn go_on(&self) -> Result<(), Errno> {
        if self.cancel.is_canceled() { Err(Errno::CANCELED) } else { Ok(()) }
    }
}

/// Where an entry is created, and what counts the bytes that it takes.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) dir: &'a OwnedFd,
    pub(crate) name: &'a [u8],
    pub(crate) birth: Birth,
    pub(crate) taken: &'a Taken,
}

/// An entry to be copied.
#[derive(Clone, Copy)]
pub(crate) struct Original<'a> {
    /// The open directory it is in; needed for files whose bytes are not in memory.
    pub(crate) dir: Option<&'a OwnedFd>,
    pub(crate) names: &'a Dir,
    pub(crate) entry: &'a Entry,
}

impl Original<'_> {
    /// True if the copy has to read it.
    pub(crate) fn needs_directory(entry: &Entry) -> bool {
        entry.kind == Kind::File && entry.bytes.is_none()
    }
}

/// Creates the copy of `original`. `EEXIST` when the name is taken, `ECANCELED` when it was given up.
pub(crate) fn create(
    original: Original<'_>,
    place: Place<'_>,
    policy: &Policy,
    ways: &Ways,
    buffer: &mut [u8],
) -> Result<(), Errno> {
    let Original { dir, names, entry } = original;
    ways.go_on()?;
    let meta = policy.apply(entry.meta, entry.kind);
    match entry.kind {
        Kind::File => {
            let (Some(dir), None) = (dir, &entry.bytes) else {
                return create_with(entry.bytes.as_deref().unwrap_or_default(), &meta, place, policy);
            };
            let from = open_unnoticed(dir, names.text(entry.name))?;
            let attributes = xattrs::read(&from);
            let to = open_new(place, &meta)?;
            pour(&from, &to, entry.size, ways, buffer)?;
            unchanged(&from, entry)?;
            policy.finish_file(&to, &meta, place.birth)?;
            if !attributes.is_empty() {
                xattrs::write(&to, &attributes);
            }
            if entry.size < BUFFER as u64 && attributes.is_empty() {
                place.taken.add_length(entry.size);
            } else {
                // it may share blocks, have holes, or need more blocks for where they are
                place.taken.add_stat(&fstat(&to)?);
            }
            Ok(())
        }
        Kind::Socket => create_with(b"", &meta, place, policy),
        Kind::Symlink => {
            symlinkat(names.text(entry.target), place.dir, place.name)?;
            finish_at(&meta, place, Special::Link)
        }
        Kind::Device(kind, number) => {
            create_device(place, kind, number, &meta)?;
            finish_at(&meta, place, Special::Device)
        }
        Kind::Dir(_) => Err(Errno::ISDIR),
    }
}

/// `ESTALE` when the file is not the one whose digest was taken: the copy would be remembered under a wrong key.
pub(crate) fn unchanged(from: &OwnedFd, entry: &Entry) -> Result<(), Errno> {
    let stat = fstat(from)?;
    // ctime too: a writer can set the other times back, and nothing a copy does changes its source's
    let ctime = Time { seconds: stat.st_ctime, nanoseconds: stat.st_ctime_nsec as i64 };
    let identity = &entry.identity;
    let same = stat.st_size as u64 == entry.size
        && (stat.st_dev, stat.st_ino) == (identity.dev, identity.ino)
        && ctime == identity.ctime
        && Meta::of(&stat, Owner::Kept).mtime == entry.meta.mtime;
    if same { Ok(()) } else { Err(Errno::STALE) }
}

/// The error of copying to `path`.
pub(crate) fn failure(path: &[u8], errno: Errno) -> ExecutorError {
    match errno {
        Errno::STALE => ExecutorError::SourceChanged { path: shown(path) },
        Errno::CANCELED => ExecutorError::Canceled,
        errno => ExecutorError::system("copy", path, errno),
    }
}

/// Creates a file with these bytes. `EEXIST` when the name is taken.
pub(crate) fn create_with(bytes: &[u8], meta: &Meta, place: Place<'_>, policy: &Policy) -> Result<(), Errno> {
    let to = open_new(place, meta)?;
    write_all(&to, bytes)?;
    place.taken.add_length(bytes.len() as u64);
    policy.finish_file(&to, meta, place.birth)
}

/// Creates an empty file, open for writing.
pub(crate) fn open_new(place: Place<'_>, meta: &Meta) -> Result<OwnedFd, Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(place.dir, place.name, flags, Mode::from_raw_mode(meta.mode & 0o777))
}

/// Creates a device node or FIFO.
fn create_device(place: Place<'_>, kind: FileType, number: u64, meta: &Meta) -> Result<(), Errno> {
    mknodat(place.dir, place.name, kind, Mode::from_raw_mode(meta.mode & 0o777), number)
}

/// Kinds of files that are worked on by name, because they cannot be opened for it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Special {
    Link,
    Device,
}

/// Owner, mode and times of a link or device that was just created.
pub(crate) fn finish_at(meta: &Meta, place: Place<'_>, special: Special) -> Result<(), Errno> {
    if !Policy::is_born_with(meta, place.birth) {
        let owner = (Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid)));
        chownat(place.dir, place.name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    if special == Special::Device {
        chmodat(place.dir, place.name, Mode::from_raw_mode(meta.mode), AtFlags::empty())?;
    }
    place.taken.add_at(place.dir, place.name)?;
    utimensat(place.dir, place.name, &stamps(meta), AtFlags::SYMLINK_NOFOLLOW)
}

/// Writes all of `bytes`.
fn write_all(to: &OwnedFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let written = write(to, bytes)?;
        bytes = &bytes[written..];
    }
    Ok(())
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
            Ok(length) => copied += length,
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
