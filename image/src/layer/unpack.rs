//! Unpacking a layer tar into an overlayfs upper directory.
//!
//! Everything happens beneath one directory descriptor and never through a symbolic link, so that no tar, whatever its
//! names, reaches anything outside; links in an entry's name are followed before ([`crate::layer::links`]).
//! Directories get their owner, mode and times at the very end
//! ([`crate::layer::directories`]), when nothing is put into them any more.

use super::{
    attributes::{set_attributes, set_attributes_of_path, times},
    beneath::Beneath,
    directories::{Directories, Directory},
    entry_failure::{failed, owner, shown},
    entry_path::{EntryPath, Meaning},
    links::{follow, follow_to},
    note::Note,
    recipe::{LOST_DIRECTORY, RecipeWriter},
    whiteout::Marks,
};
use crate::{ImageError, error::EntryProblem};
use rbuild_archive::{ChunkReader, Entry, EntryKind, TarReader};
use rbuild_cache::Writer;
use rustix::{
    fs::{
        AtFlags, CWD, Dev, FileType, Gid, Mode, OFlags, Uid, fchmod, fchown, futimens, linkat, makedev,
        mkdirat, mknodat, openat, renameat, statat, symlinkat, unlinkat, utimensat,
    },
    io::Errno,
};
use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::FileExt,
    },
    path::{Path, PathBuf},
};

/// The outcome of unpacking, with the directories that are still to be finished.
#[derive(Debug)]
pub(crate) struct Unpacked {
    pub(crate) directories: Directories,
    pub(crate) notes: Vec<Note>,
    /// The recorded recipe, when one was asked for.
    pub(crate) recipe: Option<Vec<u8>>,
    /// The length of all regular files, in bytes.
    pub(crate) size_bytes: u64,
    /// The number of entries that are not directories, whiteouts included.
    pub(crate) files: u64,
}

/// A layer tar as it comes from the thread that reads it, its recipe written on the way.
pub(crate) type Tar = TarReader<ChunkReader<io::Error>, Option<RecipeWriter>>;

/// Unpacks all of `tar` into `fs`, an empty directory that only this process knows, in the store of `writer`.
pub(crate) fn unpack(fs: &Path, writer: &Writer, tar: Tar) -> Result<Unpacked, ImageError> {
    let mut unpacker = Unpacker {
        tree: Beneath::open(fs)?,
        tar,
        lost: fs.with_file_name(LOST_DIRECTORY),
        directories: Directories::new(writer),
        marks: Marks::of(writer),
        notes: Vec::new(),
        may_make_devices: *writer == Writer::Root,
        identity: Identity::of_process(),
        size_bytes: 0,
        files: 0,
    };
    while let Some(entry) = unpacker.tar.next_entry()? {
        let meaning = Meaning::of(&entry.name).map_err(|problem| ImageError::entry(&entry.name, problem))?;
        let Unpacker { tree, directories, .. } = &mut unpacker;
        match meaning {
            Meaning::Present(path) => {
                let path = follow_to(path, tree, directories)?;
                unpacker.present(&path, &entry)?;
            }
            Meaning::Gone(path) => {
                let path = follow_to(path, tree, directories)?;
                unpacker.gone(&path)?;
            }
            Meaning::Opaque(path) => {
                let path = follow(&path, tree, directories)?;
                unpacker.parent(&path)?;
                unpacker.directories.make_opaque(&path);
            }
            Meaning::Nothing => {}
        }
    }
    let recipe = unpacker.tar.finish()?.map(RecipeWriter::finish).transpose()?;
    Ok(Unpacked {
        directories: unpacker.directories,
        notes: unpacker.notes,
        recipe,
        size_bytes: unpacker.size_bytes,
        files: unpacker.files,
    })
}

/// The owner and the umask that the kernel gives to files this process makes.
struct Identity {
    uid: u32,
    gid: u32,
    umask: u32,
}

impl Identity {
    fn of_process() -> Self {
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

struct Unpacker {
    tree: Beneath,
    tar: Tar,
    lost: PathBuf,
    directories: Directories,
    marks: Marks,
    notes: Vec<Note>,
    /// In a user namespace the kernel makes none.
    may_make_devices: bool,
    identity: Identity,
    size_bytes: u64,
    files: u64,
}

impl Unpacker {
    fn present(&mut self, path: &EntryPath, entry: &Entry) -> Result<(), ImageError> {
        if entry.kind == EntryKind::Directory {
            return self.directory(path, entry);
        }
        if path.is_root() {
            return Err(ImageError::entry(&entry.name, EntryProblem::RootNotDirectory));
        }
        self.files += 1;
        let (parent, base) = path.split();
        let directory = self.parent(&parent)?;
        match entry.kind {
            EntryKind::File => return self.file(path, entry, &directory),
            EntryKind::Unknown(flag) => {
                return Err(ImageError::entry(&entry.name, EntryProblem::Kind { flag }));
            }
            EntryKind::HardLink => return self.hard_link(path, entry, &directory),
            EntryKind::Symlink => {
                self.make(path, || symlinkat(&*entry.link, &*directory, base), "make the link")?;
            }
            EntryKind::CharDevice | EntryKind::BlockDevice | EntryKind::Fifo => {
                if !self.node(path, entry, &directory)? {
                    return Ok(());
                }
            }
            EntryKind::Directory => {}
        }
        self.attributes_by_name(path, entry, &directory)
    }

    fn directory(&mut self, path: &EntryPath, entry: &Entry) -> Result<(), ImageError> {
        let mut hides_lower = false;
        if !path.is_root() && !self.directories.contains(path) {
            let (parent, base) = path.split();
            let directory = self.parent(&parent)?;
            match mkdirat(&*directory, base, Mode::RWXU) {
                Ok(()) => {}
                Err(Errno::EXIST) => {
                    hides_lower = self.replace(path, &directory, base)? == Replaced::Whiteout;
                    mkdirat(&*directory, base, Mode::RWXU)
                        .map_err(|e| failed(path, "make the directory", e))?;
                }
                Err(errno) => return Err(failed(path, "make the directory", errno)),
            }
        }
        self.directories.insert(
            path,
            Directory {
                mode: entry.mode,
                uid: entry.uid,
                gid: entry.gid,
                mtime: entry.mtime,
                attributes: entry.attributes.clone(),
            },
        );
        if hides_lower {
            self.directories.make_opaque(path);
        }
        Ok(())
    }

    fn file(&mut self, path: &EntryPath, entry: &Entry, parent: &OwnedFd) -> Result<(), ImageError> {
        let base = path.split().1.to_vec();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let created = entry.mode & 0o777;
        let mut file = None;
        self.make(
            path,
            || {
                file = Some(File::from(openat(parent, &*base, flags, Mode::from_raw_mode(created))?));
                Ok(())
            },
            "create",
        )?;
        let file = file.expect("a file that was made is open");
        match &entry.sparse {
            None => {
                self.tar.content_of(path.as_bytes(), |piece| {
                    write_all(&file, piece).map_err(|e| failed(path, "write", e))
                })??;
            }
            Some(map) => {
                let mut places = map.places();
                self.tar.content(|mut stored| {
                    while let Some((offset, piece)) = places.take(&mut stored) {
                        file.write_all_at(piece, offset).map_err(|source| {
                            let entry = shown(path);
                            ImageError::EntryIo { entry, action: "write", source }
                        })?;
                    }
                    Ok::<(), ImageError>(())
                })??;
                rustix::fs::ftruncate(&file, map.size()).map_err(|e| failed(path, "set the length of", e))?;
            }
        }
        self.size_bytes += entry.size();
        if (entry.uid, entry.gid) != (self.identity.uid, self.identity.gid) {
            let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
            fchown(&file, Some(uid), Some(gid)).map_err(|e| owner(path, entry, e))?;
        }
        if entry.mode > 0o777 || entry.mode & self.identity.umask != 0 {
            fchmod(&file, Mode::from_raw_mode(entry.mode)).map_err(|e| failed(path, "set the mode of", e))?;
        }
        // after chown, which drops security.capability
        set_attributes(file.as_fd(), path, &entry.attributes, &mut self.notes)?;
        futimens(&file, &times(entry.mtime)).map_err(|e| failed(path, "set the times of", e))
    }

    fn hard_link(&mut self, path: &EntryPath, entry: &Entry, parent: &OwnedFd) -> Result<(), ImageError> {
        let outside = |_| ImageError::entry(&entry.name, EntryProblem::LinkOutside);
        let Meaning::Present(target) = Meaning::of(&entry.link).map_err(outside)? else {
            return Err(ImageError::entry(&entry.name, EntryProblem::LinkOutside));
        };
        let target = follow_to(target, &mut self.tree, &self.directories)?;
        if target == *path {
            return Ok(());
        }
        let missing = || ImageError::entry(&entry.name, EntryProblem::LinkTargetMissing);
        let (target_parent, target_base) = target.split();
        let target_directory = self.tree.directory(&target_parent)?.ok_or_else(missing)?;
        // looked at before anything is replaced for its sake
        match statat(&*target_directory, target_base, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat)
                if !FileType::from_raw_mode(stat.st_mode).is_dir()
                    && !self.marks.is_whiteout(&target_directory, target_base, &stat) => {}
            Ok(_) | Err(Errno::NOENT) => return Err(missing()),
            Err(errno) => return Err(failed(&target, "stat", errno)),
        }
        let base = path.split().1.to_vec();
        let link = || linkat(&*target_directory, target_base, parent, &*base, AtFlags::empty());
        self.make(path, link, "link")
    }

    /// Makes a device or FIFO. `false` when a device cannot be made here, because this is a user namespace.
    fn node(&mut self, path: &EntryPath, entry: &Entry, parent: &OwnedFd) -> Result<bool, ImageError> {
        let base = path.split().1.to_vec();
        let (kind, device): (FileType, Dev) = match entry.kind {
            EntryKind::CharDevice => (FileType::CharacterDevice, makedev(entry.device.0, entry.device.1)),
            EntryKind::BlockDevice => (FileType::BlockDevice, makedev(entry.device.0, entry.device.1)),
            _ => (FileType::Fifo, 0),
        };
        if kind == FileType::CharacterDevice && device == 0 {
            // in the tree it would be a whiteout, which only `.wh.` names may make
            return Err(ImageError::entry(&entry.name, EntryProblem::WhiteoutDevice));
        }
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        let made = self.make(path, || mknodat(parent, &*base, kind, mode, device), "make the node");
        match made {
            Err(ImageError::EntryIo { source, .. })
                if source.raw_os_error() == Some(Errno::PERM.raw_os_error())
                    && kind != FileType::Fifo
                    && !self.may_make_devices =>
            {
                self.notes.push(Note::DeviceSkipped { entry: shown(path) });
                Ok(false)
            }
            other => other.map(|()| true),
        }
    }

    /// Owner, mode, attributes and times of what has no descriptor: links, devices, FIFOs.
    fn attributes_by_name(
        &mut self,
        path: &EntryPath,
        entry: &Entry,
        parent: &OwnedFd,
    ) -> Result<(), ImageError> {
        let base = path.split().1;
        let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        if (entry.uid, entry.gid) != (self.identity.uid, self.identity.gid) {
            rustix::fs::chownat(parent, base, Some(uid), Some(gid), nofollow)
                .map_err(|e| owner(path, entry, e))?;
        }
        if entry.kind != EntryKind::Symlink && (entry.mode > 0o777 || entry.mode & self.identity.umask != 0) {
            // it is what was just made, not a link: following is harmless
            rustix::fs::chmodat(parent, base, Mode::from_raw_mode(entry.mode), AtFlags::empty())
                .map_err(|e| failed(path, "set the mode of", e))?;
        }
        if !entry.attributes.is_empty() {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let node = openat(parent, base, flags, Mode::empty()).map_err(|e| failed(path, "open", e))?;
            set_attributes_of_path(&node, path, &entry.attributes, &mut self.notes)?;
        }
        utimensat(parent, base, &times(entry.mtime), nofollow)
            .map_err(|e| failed(path, "set the times of", e))
    }

    /// Records that `path` is gone from the layers below. What this layer itself has there stays (OCI image
    /// specification, layer.md: a whiteout applies to lower layers only).
    fn gone(&mut self, path: &EntryPath) -> Result<(), ImageError> {
        let (parent, base) = path.split();
        let directory = self.parent(&parent)?;
        match self.marks.make_whiteout(&directory, base) {
            Ok(()) => {
                self.files += 1;
                Ok(())
            }
            Err(Errno::EXIST) => {
                if self.directories.contains(path) {
                    self.directories.make_opaque(path);
                }
                Ok(())
            }
            Err(errno) => Err(failed(path, "make the whiteout of", errno)),
        }
    }

    /// The directory `path`; it and those above it are made when no entry has named them yet.
    fn parent(&mut self, path: &EntryPath) -> Result<std::rc::Rc<OwnedFd>, ImageError> {
        if let Some(directory) = self.tree.directory(path)? {
            return Ok(directory);
        }
        for ancestor in path.ancestry().skip(1) {
            let ancestor = EntryPath::clean(ancestor).expect("part of a clean path");
            if self.directories.contains(&ancestor) {
                continue;
            }
            let (parent, base) = ancestor.split();
            let directory =
                self.tree.directory(&parent)?.ok_or_else(|| failed(path, "open", Errno::NOENT))?;
            match mkdirat(&*directory, base, Mode::RWXU) {
                Ok(()) => self.directories.imply(&ancestor),
                // a directory would be known
                Err(Errno::EXIST) => {
                    let replaced = self.replace_whiteout(&ancestor, &directory, base)?;
                    mkdirat(&*directory, base, Mode::RWXU)
                        .map_err(|e| failed(&ancestor, "make the directory", e))?;
                    self.directories.imply(&ancestor);
                    if replaced == Replaced::Whiteout {
                        self.directories.make_opaque(&ancestor);
                    }
                }
                Err(errno) => return Err(failed(&ancestor, "make the directory", errno)),
            }
        }
        self.tree.directory(path)?.ok_or_else(|| failed(path, "open", Errno::NOENT))
    }

    /// Runs `make`; when something is in its place, that is removed and `make` runs again.
    fn make(
        &mut self,
        path: &EntryPath,
        mut make: impl FnMut() -> Result<(), Errno>,
        action: &'static str,
    ) -> Result<(), ImageError> {
        match make() {
            Err(Errno::EXIST) => {
                let (parent, base) = path.split();
                let directory = self.parent(&parent)?;
                self.replace(path, &directory, base)?;
                make().map_err(|e| failed(path, action, e))
            }
            made => made.map_err(|e| failed(path, action, e)),
        }
    }

    /// Handles a parent that is not a directory: a whiteout makes room for one, a file is refused.
    fn replace_whiteout(
        &mut self,
        path: &EntryPath,
        parent: &OwnedFd,
        base: &[u8],
    ) -> Result<Replaced, ImageError> {
        let stat = statat(parent, base, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| failed(path, "stat", e))?;
        if self.marks.is_whiteout(parent, base, &stat) {
            return self.replace(path, parent, base);
        }
        Err(ImageError::entry(path.as_bytes(), EntryProblem::ParentNotDirectory))
    }

    /// Removes what stands at `path`, keeping contents that the recipe needs.
    fn replace(&mut self, path: &EntryPath, parent: &OwnedFd, base: &[u8]) -> Result<Replaced, ImageError> {
        let stat = statat(parent, base, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| failed(path, "stat", e))?;
        self.files = self.files.saturating_sub(1);
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind.is_dir() {
            self.replace_directory(path, parent, base)?;
            return Ok(Replaced::Other);
        }
        let is_whiteout = self.marks.is_whiteout(parent, base, &stat);
        if kind.is_file() && !is_whiteout && self.lose(path, parent.as_fd(), base)? {
            return Ok(Replaced::Other);
        }
        unlinkat(parent, base, AtFlags::empty()).map_err(|e| failed(path, "remove", e))?;
        Ok(if is_whiteout { Replaced::Whiteout } else { Replaced::Other })
    }

    fn replace_directory(
        &mut self,
        path: &EntryPath,
        parent: &OwnedFd,
        base: &[u8],
    ) -> Result<(), ImageError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = openat(parent, base, flags, Mode::empty()).map_err(|e| failed(path, "open", e))?;
        let entries = rustix::fs::Dir::read_from(&directory).map_err(|e| failed(path, "read", e))?;
        for entry in entries {
            let entry = entry.map_err(|e| failed(path, "read", e))?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                self.replace(&path.join(name), &directory, name)?;
            }
        }
        self.tree.forget();
        self.directories.remove(path);
        unlinkat(parent, base, AtFlags::REMOVEDIR).map_err(|e| failed(path, "remove", e))
    }

    /// Moves a file whose content the recipe names out of the tree; `false` when it names none.
    fn lose(&mut self, path: &EntryPath, parent: BorrowedFd<'_>, base: &[u8]) -> Result<bool, ImageError> {
        let Some(number) = self.tar.recorder().as_mut().and_then(|recipe| recipe.lose(path.as_bytes()))
        else {
            return Ok(false);
        };
        if number == 0 {
            rbuild_cache::make_dirs_with_mode(&self.lost, 0o700).map_err(|source| ImageError::LayerFile {
                action: "create",
                path: self.lost.clone(),
                source,
            })?;
        }
        let lost = self.lost.join(number.to_string());
        renameat(parent, base, CWD, &lost).map_err(|e| failed(path, "move away", e))?;
        Ok(true)
    }
}

/// The kind of file that stood in the way of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Replaced {
    Whiteout,
    Other,
}

fn write_all(file: impl AsFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(&file, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
