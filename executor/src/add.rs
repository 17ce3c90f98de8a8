//! ADD's archives (`spec` §6.9): extracting one below a directory of the destination, which is the archive's root, so that
//! names and links are resolved inside it. What counts as an archive, and reading it, is `rbuild-archive`'s.
//!
//! The draft stays in overlay form: what is put over a name hides what was below it, and only a directory that comes after
//! something else of that name has to be marked opaque.

use crate::{
    ExecutorError,
    draft::{BUFFER, Below, Birth, Destination, NewDir, Place, Policy, Special, finish_at, open_new},
    rooted::{FileType, Last, Space, file_name, is_dir, join, parent, resolve, shown},
    select::{Kind, Meta, Owner, Time},
    xattrs::{self, Xattrs},
};
use rbuild_archive::{
    Action, ArchiveError, Entry, EntryKind, Limits, LinkSource, Metadata, Refusal, Site, TarFile, TarProblem,
    TarReader, Tree, Unrecorded,
};
use rbuild_cache::Cancel;
use rustix::{
    fs::{AtFlags, Mode, Stat, XattrFlags, fsetxattr, fstat, mkdirat, statat, symlinkat, unlinkat},
    io::Errno,
};
use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufRead},
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
    rc::Rc,
};

/// Open directories that are kept.
const OPEN_DIRS: usize = 256;

/// A file that is an archive.
#[derive(Debug)]
pub(crate) struct Archive {
    tar: TarFile,
    /// Its path in the source, for messages.
    name: String,
    purpose: Purpose,
}

/// What an archive is unpacked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// An ADD: its devices are made, and what comes after the tar is not looked at, as docker does.
    Add,
    /// A build context: its devices are left out, and it is read to its end, where a compressed one has its checksum.
    Context,
}

impl Purpose {
    /// What an archive may have at most.
    pub(crate) fn limits(self) -> Limits {
        match self {
            Self::Add => Limits::STANDARD,
            // each file takes some 300 bytes of memory while a COPY has it
            Self::Context => Limits { entries: 1 << 22, ..Limits::STANDARD },
        }
    }
}

/// The archive in `file`, if its bytes (not its name) are one: a tar header, perhaps compressed.
pub(crate) fn recognise(
    file: OwnedFd,
    path: &[u8],
    purpose: Purpose,
) -> Result<Option<Archive>, ExecutorError> {
    let tar = TarFile::recognise(file.into()).map_err(|error| ExecutorError::system("read", path, error))?;
    let name = String::from_utf8_lossy(path).into_owned();
    Ok(tar.map(|tar| Archive { tar, name, purpose }))
}

/// Extracts `archive` into the directory at canonical `base`, which is in the upper directory.
pub(crate) fn extract(
    archive: Archive,
    base: &[u8],
    destination: &mut Destination<'_>,
    policy: &Policy,
    cancel: &Cancel,
) -> Result<(), ExecutorError> {
    let Archive { tar, name, purpose } = archive;
    let mut extraction = Extraction {
        name: name.clone(),
        purpose,
        base,
        destination,
        policy: policy.without_chmod(),
        open: HashMap::new(),
        dirs: HashMap::new(),
        remembered: 0,
        uncounted: None,
        cancel,
    };
    tar.read(|tar| extraction.run(tar)).map_err(|source| bad(&name, ArchiveError::Read(source)))??;
    extraction.count_last()?;
    // making entries changed the times of their directories
    for (path, meta) in std::mem::take(&mut extraction.dirs) {
        extraction.destination.set_times(&path, &meta);
    }
    Ok(())
}

struct Extraction<'a, 'b> {
    name: String,
    purpose: Purpose,
    base: &'a [u8],
    destination: &'a mut Destination<'b>,
    policy: Policy,
    /// Directories by their names in the archive.
    open: HashMap<Vec<u8>, Rc<Parent>>,
    /// Times of the archive's directories.
    dirs: HashMap<Vec<u8>, Meta>,
    /// Bytes of their paths.
    remembered: u64,
    /// The last entry, when it shows only now that it is made how much it takes.
    uncounted: Option<Vec<u8>>,
    cancel: &'a Cancel,
}

/// An open directory entries are made in.
struct Parent {
    path: Vec<u8>,
    fd: Rc<OwnedFd>,
    below: Below,
    birth: Birth,
}

/// The canonical path of an entry and the directory it is in.
struct EntryPlace {
    path: Vec<u8>,
    parent: Rc<Parent>,
}

impl AsRef<[u8]> for EntryPlace {
    fn as_ref(&self) -> &[u8] {
        &self.path
    }
}

/// The tar of an archive.
type Tar<'a> = TarReader<&'a mut dyn BufRead>;

impl Tree for Extraction<'_, '_> {
    type Error = ExecutorError;
    type Path = EntryPlace;
    type Recorder = Unrecorded;

    fn path(&mut self, entry: &Entry, _: &mut Unrecorded) -> Result<Option<EntryPlace>, ExecutorError> {
        self.cancel.check()?;
        self.count_last()?;
        let limit = Limits::STANDARD.directories;
        if self.remembered + self.destination.remembered() > limit {
            return Err(bad(&self.name, TarProblem::TooManyDirectories { limit }.into()));
        }
        let Some(path) = inside(&entry.name)? else { return Ok(None) };
        let parent = self.parent(parent(&path))?;
        let is_device = matches!(entry.kind, EntryKind::CharDevice | EntryKind::BlockDevice);
        if self.purpose == Purpose::Context && is_device {
            return Ok(None);
        }
        let path = join(&parent.path, file_name(&path));
        Ok(Some(EntryPlace { path, parent }))
    }

    fn directory(
        &mut self,
        EntryPlace { path, parent }: EntryPlace,
        entry: &Entry,
        _: &mut Unrecorded,
    ) -> Result<(), ExecutorError> {
        let path = path.as_slice();
        let below = match parent.below {
            Below::Merged => self.destination.below(path)?.filter(is_dir),
            Below::Nothing => None,
        };
        match self.destination.upper.find(path)? {
            Some(stat) if is_dir(&stat) => {}
            Some(_) => {
                self.remove(&parent, path)?;
                make_dir(&parent, path)?;
                if below.is_some() {
                    self.hide_below(path)?;
                }
            }
            None if below.is_some() => self.destination.adopt(path)?,
            None => make_dir(&parent, path)?,
        }
        let fd = self.destination.upper.open_dir(path)?;
        let meta = self.policy.apply(meta(entry), Kind::Dir(0));
        Policy::overwrite_dir(&fd, &meta).map_err(|errno| fail("chown", path, errno))?;
        xattrs::write(&fd, &attributes(entry));
        if self.dirs.insert(path.to_vec(), meta).is_none() {
            self.remembered += path.len() as u64;
        }
        // it may be open with what it was born with
        self.open.retain(|_, open| open.path != path);
        Ok(())
    }

    fn site(
        &mut self,
        path: EntryPlace,
        entry: &Entry,
        _: &mut Unrecorded,
    ) -> Result<Site<EntryPlace>, ExecutorError> {
        let directory = Rc::clone(&path.parent.fd);
        let birth = self.policy.birth_of_entries(path.parent.birth);
        self.count(&path.path, entry);
        Ok(Site { directory, path, birth })
    }

    fn make_room(&mut self, site: &Site<EntryPlace>, _: &mut Unrecorded) -> Result<(), ExecutorError> {
        self.remove(&site.path.parent, &site.path.path)
    }

    fn link_source(
        &mut self,
        _: &Site<EntryPlace>,
        entry: &Entry,
    ) -> Result<Option<LinkSource>, ExecutorError> {
        let name = inside(&entry.link)?.ok_or_else(|| breakout(&entry.link))?;
        let target = self.parent(parent(&name))?;
        let from = join(&target.path, file_name(&name));
        if self.destination.upper.find(&from)?.is_none() {
            self.copy_up(&target, &from)?;
        }
        Ok(Some(LinkSource { directory: Rc::clone(&target.fd), name: file_name(&from).to_vec() }))
    }

    fn metadata(&self, entry: &Entry) -> Metadata {
        // --chown counts the same for every kind
        let Meta { uid, gid, mode, .. } = self.policy.apply(meta(entry), Kind::File);
        Metadata { uid, gid, mode, mtime: entry.mtime, atime: accessed(entry) }
    }

    fn go_on(&self) -> Result<(), ExecutorError> {
        Ok(self.cancel.check()?)
    }

    /// Docker leaves out what cannot be kept, too.
    fn without_attribute(
        &mut self,
        _: &Site<EntryPlace>,
        _: &str,
        _: (BorrowedFd<'_>, Errno),
    ) -> Result<(), ExecutorError> {
        Ok(())
    }

    fn without_node(
        &mut self,
        site: &Site<EntryPlace>,
        entry: &Entry,
        errno: Errno,
    ) -> Result<(), ExecutorError> {
        if errno == Errno::PERM && entry.kind != EntryKind::Fifo {
            let (archive, entry) = (self.name.clone(), String::from_utf8_lossy(&entry.name).into_owned());
            return Err(ExecutorError::DeviceInArchive { archive, entry });
        }
        Err(fail("create", &site.path.path, errno))
    }

    fn failure(
        &self,
        site: &Site<EntryPlace>,
        _: &Entry,
        (action, source): (Action, io::Error),
    ) -> ExecutorError {
        let call = match action {
            Action::Create | Action::MakeLink | Action::Link => "create",
            Action::Write => "write",
            Action::SetLength => "truncate",
            Action::SetOwner => "chown",
            Action::SetMode => "chmod",
            Action::SetTimes => "utimensat",
            Action::Open => "open",
        };
        ExecutorError::System { call, path: shown(&site.path.path), source }
    }

    fn refusal(&self, entry: &Entry, reason: Refusal) -> ExecutorError {
        let archive = self.name.clone();
        match reason {
            Refusal::Kind(flag) => ExecutorError::UnknownArchiveEntry { archive, flag },
            Refusal::Whiteout => {
                let entry = String::from_utf8_lossy(&entry.name).into_owned();
                ExecutorError::WhiteoutInArchive { archive, entry }
            }
        }
    }

    fn damaged(&self, error: ArchiveError) -> ExecutorError {
        bad(&self.name, error)
    }
}

impl Extraction<'_, '_> {
    fn run(&mut self, tar: Tar<'_>) -> Result<(), ExecutorError> {
        let mut tar = tar.within(self.purpose.limits());
        rbuild_archive::extract(&mut tar, self)?;
        if self.purpose == Purpose::Context {
            tar.finish().map_err(|error| bad(&self.name, error))?;
        }
        Ok(())
    }

    /// The directory called `name` in the archive, links followed inside the archive's root.
    fn parent(&mut self, name: &[u8]) -> Result<Rc<Parent>, ExecutorError> {
        if let Some(known) = self.open.get(name) {
            return Ok(Rc::clone(known));
        }
        let new = NewDir { mode: 0o755, owner: (0, 0) };
        let (path, below) = match self.child_of_open(name) {
            Some((path, below_parent)) => {
                let below = self.destination.make_dir_in(&path, below_parent, new)?;
                (path, below)
            }
            None => {
                let jail = Jail { base: self.base, destination: self.destination };
                let path = join(self.base, &resolve(&jail, name, Last::Follow)?.path);
                let below = self.destination.make_dirs(&path, new)?;
                (path, below)
            }
        };
        self.destination.touch(&path);
        let fd = Rc::new(self.destination.upper.open_dir(&path)?);
        let stat = fstat(&*fd).map_err(|errno| fail("stat", &path, errno))?;
        let birth = self.policy.birth_in(stat.st_mode, stat.st_gid);
        if self.open.len() >= OPEN_DIRS {
            self.open.clear();
        }
        let parent = Rc::new(Parent { path, fd, below, birth });
        self.open.insert(name.to_vec(), Rc::clone(&parent));
        Ok(parent)
    }

    /// The canonical path of the directory called `name`, and what is below its parent, if the parent is open and the directory
    /// is in the upper itself: a deep tree is not walked from its root for each of its directories.
    fn child_of_open(&self, name: &[u8]) -> Option<(Vec<u8>, Below)> {
        let above = self.open.get(parent(name)).filter(|_| !name.is_empty())?;
        let found = statat(&*above.fd, file_name(name), AtFlags::SYMLINK_NOFOLLOW).ok()?;
        is_dir(&found).then(|| (join(&above.path, file_name(name)), above.below))
    }

    /// Brings a file of the parent image up, so that it can be linked to.
    fn copy_up(&mut self, place: &Parent, path: &[u8]) -> Result<(), ExecutorError> {
        let missing = || fail("link", path, Errno::NOENT);
        let stat = self.destination.below(path)?.ok_or_else(missing)?;
        let meta = Meta::of(&stat, Owner::Kept);
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let from = self.destination.view.rooted().open(path)?;
                let attributes = xattrs::read(&from);
                self.destination.taken.give_up();
                let to =
                    open_new(self.place(place, path), &meta).map_err(|errno| fail("open", path, errno))?;
                io::copy(&mut File::from(from), &mut File::from(dup(&to, path)?))
                    .map_err(|error| ExecutorError::system("copy", path, error))?;
                self.policy
                    .finish_file(&to, &meta, place.birth)
                    .map_err(|errno| fail("chown", path, errno))?;
                xattrs::write(&to, &attributes);
                Ok(())
            }
            FileType::Symlink => {
                let target = self.destination.view.rooted().link_target(path)?;
                symlinkat(target.as_slice(), &*place.fd, file_name(path))
                    .and_then(|()| finish_at(&meta, self.place(place, path), Special::Link))
                    .map_err(|errno| fail("symlink", path, errno))
            }
            _ => Err(missing()),
        }
    }

    /// Counts what the entry at `path`, which is no directory, will take.
    fn count(&mut self, path: &[u8], entry: &Entry) {
        let is_plain = entry.sparse.is_none() && entry.attributes.is_empty();
        match entry.kind {
            EntryKind::File if is_plain && entry.stored < BUFFER as u64 => {
                self.destination.taken.add_length(entry.stored);
            }
            EntryKind::HardLink => {}
            _ => self.uncounted = Some(path.to_vec()),
        }
    }

    fn count_last(&mut self) -> Result<(), ExecutorError> {
        let Destination { taken, upper, .. } = &*self.destination;
        match self.uncounted.take().filter(|_| taken.bytes().is_some()) {
            Some(path) => taken.add_at(upper.fd(), &path).map_err(|errno| fail("stat", &path, errno)),
            None => Ok(()),
        }
    }

    fn place<'c>(&'c self, parent: &'c Parent, path: &'c [u8]) -> Place<'c> {
        let taken = &self.destination.taken;
        Place { dir: &parent.fd, name: file_name(path), birth: parent.birth, taken }
    }

    fn remove(&mut self, place: &Parent, path: &[u8]) -> Result<(), ExecutorError> {
        let name = file_name(path);
        match unlinkat(&*place.fd, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => {
                let mut host = format!("/proc/self/fd/{}/", place.fd.as_raw_fd()).into_bytes();
                host.extend_from_slice(name);
                let host: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(host.as_slice());
                std::fs::remove_dir_all(host).map_err(|error| ExecutorError::system("rmdir", path, error))?;
                self.dirs.retain(|dir, _| {
                    dir.strip_prefix(path).is_none_or(|rest| rest.first().is_some_and(|byte| *byte != b'/'))
                });
            }
            Err(errno) => return Err(fail("unlink", path, errno)),
            Ok(()) => {}
        }
        // links may have led through it
        self.open.clear();
        self.destination.forget(path);
        Ok(())
    }

    fn hide_below(&mut self, path: &[u8]) -> Result<(), ExecutorError> {
        let mark = self.destination.view.marks().opaque();
        let fd = self.destination.upper.open_dir(path)?;
        fsetxattr(&fd, mark, b"y", XattrFlags::empty()).map_err(|errno| fail("setxattr", path, errno))?;
        self.destination.set_opaque(path);
        Ok(())
    }
}

/// The destination with the archive's root as its root.
struct Jail<'a, 'b> {
    base: &'a [u8],
    destination: &'a Destination<'b>,
}

impl Space for Jail<'_, '_> {
    fn find(&self, path: &[u8]) -> Result<Option<Stat>, ExecutorError> {
        self.destination.find(&join(self.base, path))
    }

    fn link_target(&self, path: &[u8]) -> Result<Vec<u8>, ExecutorError> {
        self.destination.link_target(&join(self.base, path))
    }
}

/// The name of an entry relative to the root; `None` for the root itself. It is cleaned as Go's path/filepath does it, so
/// `..` takes back the part before it and may not go beyond the first.
fn inside(name: &[u8]) -> Result<Option<Vec<u8>>, ExecutorError> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in name.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop().ok_or_else(|| breakout(name))?),
            part => parts.push(part),
        }
    }
    Ok((!parts.is_empty()).then(|| parts.join(&b'/')))
}

fn make_dir(place: &Parent, path: &[u8]) -> Result<(), ExecutorError> {
    mkdirat(&*place.fd, file_name(path), Mode::from_raw_mode(0o700))
        .map_err(|errno| fail("mkdir", path, errno))
}

fn meta(entry: &Entry) -> Meta {
    let time =
        |time: rbuild_archive::Time| Time { seconds: time.seconds, nanoseconds: time.nanoseconds.into() };
    let (mtime, atime) = (time(entry.mtime), time(accessed(entry)));
    Meta { mode: entry.mode, uid: entry.uid, gid: entry.gid, mtime, atime }
}

/// The time of the last read access, which is not before that of the last modification.
fn accessed(entry: &Entry) -> rbuild_archive::Time {
    entry.atime.unwrap_or(entry.mtime).max(entry.mtime)
}

fn attributes(entry: &Entry) -> Xattrs {
    entry.attributes.iter().map(|(name, value)| (name.clone().into_bytes(), value.clone())).collect()
}

fn breakout(name: &[u8]) -> ExecutorError {
    ExecutorError::ArchiveBreakout { entry: String::from_utf8_lossy(name).into_owned() }
}

fn bad(archive: &str, source: ArchiveError) -> ExecutorError {
    ExecutorError::BadArchive { archive: archive.to_owned(), source }
}

fn dup(fd: &OwnedFd, path: &[u8]) -> Result<OwnedFd, ExecutorError> {
    fd.try_clone().map_err(|error| ExecutorError::system("dup", path, error))
}

fn fail(call: &'static str, path: &[u8], errno: Errno) -> ExecutorError {
    ExecutorError::System { call, path: shown(path), source: errno.into() }
}
