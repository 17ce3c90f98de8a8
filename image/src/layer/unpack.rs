//! Unpacking a layer tar into an overlayfs upper directory.
//!
//! Everything happens beneath one directory descriptor and never through a symbolic link, so that no tar, whatever its
//! names, reaches anything outside; links in an entry's name are followed before ([`crate::layer::links`]).
//! Directories get their owner, mode and times at the very end
//! ([`crate::layer::directories`]), when nothing is put into them any more. How an entry becomes a file is
//! `rbuild-archive`'s.

use super::{
    attributes::attribute_missing,
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
use rbuild_archive::{
    Action, ArchiveError, Birth, ChunkReader, Entry, EntryKind, LinkSource, Metadata, Refusal, Site,
    TarReader, Tree, extract,
};
use rbuild_cache::Writer;
use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, mkdirat, openat, renameat, statat, unlinkat},
    io::Errno,
};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    rc::Rc,
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
pub(crate) fn unpack(fs: &Path, writer: &Writer, mut tar: Tar) -> Result<Unpacked, ImageError> {
    let mut unpacker = Unpacker {
        tree: Beneath::open(fs)?,
        lost: fs.with_file_name(LOST_DIRECTORY),
        directories: Directories::new(writer),
        marks: Marks::of(writer),
        notes: Vec::new(),
        may_make_devices: *writer == Writer::Root,
        birth: Birth::of_process(),
        size_bytes: 0,
        files: 0,
    };
    extract(&mut tar, &mut unpacker)?;
    let recipe = tar.finish()?.map(RecipeWriter::finish).transpose()?;
    Ok(Unpacked {
        directories: unpacker.directories,
        notes: unpacker.notes,
        recipe,
        size_bytes: unpacker.size_bytes,
        files: unpacker.files,
    })
}

struct Unpacker {
    tree: Beneath,
    lost: PathBuf,
    directories: Directories,
    marks: Marks,
    notes: Vec<Note>,
    /// In a user namespace the kernel makes none.
    may_make_devices: bool,
    birth: Birth,
    size_bytes: u64,
    files: u64,
}

/// What keeps the bytes of the tar, when they are kept.
type Recipe = Option<RecipeWriter>;

impl Tree for Unpacker {
    type Error = ImageError;
    type Path = EntryPath;
    type Recorder = Recipe;

    fn path(&mut self, entry: &Entry, recipe: &mut Recipe) -> Result<Option<EntryPath>, ImageError> {
        let meaning = Meaning::of(&entry.name).map_err(|problem| ImageError::entry(&entry.name, problem))?;
        let Self { tree, directories, .. } = self;
        match meaning {
            Meaning::Present(path) => {
                let path = follow_to(path, tree, directories)?;
                if path.is_root() && entry.kind != EntryKind::Directory {
                    return Err(ImageError::entry(&entry.name, EntryProblem::RootNotDirectory));
                }
                return Ok(Some(path));
            }
            Meaning::Gone(path) => {
                let path = follow_to(path, tree, directories)?;
                self.gone(&path, recipe)?;
            }
            Meaning::Opaque(path) => {
                let path = follow(&path, tree, directories)?;
                self.parent(&path, recipe)?;
                self.directories.make_opaque(&path);
            }
            Meaning::Nothing => {}
        }
        Ok(None)
    }

    fn directory(&mut self, path: EntryPath, entry: &Entry, recipe: &mut Recipe) -> Result<(), ImageError> {
        let path = &path;
        let mut hides_lower = false;
        if !path.is_root() && !self.directories.contains(path) {
            let (parent, base) = path.split();
            let directory = self.parent(&parent, recipe)?;
            match mkdirat(&*directory, base, Mode::RWXU) {
                Ok(()) => {}
                Err(Errno::EXIST) => {
                    hides_lower = self.replace(path, (&directory, base), recipe)? == Replaced::Whiteout;
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

    fn site(
        &mut self,
        path: EntryPath,
        entry: &Entry,
        recipe: &mut Recipe,
    ) -> Result<Site<EntryPath>, ImageError> {
        self.files += 1;
        if entry.kind == EntryKind::File {
            self.size_bytes += entry.size();
        }
        let directory = self.parent(&path.split().0, recipe)?;
        Ok(Site { directory, path, birth: self.birth })
    }

    fn make_room(&mut self, site: &Site<EntryPath>, recipe: &mut Recipe) -> Result<(), ImageError> {
        self.replace(&site.path, (&site.directory, site.name()), recipe).map(drop)
    }

    fn link_source(
        &mut self,
        site: &Site<EntryPath>,
        entry: &Entry,
    ) -> Result<Option<LinkSource>, ImageError> {
        let outside = |_| ImageError::entry(&entry.name, EntryProblem::LinkOutside);
        let Meaning::Present(target) = Meaning::of(&entry.link).map_err(outside)? else {
            return Err(ImageError::entry(&entry.name, EntryProblem::LinkOutside));
        };
        let target = follow_to(target, &mut self.tree, &self.directories)?;
        let missing = || ImageError::entry(&entry.name, EntryProblem::LinkTargetMissing);
        let (parent, base) = target.split();
        let directory = self.tree.directory(&parent)?.ok_or_else(missing)?;
        // looked at before anything is replaced for its sake
        match statat(&*directory, base, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat)
                if !FileType::from_raw_mode(stat.st_mode).is_dir()
                    && !self.marks.is_whiteout(&directory, base, &stat) =>
            {
                let source = LinkSource { directory, name: base.to_vec() };
                Ok((target != site.path).then_some(source))
            }
            Ok(_) | Err(Errno::NOENT) => Err(missing()),
            Err(errno) => Err(failed(&target, "stat", errno)),
        }
    }

    fn metadata(&self, entry: &Entry) -> Metadata {
        let Entry { uid, gid, mode, mtime, .. } = *entry;
        Metadata { uid, gid, mode, mtime, atime: mtime }
    }

    fn go_on(&self) -> Result<(), ImageError> {
        Ok(())
    }

    fn without_attribute(
        &mut self,
        site: &Site<EntryPath>,
        name: &str,
        (file, errno): (BorrowedFd<'_>, Errno),
    ) -> Result<(), ImageError> {
        attribute_missing((errno, file), &site.path, name, &mut self.notes)
    }

    fn without_node(
        &mut self,
        site: &Site<EntryPath>,
        entry: &Entry,
        errno: Errno,
    ) -> Result<(), ImageError> {
        if errno == Errno::PERM && entry.kind != EntryKind::Fifo && !self.may_make_devices {
            self.notes.push(Note::DeviceSkipped { entry: shown(&site.path) });
            return Ok(());
        }
        Err(failed(&site.path, "make the node", errno))
    }

    fn failure(
        &self,
        site: &Site<EntryPath>,
        entry: &Entry,
        (action, source): (Action, io::Error),
    ) -> ImageError {
        let action = match action {
            Action::Create => "create",
            Action::MakeLink => "make the link",
            Action::Link => "link",
            Action::Write => "write",
            Action::SetLength => "set the length of",
            Action::SetOwner => return owner(&site.path, entry, source),
            Action::SetMode => "set the mode of",
            Action::SetTimes => "set the times of",
            Action::Open => "open",
        };
        ImageError::EntryIo { entry: shown(&site.path), action, source }
    }

    fn refusal(&self, entry: &Entry, reason: Refusal) -> ImageError {
        let problem = match reason {
            Refusal::Kind(flag) => EntryProblem::Kind { flag },
            // in the tree it would be a whiteout, which only `.wh.` names may make
            Refusal::Whiteout => EntryProblem::WhiteoutDevice,
        };
        ImageError::entry(&entry.name, problem)
    }

    fn damaged(&self, error: ArchiveError) -> ImageError {
        error.into()
    }
}

impl Unpacker {
    /// Records that `path` is gone from the layers below. What this layer itself has there stays (OCI image
    /// specification, layer.md: a whiteout applies to lower layers only).
    fn gone(&mut self, path: &EntryPath, recipe: &mut Recipe) -> Result<(), ImageError> {
        let (parent, base) = path.split();
        let directory = self.parent(&parent, recipe)?;
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
    fn parent(&mut self, path: &EntryPath, recipe: &mut Recipe) -> Result<Rc<OwnedFd>, ImageError> {
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
                    let replaced = self.replace_whiteout(&ancestor, (&directory, base), recipe)?;
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

    /// Handles a parent that is not a directory: a whiteout makes room for one, a file is refused.
    fn replace_whiteout(
        &mut self,
        path: &EntryPath,
        (parent, base): (&OwnedFd, &[u8]),
        recipe: &mut Recipe,
    ) -> Result<Replaced, ImageError> {
        let stat = statat(parent, base, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| failed(path, "stat", e))?;
        if self.marks.is_whiteout(parent, base, &stat) {
            return self.replace(path, (parent, base), recipe);
        }
        Err(ImageError::entry(path.as_bytes(), EntryProblem::ParentNotDirectory))
    }

    /// Removes what stands at `path`, keeping contents that the recipe needs.
    fn replace(
        &mut self,
        path: &EntryPath,
        (parent, base): (&OwnedFd, &[u8]),
        recipe: &mut Recipe,
    ) -> Result<Replaced, ImageError> {
        let stat = statat(parent, base, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| failed(path, "stat", e))?;
        self.files = self.files.saturating_sub(1);
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind.is_dir() {
            self.replace_directory(path, (parent, base), recipe)?;
            return Ok(Replaced::Other);
        }
        let is_whiteout = self.marks.is_whiteout(parent, base, &stat);
        if kind.is_file() && !is_whiteout && self.lose(path, (parent.as_fd(), base), recipe)? {
            return Ok(Replaced::Other);
        }
        unlinkat(parent, base, AtFlags::empty()).map_err(|e| failed(path, "remove", e))?;
        Ok(if is_whiteout { Replaced::Whiteout } else { Replaced::Other })
    }

    fn replace_directory(
        &mut self,
        path: &EntryPath,
        (parent, base): (&OwnedFd, &[u8]),
        recipe: &mut Recipe,
    ) -> Result<(), ImageError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = openat(parent, base, flags, Mode::empty()).map_err(|e| failed(path, "open", e))?;
        let entries = rustix::fs::Dir::read_from(&directory).map_err(|e| failed(path, "read", e))?;
        for entry in entries {
            let entry = entry.map_err(|e| failed(path, "read", e))?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                self.replace(&path.join(name), (&directory, name), recipe)?;
            }
        }
        self.tree.forget();
        self.directories.remove(path);
        unlinkat(parent, base, AtFlags::REMOVEDIR).map_err(|e| failed(path, "remove", e))
    }

    /// Moves a file whose content the recipe names out of the tree; `false` when it names none.
    fn lose(
        &mut self,
        path: &EntryPath,
        (parent, base): (BorrowedFd<'_>, &[u8]),
        recipe: &mut Recipe,
    ) -> Result<bool, ImageError> {
        let Some(number) = recipe.as_mut().and_then(|recipe| recipe.lose(path.as_bytes())) else {
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
