//! Copying files as they are: modes, owners, times, extended attributes, links, devices, holes.
//!
//! What is copied may be a container's, which may still run and change it. So everything is opened once, by its name in a
//! directory that is open and without following a link, and then only that file is looked at: nothing that is put in the
//! way leads out. What has gone since its name was read was not there. What it is copied to belongs to rbuild alone.

use crate::{ExecutorError, workers::Queue};
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
        AtFlags, CWD, OFlags, SeekFrom, XattrFlags, copy_file_range, getxattr, ioctl_ficlone, linkat,
        listxattr, lremovexattr, lsetxattr, openat, readlinkat, seek,
    },
    io::Errno,
};
use std::{
    collections::HashMap,
    ffi::{CString, OsStr, OsString},
    fs::{self, File, Metadata, Permissions},
    io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::{
            ffi::OsStrExt,
            fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink},
        },
    },
    path::{Path, PathBuf},
};

/// The longest list of attribute names, and the longest value, in bytes (xattr(7)).
const ATTRIBUTES: usize = 64 << 10;

/// Files from this length on are copied by several processors, so many at a time.
const LONG: u64 = 256 << 10;
const TOGETHER: usize = 64;

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

/// One file of whatever kind, held open by `O_PATH`.
pub(super) struct Source {
    file: File,
    metadata: Metadata,
    /// Leads to the open file, for calls that take paths.
    path: PathBuf,
    /// Where it was found, for messages.
    shown: PathBuf,
}

impl Source {
    /// Opens `name` in `directory`; messages call it `shown`. `None` when it is not there.
    fn open(directory: impl AsFd, name: &OsStr, shown: PathBuf) -> Result<Option<Self>, ExecutorError> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match openat(directory, name, flags, rustix::fs::Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(on("open", &shown)(errno.into())),
        };
        Self::opened(file, shown).map(Some)
    }

    /// A file that is open already.
    pub(super) fn opened(file: OwnedFd, shown: PathBuf) -> Result<Self, ExecutorError> {
        let file = File::from(file);
        let metadata = file.metadata().map_err(on("stat", &shown))?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        Ok(Self { file, metadata, path, shown })
    }

    /// Opens a directory of rbuild's own.
    pub(super) fn at(path: &Path) -> Result<Self, ExecutorError> {
        let found = Self::open(CWD, path.as_os_str(), path.to_owned())?;
        found.ok_or_else(|| on("open", path)(Errno::NOENT.into()))
    }

    /// Opens the entry `name` of this directory; `None` when it has gone.
    pub(super) fn entry(&self, name: &OsStr) -> Result<Option<Self>, ExecutorError> {
        Self::open(&self.file, name, self.shown.join(name))
    }

    /// Gives the entry `name` of this directory the name `to` as well.
    pub(super) fn link(&self, name: &OsStr, to: &Path) -> Result<(), Errno> {
        linkat(&self.file, name, CWD, to, AtFlags::empty())
    }

    /// Its metadata when it was opened.
    pub(super) fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The names in this directory; none when it has been removed.
    pub(super) fn names(&self) -> Result<Vec<OsString>, ExecutorError> {
        let read = || fs::read_dir(&self.path)?.map(|entry| entry.map(|entry| entry.file_name())).collect();
        match read() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            names => names.map_err(on("read", &self.shown)),
        }
    }

    /// True if it is a device that overlayfs takes for a whiteout.
    pub(super) fn is_whiteout_device(&self) -> bool {
        self.metadata.file_type().is_char_device() && self.metadata.rdev() == 0
    }

    /// True if it says, in a layer, that its name is gone.
    pub(super) fn is_whiteout(&self, marks: XattrNamespace) -> Result<bool, ExecutorError> {
        let may_be_marked = self.metadata.is_file() && self.metadata.len() == 0;
        Ok(self.is_whiteout_device() || (may_be_marked && self.attribute(marks.whiteout())?.is_some()))
    }

    /// True if this directory of a layer hides the one below.
    pub(super) fn is_opaque(&self, marks: XattrNamespace) -> Result<bool, ExecutorError> {
        Ok(self.attribute(marks.opaque())?.as_deref() == Some(b"y"))
    }

    fn attribute(&self, name: &str) -> Result<Option<Vec<u8>>, ExecutorError> {
        let mut value = vec![0; 16];
        match getxattr(&self.path, name, &mut value) {
            Ok(length) => {
                value.truncate(length);
                Ok(Some(value))
            }
            Err(Errno::NODATA | Errno::NOTSUP) => Ok(None),
            Err(errno) => Err(on("getxattr", &self.shown)(errno.into())),
        }
    }

    /// The names of its extended attributes.
    fn attributes(&self) -> Result<Vec<CString>, ExecutorError> {
        // the path is a link to the open file, and that is not followed any further
        attributes(&self.path).map_err(|errno| on("listxattr", &self.shown)(errno.into()))
    }
}

/// Copies files, and links those that are one file with several names.
pub(super) struct Cloner {
    marks: Marks,
    /// Where the first copy of a file with several names is; `None` to make each name a file.
    links: Option<HashMap<(u64, u64), PathBuf>>,
    /// Files that are there and empty, until there are enough for several processors; `None` to copy one after another.
    long: Option<Vec<LongFile>>,
}

/// A long file and its copy, which is empty.
struct LongFile {
    source: Source,
    copy: File,
    target: PathBuf,
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
        for name in from.names()? {
            let (Some(source), target) = (from.entry(&name)?, to.join(&name)) else { continue };
            if source.metadata.is_dir() {
                fs::create_dir(&target).map_err(on("mkdir", &target))?;
                self.directory(&source, &target)?;
                copy_metadata(&source, &target, self.marks)?;
            } else if self.marks == Marks::Kept || !source.is_whiteout_device() {
                self.entry_of_tree(source, target)?;
            }
        }
        Ok(())
    }

    fn entry_of_tree(&mut self, source: Source, target: PathBuf) -> Result<(), ExecutorError> {
        let is_long = source.metadata.is_file() && source.metadata.len() >= LONG;
        if !is_long || self.long.is_none() {
            return self.entry(&source, &target);
        }
        if self.linked(&source, &target)? {
            return Ok(());
        }
        let copy = new_file(&target).map_err(on("create", &target))?;
        if let Some(long) = &mut self.long {
            long.push(LongFile { source, copy, target });
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
            |LongFile { source, copy, target }, _, _| {
                fill(&source, &copy).map_err(on("copy", &source.shown))?;
                copy_metadata(&source, &target, marks)
            },
        )
    }

    /// Makes `target` another name of the copy of `source`, if there is one; otherwise it is going to be the copy.
    fn linked(&mut self, source: &Source, target: &Path) -> Result<bool, ExecutorError> {
        let metadata = &source.metadata;
        let Some(links) = self.links.as_mut().filter(|_| metadata.nlink() > 1) else { return Ok(false) };
        let file = (metadata.dev(), metadata.ino());
        if let Some(first) = links.get(&file) {
            return fs::hard_link(first, target).map(|()| true).map_err(on("link", target));
        }
        links.insert(file, target.to_owned());
        Ok(false)
    }

    /// Makes `target` a copy of `source`, which is not a directory.
    pub(super) fn entry(&mut self, source: &Source, target: &Path) -> Result<(), ExecutorError> {
        if self.linked(source, target)? {
            return Ok(());
        }
        copy_content(source, target)?;
        copy_metadata(source, target, self.marks)
    }
}

fn copy_content(source: &Source, target: &Path) -> Result<(), ExecutorError> {
    let kind = source.metadata.file_type();
    if kind.is_file() {
        return copy_file(source, target).map_err(on("copy", &source.shown));
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

fn copy_file(source: &Source, target: &Path) -> io::Result<()> {
    fill(source, &new_file(target)?)
}

fn new_file(path: &Path) -> io::Result<File> {
    File::options().write(true).create_new(true).open(path)
}

/// Gives the empty file `to` the content of `source`: shares the blocks where the file system can, else copies what is not a hole.
fn fill(source: &Source, mut to: &File) -> io::Result<()> {
    let from = File::open(&source.path)?;
    let size = source.metadata.len();
    if size == 0 || ioctl_ficlone(to, &from).is_ok() {
        return Ok(());
    }
    let mut at = 0;
    while let Some((begin, end)) = data(&from, at, size)? {
        seek(&from, SeekFrom::Start(begin))?;
        seek(to, SeekFrom::Start(begin))?;
        at = end;
        let mut left = usize::try_from(end - begin).unwrap_or(usize::MAX);
        while left > 0 {
            match copy_file_range(&from, None, to, None, left) {
                Ok(0) => break,
                Ok(count) => left -= count,
                Err(Errno::INTR) => {}
                Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => {
                    io::copy(&mut io::Read::take(&from, left as u64), &mut to)?;
                    break;
                }
                Err(errno) => return Err(errno.into()),
            }
        }
    }
    to.set_len(size)
}

/// The first run of data at or after `at`; `None` when there are only holes up to the end.
fn data(file: &File, at: u64, size: u64) -> io::Result<Option<(u64, u64)>> {
    if at >= size {
        return Ok(None);
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
        end => Ok(Some((begin, end?))),
    }
}

/// Gives `target` the owner, mode, attributes and times of `source`.
pub(super) fn copy_metadata(source: &Source, target: &Path, marks: Marks) -> Result<(), ExecutorError> {
    let metadata = &source.metadata;
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

fn copy_attributes(source: &Source, target: &Path, marks: Marks) -> Result<(), ExecutorError> {
    let names = source.attributes()?;
    let mut value = if names.is_empty() { Vec::new() } else { vec![0; ATTRIBUTES] };
    for name in names {
        let is_mark = [XattrNamespace::Trusted, XattrNamespace::User]
            .into_iter()
            .any(|namespace| name.to_bytes().starts_with(namespace.prefix().as_bytes()));
        if is_mark && marks == Marks::Dropped {
            continue;
        }
        let length = match getxattr(&source.path, &name, &mut value) {
            Ok(length) => length,
            // it has gone
            Err(Errno::NODATA) => continue,
            Err(errno) => return Err(on("getxattr", &source.shown)(errno.into())),
        };
        lsetxattr(target, &name, &value[..length], XattrFlags::empty())
            .map_err(|errno| on("lsetxattr", target)(errno.into()))?;
    }
    Ok(())
}

/// Removes all extended attributes of `target`, for others to take their place.
pub(super) fn remove_attributes(target: &Path) -> Result<(), ExecutorError> {
    for name in attributes(target).map_err(|errno| on("listxattr", target)(errno.into()))? {
        lremovexattr(target, &name).map_err(|errno| on("lremovexattr", target)(errno.into()))?;
    }
    Ok(())
}

fn attributes(path: &Path) -> Result<Vec<CString>, Errno> {
    // nearly no file has any: ask with a small buffer on the stack first
    let (mut small, mut large) = ([0_u8; 512], Vec::new());
    let names: &[u8] = match listxattr(path, &mut small) {
        Ok(length) => &small[..length],
        Err(Errno::NOTSUP) => &[],
        Err(Errno::RANGE) => {
            large.resize(ATTRIBUTES, 0);
            let length = listxattr(path, &mut large)?;
            &large[..length]
        }
        Err(errno) => return Err(errno),
    };
    let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    Ok(names.map(|name| CString::new(name).expect("it was split at NUL bytes")).collect())
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

/// Names the call and the path of a failure.
pub(super) fn on<'a>(call: &'static str, path: &'a Path) -> impl Fn(io::Error) -> ExecutorError + 'a {
    move |source| ExecutorError::system(call, path.as_os_str().as_encoded_bytes(), source)
}
