//! The directories of a layer being unpacked: their owners, modes, attributes and times are set when everything is in
//! them, deepest first.
//!
//! A tar may put a file into a directory it never mentions. Such an implied directory must look as the layers below
//! have it, or changing nothing but a file in `/usr` would change the mode of `/usr`. The root is implied too: the
//! topmost layer's root directory is the image's.

use super::{
    attributes::{set_attributes, times},
    beneath::Beneath,
    entry_failure::{failed, shown},
    entry_path::EntryPath,
    note::Note,
    whiteout::Marks,
};
use crate::ImageError;
use rbuild_archive::Time;
use rbuild_cache::Writer;
use rustix::{
    fs::{
        AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Uid, XattrFlags, fchmod, fchown, fgetxattr,
        fsetxattr, futimens, openat2, statat,
    },
    io::Errno,
};
use std::{
    collections::BTreeMap,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

/// A directory's metadata.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Time,
    pub(crate) attributes: Vec<(String, Vec<u8>)>,
}

/// The facts known about one directory.
#[derive(Clone, Debug, Default)]
struct Known {
    /// `None` while it is only implied.
    given: Option<Directory>,
    opaque: bool,
}

/// All directories of a layer.
#[derive(Debug)]
pub(crate) struct Directories {
    known: BTreeMap<EntryPath, Known>,
    /// The extended attribute of those that hide what is below them.
    opaque: &'static str,
}

impl Directories {
    /// Nothing but the root, in a layer of `writer`.
    pub(crate) fn new(writer: &Writer) -> Self {
        let known = BTreeMap::from([(EntryPath::root(), Known::default())]);
        Self { known, opaque: Marks::of(writer).opaque }
    }

    pub(crate) fn contains(&self, path: &EntryPath) -> bool {
        self.known.contains_key(path)
    }

    /// Adds a directory, or new metadata for one that is there.
    pub(crate) fn insert(&mut self, path: &EntryPath, directory: Directory) {
        self.known.entry(path.clone()).or_default().given = Some(directory);
    }

    /// Adds a directory that only its content mentions.
    pub(crate) fn imply(&mut self, path: &EntryPath) {
        self.known.entry(path.clone()).or_default();
    }

    /// Makes a directory hide what is below it.
    pub(crate) fn make_opaque(&mut self, path: &EntryPath) {
        self.known.entry(path.clone()).or_default().opaque = true;
    }

    pub(crate) fn remove(&mut self, path: &EntryPath) {
        self.known.remove(path);
    }

    /// Sets everything, in the tree at `fs`; `lower` are the directories of the layers below, lowest first. Returns
    /// whether they had a say in it.
    pub(crate) fn finish(
        &self,
        fs: &Path,
        lower: &[PathBuf],
        notes: &mut Vec<Note>,
    ) -> Result<bool, ImageError> {
        let tree = Beneath::open(fs)?;
        let mut depends_on_lower = false;
        for (path, known) in self.known.iter().rev() {
            let directory = tree.open_now(path, OFlags::RDONLY).map_err(|e| failed(path, "open", e))?;
            if known.opaque {
                fsetxattr(&directory, self.opaque, b"y", XattrFlags::empty())
                    .map_err(|e| failed(path, "set the attributes of", e))?;
            }
            match &known.given {
                Some(given) => apply(&directory, path, given, notes)?,
                None => {
                    let inherited = self.inherited(path, lower);
                    // nearly every root is the same, and hardly a tar has an entry for it
                    depends_on_lower |=
                        !path.is_root() || (inherited.mode, inherited.uid, inherited.gid) != (0o755, 0, 0);
                    apply(&directory, path, &inherited, notes)?;
                }
            }
        }
        Ok(depends_on_lower)
    }

    /// `path` as the layers below have it; root's, mode 0755 and of 1970 when they have no such directory.
    fn inherited(&self, path: &EntryPath, lower: &[PathBuf]) -> Directory {
        let fresh = Directory { mode: 0o755, uid: 0, gid: 0, mtime: Time::default(), attributes: Vec::new() };
        for layer in lower.iter().rev() {
            match look_up(layer, path, self.opaque) {
                Found::Directory(directory) => return directory,
                Found::Hidden => return fresh,
                Found::Nothing => {}
            }
        }
        fresh
    }
}

fn apply(
    directory: &OwnedFd,
    path: &EntryPath,
    given: &Directory,
    notes: &mut Vec<Note>,
) -> Result<(), ImageError> {
    use std::os::fd::AsFd;
    fchown(directory, Some(Uid::from_raw(given.uid)), Some(Gid::from_raw(given.gid))).map_err(|errno| {
        ImageError::Owner { entry: shown(path), uid: given.uid, gid: given.gid, source: errno.into() }
    })?;
    set_attributes(directory.as_fd(), path, &given.attributes, notes)?;
    fchmod(directory, Mode::from_raw_mode(given.mode)).map_err(|e| failed(path, "set the mode of", e))?;
    futimens(directory, &times(given.mtime)).map_err(|e| failed(path, "set the times of", e))
}

/// The entry for a path in one layer.
enum Found {
    Directory(Directory),
    /// It is something else here, or gone: layers below do not matter.
    Hidden,
    Nothing,
}

fn look_up(layer: &Path, path: &EntryPath, opaque_attribute: &str) -> Found {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(root) = rustix::fs::open(layer, flags, Mode::empty()) else { return Found::Nothing };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let mut opaque = false;
    for ancestor in path.ancestry() {
        let name = if ancestor.is_empty() { b"." } else { ancestor };
        let directory = match openat2(&root, name, flags | OFlags::NOFOLLOW, Mode::empty(), resolve) {
            Ok(directory) => directory,
            Err(Errno::NOENT) if !opaque => return Found::Nothing,
            // a whiteout, a file or a link is in the way
            Err(_) => return Found::Hidden,
        };
        if ancestor == path.as_bytes() {
            return metadata(&directory).map_or(Found::Nothing, Found::Directory);
        }
        let mut value = [0; 8];
        let length = fgetxattr(&directory, opaque_attribute, &mut value).unwrap_or(0);
        opaque |= value[..length] == *b"y";
    }
    Found::Nothing
}

fn metadata(directory: &OwnedFd) -> Option<Directory> {
    let stat = statat(directory, c"", AtFlags::EMPTY_PATH).ok()?;
    if !FileType::from_raw_mode(stat.st_mode).is_dir() {
        return None;
    }
    let mtime =
        Time { seconds: stat.st_mtime, nanoseconds: u32::try_from(stat.st_mtime_nsec).unwrap_or_default() };
    let mode = stat.st_mode & 0o7777;
    Some(Directory { mode, uid: stat.st_uid, gid: stat.st_gid, mtime, attributes: Vec::new() })
}
