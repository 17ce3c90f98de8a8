//! What every container of `run` has over its image, as with Docker: mount points, the file that says that this is a
//! container, the link to the kernel's list of mounts. It lies in a directory between the image and the container's changes,
//! so that `commit` does not take it. What the image has at these places is not shown through; only a directory stays.

use crate::{ExecutorError, snapshot::RootMount};
use rbuild_sys::fs::set_mode;
use rustix::{
    fs::{AtFlags, Mode, OFlags, mkdirat, openat, symlinkat, unlinkat},
    io::Errno,
};
use std::{os::fd::AsFd, path::Path};

/// Directory, name in it, and what is there.
const PLACES: [(&str, &str, Kind); 9] = [
    (".", "dev", Kind::Directory),
    (".", "proc", Kind::Directory),
    (".", "sys", Kind::Directory),
    (".", "etc", Kind::Directory),
    (".", ".dockerenv", Kind::File),
    ("etc", "resolv.conf", Kind::File),
    ("etc", "hosts", Kind::File),
    ("etc", "hostname", Kind::File),
    ("etc", "mtab", Kind::Link("/proc/mounts")),
];

/// The mode of what is made; it does not depend on the user's umask.
const MODE: u32 = 0o755;

#[derive(Clone, Copy)]
enum Kind {
    Directory,
    /// An empty one.
    File,
    Link(&'static str),
}

/// Fills the upper directory of `root`.
pub(crate) fn prepare(root: &RootMount) -> Result<(), ExecutorError> {
    for (directory, name, kind) in PLACES {
        make(root, directory, name, kind).map_err(|error| {
            ExecutorError::system("create", format!("/{directory}/{name}").as_bytes(), error)
        })?;
    }
    Ok(())
}

fn make(root: &RootMount, directory: &str, name: &str, kind: Kind) -> std::io::Result<()> {
    // never a link: what is not a directory has been replaced by one
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = openat(root.as_fd(), directory, flags, Mode::empty())?;
    match unlinkat(&directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(Errno::ISDIR) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    }
    match kind {
        Kind::Link(target) => return Ok(symlinkat(target, &directory, name)?),
        Kind::Directory => mkdirat(&directory, name, Mode::empty())?,
        Kind::File => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
            openat(&directory, name, flags, Mode::empty())?;
        }
    }
    set_mode(directory.as_fd(), Path::new(name), MODE)
}
