//! Copying an upper directory, whiteouts and all: a container's change becomes a layer while the container stays.

use crate::ExecutorError;
use nix::{
    fcntl::AT_FDCWD,
    sys::{
        stat::{Mode, SFlag, UtimensatFlags, mknod, utimensat},
        time::TimeSpec,
    },
    unistd::{Gid, Uid, fchownat},
};
use rustix::fs::{XattrFlags, lgetxattr, llistxattr, lsetxattr};
use std::{
    collections::HashMap,
    ffi::CStr,
    fs::{self, Metadata, Permissions},
    io,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink},
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
    let metadata = fs::symlink_metadata(from).map_err(on("stat", from))?;
    clone_directory(from, to, &mut Links::new())?;
    clone_metadata(from, to, &metadata)
}

fn clone_directory(from: &Path, to: &Path, links: &mut Links) -> Result<(), ExecutorError> {
    for entry in fs::read_dir(from).map_err(on("read", from))? {
        let entry = entry.map_err(on("read", from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let metadata = fs::symlink_metadata(&source).map_err(on("stat", &source))?;
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
            clone_entry(&source, &target, &metadata)?;
        }
        clone_metadata(&source, &target, &metadata)?;
    }
    Ok(())
}

fn clone_entry(source: &Path, target: &Path, metadata: &Metadata) -> Result<(), ExecutorError> {
    let kind = metadata.file_type();
    if kind.is_file() {
        return fs::copy(source, target).map(drop).map_err(on("copy", source));
    }
    if kind.is_symlink() {
        let text = fs::read_link(source).map_err(on("readlink", source))?;
        return symlink(text, target).map_err(on("symlink", target));
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
    let made = mknod(target, special, Mode::from_bits_truncate(metadata.mode()), metadata.rdev());
    made.map_err(|error| on("mknod", target)(error.into()))
}

fn clone_metadata(source: &Path, target: &Path, metadata: &Metadata) -> Result<(), ExecutorError> {
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
fn clone_attributes(source: &Path, target: &Path) -> Result<(), ExecutorError> {
    let mut names = vec![0; ATTRIBUTES];
    let length = match llistxattr(source, &mut names) {
        Ok(length) => length,
        Err(rustix::io::Errno::NOTSUP) => 0,
        Err(errno) => return Err(on("llistxattr", source)(errno.into())),
    };
    let mut value = vec![0; ATTRIBUTES];
    let names = names[..length].split_inclusive(|byte| *byte == 0);
    for name in names.filter_map(|name| CStr::from_bytes_with_nul(name).ok()) {
        let length =
            lgetxattr(source, name, &mut value).map_err(|errno| on("lgetxattr", source)(errno.into()))?;
        lsetxattr(target, name, &value[..length], XattrFlags::empty())
            .map_err(|errno| on("lsetxattr", target)(errno.into()))?;
    }
    Ok(())
}

/// Names the call and the path of a failure.
fn on<'a>(call: &'static str, path: &'a Path) -> impl Fn(io::Error) -> ExecutorError + 'a {
    move |source| ExecutorError::system(call, path.as_os_str().as_encoded_bytes(), source)
}
