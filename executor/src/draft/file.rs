//! Creating one entry that is not a directory. For a small file whose bytes are in memory that is openat, write,
//! utimensat and close; otherwise openat, flistxattr, one read and close besides.

use super::{
    policy::{Birth, Policy, stamps},
    pour::{Content, LONG, Seen, Ways, write_all},
    taken::Taken,
};
use crate::{
    rooted::{FileType, open_unnoticed},
    select::{Dir, Entry, Kind, Meta},
    xattrs,
};
use rustix::{
    fs::{AtFlags, Gid, Mode, OFlags, Uid, chmodat, chownat, mknodat, openat, symlinkat, utimensat},
    io::Errno,
};
use std::os::fd::OwnedFd;

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

/// What was created.
pub(crate) enum Created {
    /// The entry.
    Whole,
    /// A long file that lacks its content, which [`Ways::finish`] brings.
    Empty(Content),
}

/// Creates the copy of `original`. `EEXIST` when the name is taken, `ECANCELED` when it was given up.
pub(crate) fn create(
    original: Original<'_>,
    place: Place<'_>,
    policy: &Policy,
    ways: &Ways,
    buffer: &mut [u8],
) -> Result<Created, Errno> {
    let Original { dir, names, entry } = original;
    ways.go_on()?;
    let meta = policy.apply(entry.meta, entry.kind);
    match entry.kind {
        Kind::File => {
            let (Some(dir), None) = (dir, &entry.bytes) else {
                create_with(entry.bytes.as_deref().unwrap_or_default(), &meta, place, policy)?;
                return Ok(Created::Whole);
            };
            let from = open_unnoticed(dir, names.text(entry.name))?;
            let attributes = xattrs::read(&from);
            let to = open_new(place, &meta)?;
            let content = Content { from, to, seen: Seen::of(entry), attributes, meta, birth: place.birth };
            if entry.size >= LONG {
                return Ok(Created::Empty(content));
            }
            content.pour((policy, place.taken), ways, buffer)?;
            return Ok(Created::Whole);
        }
        Kind::Socket => create_with(b"", &meta, place, policy)?,
        Kind::Symlink => {
            symlinkat(names.text(entry.target), place.dir, place.name)?;
            finish_at(&meta, place, Special::Link)?;
        }
        Kind::Device(kind, number) => {
            create_device(place, kind, number, &meta)?;
            finish_at(&meta, place, Special::Device)?;
        }
        Kind::Dir(_) => return Err(Errno::ISDIR),
    }
    Ok(Created::Whole)
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
