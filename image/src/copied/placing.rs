//! Extracting a tar in a directory that is there, as Docker does: files are replaced, directories kept, and neither takes the place
//! of the other.

use super::{CopyError, error::shown, place::open_beneath, source::is_directory};
use rbuild_archive::{
    Action, ArchiveError, Birth, Entry, EntryKind, Limits, LinkSource, Metadata, Refusal, Site, TarReader,
    Tree, Unrecorded, decompressed, extract, sniff,
};
use rustix::{
    fs::{
        AtFlags, Gid, Mode, OFlags, ResolveFlags, StatxAttributes, StatxFlags, Timespec, Timestamps, Uid,
        fchmod, fchown, futimens, mkdirat, statat, statx, unlinkat,
    },
    io::Errno,
};
use std::{
    io::{self, BufRead, BufReader, Read},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    rc::Rc,
};

/// Bytes of a path in a tar of this program's. Commands make deeper trees than the kernel takes paths (4095).
const LONGEST_PATH: usize = 1 << 20;

/// The owner of copied files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopiedOwner {
    /// As in the tar.
    Kept,
    /// This process's.
    Process,
}

/// Extracts `tar` in `directory`.
///
/// # Errors
/// [`CopyError`].
pub fn extract_copy(tar: impl BufRead, directory: OwnedFd, owner: CopiedOwner) -> Result<(), CopyError> {
    place(tar, directory, owner, Limits { path: LONGEST_PATH, ..Limits::STANDARD })
}

fn place(tar: impl BufRead, directory: OwnedFd, owner: CopiedOwner, limits: Limits) -> Result<(), CopyError> {
    let mut placing = Placing {
        root: Rc::new(directory),
        owner,
        birth: Birth::of_process(),
        last: None,
        directories: Vec::new(),
    };
    extract(&mut TarReader::new(tar).within(limits), &mut placing)?;
    placing.finish()
}

/// The same with an archive that may be compressed.
///
/// # Errors
/// [`CopyError`].
pub fn extract_archive(archive: impl Read, directory: OwnedFd, owner: CopiedOwner) -> Result<(), CopyError> {
    let (codec, sniffed) = sniff(archive).map_err(ArchiveError::Read)?;
    let plain = decompressed(codec, sniffed).map_err(ArchiveError::Decompress)?;
    place(BufReader::new(plain), directory, owner, Limits::STANDARD)
}

struct Placing {
    root: Rc<OwnedFd>,
    owner: CopiedOwner,
    birth: Birth,
    /// The directory that the last entry is in; they come directory by directory.
    last: Option<(Vec<u8>, Rc<OwnedFd>)>,
    /// What they get when everything is in them.
    directories: Vec<(Vec<u8>, Metadata)>,
}

impl Placing {
    /// The directory `path`, made where it is missing.
    fn parent(&mut self, path: &[u8]) -> Result<Rc<OwnedFd>, CopyError> {
        if path.is_empty() {
            return Ok(Rc::clone(&self.root));
        }
        if let Some((last, directory)) = &self.last
            && last == path
        {
            return Ok(Rc::clone(directory));
        }
        let open = |root: BorrowedFd<'_>| {
            open_beneath(root, path, OFlags::PATH | OFlags::DIRECTORY, ResolveFlags::BENEATH)
        };
        let opened = match open(self.root.as_fd()) {
            Err(Errno::NOENT) => {
                let (above, name) = split(path);
                let above = self.parent(above)?;
                mkdirat(&*above, name, Mode::from_raw_mode(0o755))
                    .map_err(|errno| CopyError::io("mkdir", path, errno))?;
                open(self.root.as_fd())
            }
            opened => opened,
        };
        let directory = Rc::new(opened.map_err(|errno| CopyError::io("open", path, errno))?);
        self.last = Some((path.to_vec(), Rc::clone(&directory)));
        Ok(directory)
    }

    /// Gives directories their owners, modes and times, the deepest first.
    fn finish(self) -> Result<(), CopyError> {
        for (path, metadata) in self.directories.iter().rev() {
            let fail = |action| move |errno: Errno| CopyError::io(action, path, errno);
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            let directory = open_beneath(self.root.as_fd(), path, flags, ResolveFlags::BENEATH);
            let directory = directory.map_err(fail("open"))?;
            let (uid, gid) = (Uid::from_raw(metadata.uid), Gid::from_raw(metadata.gid));
            fchown(&directory, Some(uid), Some(gid)).map_err(fail("chown"))?;
            fchmod(&directory, Mode::from_raw_mode(metadata.mode)).map_err(fail("chmod"))?;
            let time =
                Timespec { tv_sec: metadata.mtime.seconds, tv_nsec: metadata.mtime.nanoseconds.into() };
            let times = Timestamps { last_access: time, last_modification: time };
            futimens(&directory, &times).map_err(fail("set the times of"))?;
        }
        Ok(())
    }
}

impl Tree for Placing {
    type Error = CopyError;
    type Path = Vec<u8>;
    type Recorder = Unrecorded;

    fn path(&mut self, entry: &Entry, _: &mut Unrecorded) -> Result<Option<Vec<u8>>, CopyError> {
        match clean(&entry.name) {
            None => Err(outside(&entry.name)),
            // the directory itself stays as it is
            Some(path) if path.is_empty() && entry.kind == EntryKind::Directory => Ok(None),
            Some(path) if path.is_empty() => Err(outside(&entry.name)),
            Some(path) => Ok(Some(path)),
        }
    }

    fn directory(&mut self, path: Vec<u8>, entry: &Entry, _: &mut Unrecorded) -> Result<(), CopyError> {
        let (above, name) = split(&path);
        let parent = self.parent(above)?;
        match mkdirat(&*parent, name, Mode::RWXU) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let there = statat(&*parent, name, AtFlags::SYMLINK_NOFOLLOW);
                let there = there.map_err(|errno| CopyError::io("stat", &path, errno))?;
                if !is_directory(&there) {
                    return Err(CopyError::OverFile { entry: shown(&path) });
                }
            }
            Err(errno) => return Err(CopyError::io("mkdir", &path, errno)),
        }
        let metadata = self.metadata(entry);
        self.directories.push((path, metadata));
        Ok(())
    }

    fn site(&mut self, path: Vec<u8>, _: &Entry, _: &mut Unrecorded) -> Result<Site<Vec<u8>>, CopyError> {
        let directory = self.parent(split(&path).0)?;
        // who owns a new file depends on the directory too
        let birth = Birth { gid: u32::MAX, ..self.birth };
        Ok(Site { directory, path, birth })
    }

    fn make_room(&mut self, site: &Site<Vec<u8>>, _: &mut Unrecorded) -> Result<(), CopyError> {
        match unlink_unless_mounted(site.directory.as_fd(), site.name()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::BUSY) => Err(CopyError::OverMount { entry: shown(&site.path) }),
            Err(Errno::ISDIR) => Err(CopyError::OverDirectory { entry: shown(&site.path) }),
            Err(errno) => Err(CopyError::io("unlink", &site.path, errno)),
        }
    }

    fn link_source(&mut self, site: &Site<Vec<u8>>, entry: &Entry) -> Result<Option<LinkSource>, CopyError> {
        let target = clean(&entry.link).filter(|path| !path.is_empty());
        let target = target.ok_or_else(|| outside(&entry.link))?;
        let (above, name) = split(&target);
        let directory = self.parent(above)?;
        // looked at before anything is replaced for its sake
        match statat(&*directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if !is_directory(&stat) => {
                let source = LinkSource { directory, name: name.to_vec() };
                Ok((target != site.path).then_some(source))
            }
            Ok(_) | Err(Errno::NOENT) => Err(CopyError::Entry {
                entry: shown(&entry.name),
                problem: "is a hard link to a file that is not there",
            }),
            Err(errno) => Err(CopyError::io("stat", &target, errno)),
        }
    }

    fn metadata(&self, entry: &Entry) -> Metadata {
        let (uid, gid) = match self.owner {
            CopiedOwner::Kept => (entry.uid, entry.gid),
            CopiedOwner::Process => (self.birth.uid, self.birth.gid),
        };
        Metadata { uid, gid, mode: entry.mode & 0o7777, mtime: entry.mtime, atime: entry.mtime }
    }

    fn go_on(&self) -> Result<(), CopyError> {
        Ok(())
    }

    /// Docker leaves out what cannot be kept, too.
    fn without_attribute(
        &mut self,
        _: &Site<Vec<u8>>,
        _: &str,
        _: (BorrowedFd<'_>, Errno),
    ) -> Result<(), CopyError> {
        Ok(())
    }

    fn without_node(&mut self, site: &Site<Vec<u8>>, _: &Entry, errno: Errno) -> Result<(), CopyError> {
        Err(CopyError::io("make the device", &site.path, errno))
    }

    fn failure(&self, site: &Site<Vec<u8>>, _: &Entry, (action, source): (Action, io::Error)) -> CopyError {
        let action = match action {
            Action::Create | Action::MakeLink | Action::Link => "create",
            Action::Write => "write",
            Action::SetLength => "truncate",
            Action::SetOwner => "chown",
            Action::SetMode => "chmod",
            Action::SetTimes => "set the times of",
            Action::Open => "open",
        };
        CopyError::io(action, &site.path, source)
    }

    fn refusal(&self, entry: &Entry, _: Refusal) -> CopyError {
        CopyError::Entry { entry: shown(&entry.name), problem: "is of a kind that no file has" }
    }

    fn damaged(&self, error: ArchiveError) -> CopyError {
        error.into()
    }
}

/// Removes a file, unless something is mounted on it where this directory is: the kernel refuses that only in the mount
/// namespace of the caller, and takes the mounts of other namespaces off.
///
/// # Errors
/// EBUSY when something is mounted on it; those of statx(2) and unlinkat(2).
fn unlink_unless_mounted(directory: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    let there =
        statx(directory, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT, StatxFlags::empty())?;
    if there.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
        return Err(Errno::BUSY);
    }
    unlinkat(directory, name, AtFlags::empty())
}

/// The path that a name means; `None` when it leads out, empty for the directory itself.
fn clean(name: &[u8]) -> Option<Vec<u8>> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in name.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join(&b'/'))
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    path.iter().rposition(|byte| *byte == b'/').map_or((b"", path), |at| (&path[..at], &path[at + 1..]))
}

fn outside(name: &[u8]) -> CopyError {
    CopyError::Entry { entry: shown(name), problem: "leads out of the destination" }
}
