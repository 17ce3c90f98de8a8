//! Copying files as they are: modes, owners, times, extended attributes, links, devices, holes.
//!
//! What is copied may be a container's, which may still run and change it. So everything is opened once, by its name in a
//! directory that is open and without following a link, and then only that file is looked at: nothing that is put in the
//! way leads out. What has gone since its name was read was not there. What it is copied to belongs to rbuild alone.

use super::{
    held::{ATTRIBUTES, Source, attributes, on},
    rooted_tree::RootedTree,
};
use crate::{ExecutorError, rooted::join, workers::Queue};
use nix::{
    fcntl::AT_FDCWD,
    sys::{
        stat::{Mode, SFlag, UtimensatFlags, mknod, utimensat},
        time::TimeSpec,
    },
    unistd::{Gid, Uid, fchownat},
};
use rbuild_sys::overlay::XattrNamespace;
use rustix::{
    fs::{
        AtFlags, CWD, Gid as FileGroup, SeekFrom, Timespec, Timestamps, Uid as FileOwner, XattrFlags,
        copy_file_range, fchmod, fchown, fsetxattr, futimens, getxattr, ioctl_ficlone, linkat, lremovexattr,
        lsetxattr, readlinkat, seek,
    },
    io::Errno,
};
use std::{
    collections::HashMap,
    ffi::{CString, OsStr},
    fs::{self, File, Permissions},
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
    rc::Rc,
};

/// Files from this length on are copied by several processors, so many at a time.
const LONG: u64 = 256 << 10;
const TOGETHER: usize = 64;

/// Bytes that are copied at once, so that the disk begins with the first ones while the others are copied.
const STRETCH: u64 = 16 << 20;

/// Copies everything in the upper directory `from` into the empty directory `to`, overlayfs' marks among it: a
/// container's change becomes a layer while the container stays.
///
/// # Errors
/// [`ExecutorError::System`] with the path that cannot be read or made.
pub fn clone_layer(from: &Path, to: &Path) -> Result<(), ExecutorError> {
    let source = Source::at(from)?;
    let mut cloner = Cloner { long: Some(Vec::new()), ..Cloner::new(Marks::Kept) };
    cloner.directory(&source, to)?;
    cloner.copy_long_files()?;
    copy_metadata(&source, to, Marks::Kept)
}

/// Treatment of overlayfs' marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marks {
    /// They are copied: from one layer to another.
    Kept,
    /// They are left out: what is in a tree or comes out of it means nothing to overlayfs.
    Dropped,
}

/// Copies files, and links those that are one file with several names.
pub(super) struct Cloner {
    marks: Marks,
    /// Where the first copy of a file with several names is; `None` to make each name a file.
    links: Option<HashMap<(u64, u64), Target>>,
    /// Files that are there and empty, until there are enough for several processors; `None` to copy one after another.
    long: Option<Vec<LongFile>>,
}

/// A long file and its copy, which is empty.
struct LongFile {
    source: Source,
    copy: File,
}

/// Where a copy goes.
struct Target {
    path: PathBuf,
    /// The tree that it is in and its directory there, where `path` is good only as long as that is open.
    lasting: Option<(Rc<RootedTree>, Vec<u8>)>,
}

impl Target {
    /// Gives what is there the name `other` as well.
    fn link(&self, other: &Path) -> Result<(), ExecutorError> {
        let linked = match &self.lasting {
            None => linkat(CWD, &self.path, CWD, other, AtFlags::empty()),
            Some((tree, directory)) => {
                let name = self.path.file_name().unwrap_or_default();
                linkat(tree.open(directory)?, name, CWD, other, AtFlags::empty())
            }
        };
        linked.map_err(|errno| on("link", other)(errno.into()))
    }
}

impl Cloner {
    /// Names of one file in the source are names of one file in the copy.
    pub(super) fn new(marks: Marks) -> Self {
        Self { marks, links: Some(HashMap::new()), long: None }
    }

    /// Each name is a file of its own in the copy.
    pub(super) fn of_single_names(marks: Marks) -> Self {
        Self { marks, links: None, long: None }
    }

    /// True if files with several names were met.
    pub(super) fn has_links(&self) -> bool {
        self.links.as_ref().is_some_and(|links| !links.is_empty())
    }

    /// Copies what is in the directory `from` into the empty directory `to`.
    pub(super) fn directory(&mut self, from: &Source, to: &Path) -> Result<(), ExecutorError> {
        let (from, to) = (RootedTree::of(from)?, Rc::new(RootedTree::at(to.to_owned())?));
        // a list in place of a recursion: trees may be deeper than the stack
        let mut left = vec![Vec::new()];
        while let Some(path) = left.pop() {
            let Some(source) = from.source_if_there(&path)? else { continue };
            let (open, directory) = to.directory(&path)?;
            for name in source.names()? {
                let (Some(entry), target) = (source.entry(&name)?, directory.join(&name)) else { continue };
                if entry.metadata().is_dir() {
                    fs::create_dir(&target).map_err(on("mkdir", &target))?;
                    // once more when all is in it, unless it has gone until then
                    copy_metadata(&entry, &target, self.marks)?;
                    left.push(join(&path, name.as_bytes()));
                } else if self.marks == Marks::Kept || !entry.is_whiteout_device() {
                    let lasting = open.is_some().then(|| (Rc::clone(&to), path.clone()));
                    self.entry_of_tree(entry, Target { path: target, lasting })?;
                }
            }
            if !path.is_empty() {
                copy_metadata(&source, &directory, self.marks)?;
            }
        }
        Ok(())
    }

    fn entry_of_tree(&mut self, source: Source, target: Target) -> Result<(), ExecutorError> {
        let is_long = source.metadata().is_file() && source.metadata().len() >= LONG;
        if !is_long || self.long.is_none() {
            return self.copy(&source, target);
        }
        let copy = || new_file(&target.path).map_err(on("create", &target.path));
        if self.links_to_first(&source, &target)? {
            return Ok(());
        }
        let copy = copy()?;
        self.remember(&source, target);
        if let Some(long) = &mut self.long {
            long.push(LongFile { source, copy });
            if long.len() >= TOGETHER {
                return self.copy_long_files();
            }
        }
        Ok(())
    }

    /// Copies the files that were left for several processors.
    fn copy_long_files(&mut self) -> Result<(), ExecutorError> {
        let (files, marks) = (self.long.as_mut().map(std::mem::take).unwrap_or_default(), self.marks);
        Queue::of_long(files).drain(
            || (),
            |LongFile { source, copy }, _, _| {
                fill(&source, &copy).map_err(on("copy", source.shown()))?;
                copy_file_metadata(&source, &copy, marks)
            },
        )
    }

    /// Makes `target` another name of the copy of `source`, if there is one.
    fn links_to_first(&self, source: &Source, target: &Target) -> Result<bool, ExecutorError> {
        let Some(links) = self.links.as_ref().filter(|_| source.metadata().nlink() > 1) else {
            return Ok(false);
        };
        let first = links.get(&(source.metadata().dev(), source.metadata().ino()));
        first.map_or(Ok(false), |first| first.link(&target.path).map(|()| true))
    }

    /// Remembers where the copy of a file with several names is.
    fn remember(&mut self, source: &Source, target: Target) {
        if let Some(links) = self.links.as_mut().filter(|_| source.metadata().nlink() > 1) {
            links.insert((source.metadata().dev(), source.metadata().ino()), target);
        }
    }

    /// Makes `target` a copy of `source`, which is not a directory.
    pub(super) fn entry(&mut self, source: &Source, target: &Path) -> Result<(), ExecutorError> {
        self.copy(source, Target { path: target.to_owned(), lasting: None })
    }

    fn copy(&mut self, source: &Source, target: Target) -> Result<(), ExecutorError> {
        if self.links_to_first(source, &target)? {
            return Ok(());
        }
        if source.metadata().is_file() {
            let copy = new_file(&target.path).map_err(on("create", &target.path))?;
            fill(source, &copy).map_err(on("copy", source.shown()))?;
            copy_file_metadata(source, &copy, self.marks)?;
        } else {
            copy_special(source, &target.path)?;
            copy_metadata(source, &target.path, self.marks)?;
        }
        self.remember(source, target);
        Ok(())
    }
}

/// Makes `target` what `source` is: a link, a device or the like.
fn copy_special(source: &Source, target: &Path) -> Result<(), ExecutorError> {
    let kind = source.metadata().file_type();
    if kind.is_symlink() {
        let text = readlinkat(source.fd(), c"", Vec::new())
            .map_err(|errno| on("readlink", source.shown())(errno.into()))?;
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
    let metadata = source.metadata();
    let made = mknod(target, special, Mode::from_bits_truncate(metadata.mode()), metadata.rdev());
    made.map_err(|error| on("mknod", target)(error.into()))
}

fn new_file(path: &Path) -> io::Result<File> {
    File::options().write(true).create_new(true).open(path)
}

/// Gives the empty file `to` the content of `source`: shares the blocks where the file system can, else copies what is not a hole.
fn fill(source: &Source, mut to: &File) -> io::Result<()> {
    let size = source.metadata().len();
    if size == 0 {
        return Ok(());
    }
    let from = File::open(source.path())?;
    if ioctl_ficlone(to, &from).is_ok() {
        return Ok(());
    }
    let mut at = 0;
    while let Some((begin, end)) = data(&from, source, at)? {
        if begin != at {
            seek(&from, SeekFrom::Start(begin))?;
            seek(to, SeekFrom::Start(begin))?;
        }
        at = begin;
        while at < end {
            let stretch = (end - at).min(STRETCH);
            match copy_file_range(&from, None, to, None, usize::try_from(stretch).unwrap_or(usize::MAX)) {
                // it has become shorter
                Ok(0) => break,
                Ok(count) => {
                    if size >= LONG {
                        rbuild_sys::disk::begin_to_write(to, at, count as u64);
                    }
                    at += count as u64;
                }
                Err(Errno::INTR) => {}
                Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => {
                    io::copy(&mut io::Read::take(&from, end - at), &mut to)?;
                    break;
                }
                Err(errno) => return Err(errno.into()),
            }
        }
        if at == size {
            return Ok(());
        }
        at = end;
        seek(&from, SeekFrom::Start(at))?;
        seek(to, SeekFrom::Start(at))?;
    }
    to.set_len(size)
}

/// The first run of data of an open `file` at or after `at`; `None` when there are only holes up to the end. The place at which it
/// is read may have changed, unless the run begins at `at`.
fn data(file: &File, source: &Source, at: u64) -> io::Result<Option<(u64, u64)>> {
    let size = source.metadata().len();
    if at >= size {
        return Ok(None);
    }
    // nothing of it is a hole
    if source.metadata().blocks() * 512 >= size {
        return Ok(Some((at, size)));
    }
    let begin = match seek(file, SeekFrom::Data(at)) {
        Ok(begin) => begin,
        Err(Errno::NXIO) => return Ok(None),
        // the file system does not know of holes
        Err(Errno::INVAL) => return Ok(Some((at, size))),
        Err(errno) => return Err(errno.into()),
    };
    match seek(file, SeekFrom::Hole(begin)) {
        // it has become shorter
        Err(Errno::NXIO) => Ok(None),
        end => {
            seek(file, SeekFrom::Start(begin))?;
            Ok(Some((begin, end?)))
        }
    }
}

/// Gives `target` the owner, mode, attributes and times of `source`.
pub(super) fn copy_metadata(source: &Source, target: &Path, marks: Marks) -> Result<(), ExecutorError> {
    let metadata = source.metadata();
    let (uid, gid) = (Uid::from_raw(metadata.uid()), Gid::from_raw(metadata.gid()));
    fchownat(AT_FDCWD, target, Some(uid), Some(gid), nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW)
        .map_err(|error| on("chown", target)(error.into()))?;
    if !metadata.file_type().is_symlink() {
        let mode = Permissions::from_mode(metadata.mode() & 0o7777);
        fs::set_permissions(target, mode).map_err(on("chmod", target))?;
    }
    copy_attributes(source, target, marks)?;
    let accessed = TimeSpec::new(metadata.atime(), metadata.atime_nsec());
    let modified = TimeSpec::new(metadata.mtime(), metadata.mtime_nsec());
    utimensat(AT_FDCWD, target, &accessed, &modified, UtimensatFlags::NoFollowSymlink)
        .map_err(|error| on("set the times of", target)(error.into()))
}

/// The same for the open copy of a regular file.
fn copy_file_metadata(source: &Source, copy: &File, marks: Marks) -> Result<(), ExecutorError> {
    let metadata = source.metadata();
    let fail = |call| move |errno: Errno| on(call, source.shown())(errno.into());
    let (owner, group) = (FileOwner::from_raw(metadata.uid()), FileGroup::from_raw(metadata.gid()));
    fchown(copy, Some(owner), Some(group)).map_err(fail("chown"))?;
    fchmod(copy, rustix::fs::Mode::from_raw_mode(metadata.mode() & 0o7777)).map_err(fail("chmod"))?;
    for (name, value) in copied_attributes(source, marks)? {
        fsetxattr(copy, &name, &value, XattrFlags::empty()).map_err(fail("fsetxattr"))?;
    }
    let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps {
        last_access: time(metadata.atime(), metadata.atime_nsec()),
        last_modification: time(metadata.mtime(), metadata.mtime_nsec()),
    };
    futimens(copy, &times).map_err(fail("set the times of a copy of"))
}

fn copy_attributes(source: &Source, target: &Path, marks: Marks) -> Result<(), ExecutorError> {
    for (name, value) in copied_attributes(source, marks)? {
        lsetxattr(target, &name, &value, XattrFlags::empty())
            .map_err(|errno| on("lsetxattr", target)(errno.into()))?;
    }
    Ok(())
}

/// The extended attributes that a copy of `source` gets.
fn copied_attributes(source: &Source, marks: Marks) -> Result<Vec<(CString, Vec<u8>)>, ExecutorError> {
    let mut found = Vec::new();
    for name in source.attributes()? {
        let is_mark = [XattrNamespace::Trusted, XattrNamespace::User]
            .into_iter()
            .any(|namespace| name.to_bytes().starts_with(namespace.prefix().as_bytes()));
        if is_mark && marks == Marks::Dropped {
            continue;
        }
        let mut value = vec![0; ATTRIBUTES];
        match getxattr(source.path(), &name, &mut value) {
            Ok(length) => value.truncate(length),
            // it has gone
            Err(Errno::NODATA) => continue,
            Err(errno) => return Err(on("getxattr", source.shown())(errno.into())),
        }
        found.push((name, value));
    }
    Ok(found)
}

/// Removes all extended attributes of `target`, for others to take their place.
pub(super) fn remove_attributes(target: &Path) -> Result<(), ExecutorError> {
    for name in attributes(target).map_err(|errno| on("listxattr", target)(errno.into()))? {
        lremovexattr(target, &name).map_err(|errno| on("lremovexattr", target)(errno.into()))?;
    }
    Ok(())
}

/// Marks the directory of a layer as hiding the one below.
pub(super) fn make_opaque(directory: &Path, marks: XattrNamespace) -> Result<(), ExecutorError> {
    lsetxattr(directory, marks.opaque(), b"y", XattrFlags::empty())
        .map_err(|errno| on("lsetxattr", directory)(errno.into()))
}

/// Says in the directory of a layer that `name` is gone: by a device, or, on overlayfs, where none can be made, by the
/// attributes that overlayfs takes for one in its place.
pub(super) fn make_whiteout(
    directory: &Path,
    name: &OsStr,
    marks: XattrNamespace,
) -> Result<(), ExecutorError> {
    let path = directory.join(name);
    match mknod(&path, SFlag::S_IFCHR, Mode::empty(), 0) {
        Ok(()) => return Ok(()),
        Err(nix::errno::Errno::EPERM) => {}
        Err(errno) => return Err(on("mknod", &path)(errno.into())),
    }
    File::create_new(&path).map_err(on("create", &path))?;
    let fail = |errno: Errno| on("lsetxattr", &path)(errno.into());
    lsetxattr(&path, marks.whiteout(), b"y", XattrFlags::empty()).map_err(fail)?;
    match lsetxattr(directory, marks.opaque(), b"x", XattrFlags::CREATE) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(fail(errno)),
    }
}

/// Removes a file or a whole directory.
pub(super) fn remove(path: &Path) -> Result<(), ExecutorError> {
    let is_directory = fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
    let removed = if is_directory { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.map_err(on("remove", path))
}
