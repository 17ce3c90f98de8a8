//! Copying an upper directory, whiteouts and all: a container's change becomes a layer while the container stays.
//!
//! The container may still run, and change what is copied. So everything is opened once, by its name in a directory that
//! is open and without following a link, and then only that file is looked at: nothing it puts in the way leads out.

use crate::ExecutorError;
use nix::{
    fcntl::AT_FDCWD,
    sys::{
        stat::{Mode, SFlag, UtimensatFlags, mknod, utimensat},
        time::TimeSpec,
    },
    unistd::{Gid, Uid, fchownat},
};
use rustix::fs::{CWD, OFlags, XattrFlags, getxattr, listxattr, lsetxattr, openat, readlinkat};
use std::{
    collections::HashMap,
    ffi::{CStr, OsStr, OsString},
    fs::{self, File, Metadata, Permissions},
    io,
    os::{
        fd::{AsFd, AsRawFd},
        unix::{
            ffi::OsStrExt,
            fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink},
        },
    },
    path::{Path, PathBuf},
};

/// The longest list of attribute names, and the longest value, in bytes (xattr(7)).
const ATTRIBUTES: usize = 64 << 10;

/// Files with several names seen so far: where the first copy is.
type Links = HashMap<(u64, u64), PathBuf>;

/// Copies everything in the upper directory `from` into the empty directory `to`: modes, owners, times, extended
/// attributes (overlayfs' own among them), links, devices.
///
/// # Errors
/// [`ExecutorError::System`] with the path that cannot be read or made.
pub fn clone_layer(from: &Path, to: &Path) -> Result<(), ExecutorError> {
    let source = Source::open(CWD, from.as_os_str(), from.to_owned())?;
    clone_directory(&source, to, &mut Links::new())?;
    clone_metadata(&source, to)
}

/// One file of whatever kind, held open by `O_PATH`.
struct Source {
    file: File,
    metadata: Metadata,
    /// Leads to the open file, for calls that take paths.
    path: PathBuf,
    /// Where it was found, for messages.
    shown: PathBuf,
}

impl Source {
    fn open(directory: impl AsFd, name: &OsStr, shown: PathBuf) -> Result<Self, ExecutorError> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = openat(directory, name, flags, rustix::fs::Mode::empty());
        let file = File::from(opened.map_err(|errno| on("open", &shown)(errno.into()))?);
        let metadata = file.metadata().map_err(on("stat", &shown))?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        Ok(Self { file, metadata, path, shown })
    }

    /// The names in a directory.
    fn names(&self) -> Result<Vec<OsString>, ExecutorError> {
        let entries = fs::read_dir(&self.path).map_err(on("read", &self.shown))?;
        let names = entries.map(|entry| entry.map(|entry| entry.file_name()));
        names.collect::<io::Result<_>>().map_err(on("read", &self.shown))
    }
}

fn clone_directory(from: &Source, to: &Path, links: &mut Links) -> Result<(), ExecutorError> {
    for name in from.names()? {
        let source = Source::open(&from.file, &name, from.shown.join(&name))?;
        let target = to.join(&name);
        let metadata = &source.metadata;
        if metadata.is_dir() {
            fs::create_dir(&target).map_err(on("mkdir", &target))?;
            clone_directory(&source, &target, links)?;
        } else {
            if metadata.nlink() > 1 {
                if let Some(first) = links.get(&(metadata.dev(), metadata.ino())) {
                    fs::hard_link(first, &target).map_err(on("link", &target))?;
                    continue;
                }
                links.insert((metadata.dev(), metadata.ino()), target.clone());
            }
            clone_entry(&source, &target)?;
        }
        clone_metadata(&source, &target)?;
    }
    Ok(())
}

fn clone_entry(source: &Source, target: &Path) -> Result<(), ExecutorError> {
    let kind = source.metadata.file_type();
    if kind.is_file() {
        return fs::copy(&source.path, target).map(drop).map_err(on("copy", &source.shown));
    }
    if kind.is_symlink() {
        let text = readlinkat(&source.file, c"", Vec::new())
            .map_err(|errno| on("readlink", &source.shown)(errno.into()))?;
        return symlink(OsStr::from_bytes(text.as_bytes()), target).map_err(on("symlink", target));
    }
    let special = if kind.is_char_device() {
        SFlag::S_IFCHR
    } else if kind.is_block_device() {
        SFlag::S_IFBLK
    } else if kind.is_fifo() {
        SFlag::S_IFIFO
    } else {
        SFlag::S_IFSOCK
    };
    let metadata = &source.metadata;
    let made = mknod(target, special, Mode::from_bits_truncate(metadata.mode()), metadata.rdev());
    made.map_err(|error| on("mknod", target)(error.into()))
}

fn clone_metadata(source: &Source, target: &Path) -> Result<(), ExecutorError> {
    let metadata = &source.metadata;
    let (uid, gid) = (Uid::from_raw(metadata.uid()), Gid::from_raw(metadata.gid()));
    fchownat(AT_FDCWD, target, Some(uid), Some(gid), nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW)
        .map_err(|error| on("chown", target)(error.into()))?;
    if !metadata.file_type().is_symlink() {
        let mode = Permissions::from_mode(metadata.mode() & 0o7777);
        fs::set_permissions(target, mode).map_err(on("chmod", target))?;
    }
    clone_attributes(source, target)?;
    let accessed = TimeSpec::new(metadata.atime(), metadata.atime_nsec());
    let modified = TimeSpec::new(metadata.mtime(), metadata.mtime_nsec());
    utimensat(AT_FDCWD, target, &accessed, &modified, UtimensatFlags::NoFollowSymlink)
        .map_err(|error| on("set the times of", target)(error.into()))
}

/// All extended attributes, overlayfs' own among them; they say which directories are opaque.
fn clone_attributes(source: &Source, target: &Path) -> Result<(), ExecutorError> {
    let mut names = vec![0; ATTRIBUTES];
    // the path is a link to the open file, and that is not followed any further
    let length = match listxattr(&source.path, &mut names) {
        Ok(length) => length,
        Err(rustix::io::Errno::NOTSUP) => 0,
        Err(errno) => return Err(on("listxattr", &source.shown)(errno.into())),
    };
    let mut value = vec![0; ATTRIBUTES];
    let names = names[..length].split_inclusive(|byte| *byte == 0);
    for name in names.filter_map(|name| CStr::from_bytes_with_nul(name).ok()) {
        let length = getxattr(&source.path, name, &mut value)
            .map_err(|errno| on("getxattr", &source.shown)(errno.into()))?;
        lsetxattr(target, name, &value[..length], XattrFlags::empty())
            .map_err(|errno| on("lsetxattr", target)(errno.into()))?;
    }
    Ok(())
}

/// Names the call and the path of a failure.
fn on<'a>(call: &'static str, path: &'a Path) -> impl Fn(io::Error) -> ExecutorError + 'a {
    move |source| ExecutorError::system(call, path.as_os_str().as_encoded_bytes(), source)
}
