//! Extracting a tar stream below a directory of the destination, which is the archive's root: names and links are
//! resolved inside it. The draft stays in overlay form: what is put over a name hides what was below it, and only a
//! directory that comes after something else of that name has to be told to (it is marked opaque).

use super::Archive;
use crate::{
    Cancel, ExecutorError,
    copy::{
        Below, Birth, Destination, NewDir, Place, Policy, Special, create_device, finish_at, open_new,
        write_all,
    },
    pattern::clean,
    rooted::{FileType, Last, Space, file_name, is_dir, join, parent, resolve, shown},
    select::{Kind, Meta, Time, Xattrs},
    view::xattr_namespace,
    xattrs,
};
use rbuild_sys::overlay::XattrNamespace;
use rustix::{
    fs::{AtFlags, Mode, Stat, XattrFlags, fsetxattr, fstat, linkat, makedev, mkdirat, symlinkat, unlinkat},
    io::Errno,
};
use std::{
    collections::HashMap,
    io::{self, Read},
    os::fd::{AsRawFd, OwnedFd},
    rc::Rc,
};
use tar::EntryType;

const BUFFER: usize = 256 << 10;
/// Open directories that are kept.
const OPEN_DIRS: usize = 256;

/// Extracts `archive` into the directory at canonical `base`, which is in the upper directory.
pub(crate) fn extract(
    archive: Archive,
    base: &[u8],
    destination: &mut Destination<'_>,
    policy: &Policy,
    cancel: &Cancel,
) -> Result<(), ExecutorError> {
    let name = archive.name.clone();
    let mut extraction = Extraction {
        name,
        base,
        destination,
        policy: policy.without_chmod(),
        open: HashMap::new(),
        dirs: Vec::new(),
        buffer: vec![0; BUFFER],
        cancel,
    };
    archive.stream(|stream| extraction.run(stream))?;
    // making entries changed the times of their directories
    for (path, meta) in std::mem::take(&mut extraction.dirs) {
        extraction.destination.set_times(&path, &meta);
    }
    Ok(())
}

struct Extraction<'a, 'b> {
    name: String,
    base: &'a [u8],
    destination: &'a mut Destination<'b>,
    policy: Policy,
    /// Directories by their names in the archive.
    open: HashMap<Vec<u8>, Rc<Parent>>,
    /// Times of the archive's directories.
    dirs: Vec<(Vec<u8>, Meta)>,
    buffer: Vec<u8>,
    cancel: &'a Cancel,
}

/// An open directory entries are made in.
struct Parent {
    path: Vec<u8>,
    fd: OwnedFd,
    below: Below,
    birth: Birth,
}

/// What an archive entry says about itself.
struct Header {
    kind: EntryType,
    meta: Meta,
    link: Vec<u8>,
    device: u64,
    xattrs: Xattrs,
}

impl Extraction<'_, '_> {
    fn run(&mut self, stream: &mut dyn Read) -> Result<(), ExecutorError> {
        let mut archive = tar::Archive::new(stream);
        let name = self.name.clone();
        let bad =
            |error: io::Error| ExecutorError::BadArchive { archive: name.clone(), reason: error.to_string() };
        for entry in archive.entries().map_err(bad)? {
            self.cancel.check()?;
            let mut entry = entry.map_err(bad)?;
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let Some(path) = inside(&path)? else { continue };
            let header = header(&mut entry).map_err(bad)?;
            self.entry(&path, &header, &mut entry)?;
        }
        Ok(())
    }

    fn entry(&mut self, path: &[u8], header: &Header, data: &mut dyn Read) -> Result<(), ExecutorError> {
        if header.kind == EntryType::XGlobalHeader {
            return Ok(());
        }
        let place = self.parent(parent(path))?;
        let path = join(&place.path, file_name(path));
        match header.kind {
            EntryType::Directory => self.directory(&place, &path, header),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.file(&place, &path, header, data)
            }
            EntryType::Link => self.hard_link(&place, &path, header),
            EntryType::Symlink => {
                let at = place.place(&path);
                self.replacing(&place, &path, || symlinkat(header.link.as_slice(), &place.fd, at.name))?;
                let meta = self.policy.apply(header.meta, Kind::Symlink);
                finish_at(&meta, at, Special::Link).map_err(|errno| fail("symlink", &path, errno))
            }
            EntryType::Char | EntryType::Block | EntryType::Fifo => self.device(&place, &path, header),
            _ => Err(ExecutorError::BadArchive {
                archive: self.name.clone(),
                reason: format!("unhandled tar header type {}", header.kind.as_byte()),
            }),
        }
    }

    /// The directory called `name` in the archive, links followed inside the archive's root.
    fn parent(&mut self, name: &[u8]) -> Result<Rc<Parent>, ExecutorError> {
        if let Some(known) = self.open.get(name) {
            return Ok(Rc::clone(known));
        }
        let found = resolve(&Jail { base: self.base, destination: self.destination }, name, Last::Follow)?;
        let path = join(self.base, &found.path);
        let below = self.destination.make_dirs(&path, NewDir { mode: 0o755, owner: (0, 0) })?;
        self.destination.touch(&path);
        let fd = self.destination.upper.open_dir(&path)?;
        let stat = fstat(&fd).map_err(|errno| fail("stat", &path, errno))?;
        let birth = self.policy.birth_in(stat.st_mode, stat.st_gid);
        if self.open.len() >= OPEN_DIRS {
            self.open.clear();
        }
        let parent = Rc::new(Parent { path, fd, below, birth });
        self.open.insert(name.to_vec(), Rc::clone(&parent));
        Ok(parent)
    }

    fn directory(&mut self, place: &Parent, path: &[u8], header: &Header) -> Result<(), ExecutorError> {
        let below = match place.below {
            Below::Merged => self.destination.below(path)?.filter(is_dir),
            Below::Nothing => None,
        };
        match self.destination.upper.find(path)? {
            Some(stat) if is_dir(&stat) => {}
            Some(_) => {
                self.remove(place, path)?;
                self.make_dir(place, path)?;
                if below.is_some() {
                    self.hide_below(path)?;
                }
            }
            None if below.is_some() => self.destination.adopt(path)?,
            None => self.make_dir(place, path)?,
        }
        let fd = self.destination.upper.open_dir(path)?;
        let meta = self.policy.apply(header.meta, Kind::Dir(0));
        Policy::overwrite_dir(&fd, &meta).map_err(|errno| fail("chown", path, errno))?;
        xattrs::write(&fd, &header.xattrs);
        self.dirs.push((path.to_vec(), meta));
        // it may be open with what it was born with
        self.open.retain(|_, open| open.path != path);
        Ok(())
    }

    fn make_dir(&mut self, place: &Parent, path: &[u8]) -> Result<(), ExecutorError> {
        mkdirat(&place.fd, file_name(path), Mode::from_raw_mode(0o700))
            .map_err(|errno| fail("mkdir", path, errno))
    }

    fn file(
        &mut self,
        place: &Parent,
        path: &[u8],
        header: &Header,
        data: &mut dyn Read,
    ) -> Result<(), ExecutorError> {
        let meta = self.policy.apply(header.meta, Kind::File);
        let to = self.replacing(place, path, || open_new(place.place(path), &meta))?;
        loop {
            self.cancel.check()?;
            let length = data.read(&mut self.buffer).map_err(|error| ExecutorError::BadArchive {
                archive: self.name.clone(),
                reason: error.to_string(),
            })?;
            if length == 0 {
                break;
            }
            write_all(&to, &self.buffer[..length]).map_err(|errno| fail("write", path, errno))?;
        }
        self.policy.finish_file(&to, &meta, place.birth).map_err(|errno| fail("chown", path, errno))?;
        xattrs::write(&to, &header.xattrs);
        Ok(())
    }

    fn device(&mut self, place: &Parent, path: &[u8], header: &Header) -> Result<(), ExecutorError> {
        let kind = match header.kind {
            EntryType::Char => FileType::CharacterDevice,
            EntryType::Block => FileType::BlockDevice,
            _ => FileType::Fifo,
        };
        if kind == FileType::CharacterDevice && header.device == 0 {
            // overlayfs would take it for a deletion
            let reason = "it holds the character device 0:0".to_owned();
            return Err(ExecutorError::BadArchive { archive: self.name.clone(), reason });
        }
        let meta = self.policy.apply(header.meta, Kind::Device(kind, header.device));
        let at = place.place(path);
        self.replacing(place, path, || create_device(at, kind, header.device, &meta))?;
        finish_at(&meta, at, Special::Device).map_err(|errno| fail("chown", path, errno))
    }

    fn hard_link(&mut self, place: &Parent, path: &[u8], header: &Header) -> Result<(), ExecutorError> {
        let written = String::from_utf8_lossy(&header.link).into_owned();
        let name = inside(&written)?.ok_or(ExecutorError::ArchiveBreakout { entry: written.clone() })?;
        let target = self.parent(parent(&name))?;
        let from = join(&target.path, file_name(&name));
        if self.destination.upper.find(&from)?.is_none() {
            self.copy_up(&target, &from)?;
        }
        let upper = self.destination.upper.clone();
        self.replacing(place, path, || {
            linkat(upper.fd(), from.as_slice(), &place.fd, file_name(path), AtFlags::empty())
        })
    }

    /// Brings a file of the parent image up, so that it can be linked to.
    fn copy_up(&mut self, place: &Parent, path: &[u8]) -> Result<(), ExecutorError> {
        let missing = || fail("link", path, Errno::NOENT);
        let stat = self.destination.below(path)?.ok_or_else(missing)?;
        let meta = Meta::of(&stat, crate::select::Owner::Kept);
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let from = self.destination.view.rooted().open(path)?;
                let attributes = xattrs::read(&from);
                let to = open_new(place.place(path), &meta).map_err(|errno| fail("open", path, errno))?;
                io::copy(&mut std::fs::File::from(from), &mut std::fs::File::from(dup(&to, path)?))
                    .map_err(|error| ExecutorError::system("copy", path, error))?;
                self.policy
                    .finish_file(&to, &meta, place.birth)
                    .map_err(|errno| fail("chown", path, errno))?;
                xattrs::write(&to, &attributes);
                Ok(())
            }
            FileType::Symlink => {
                let target = self.destination.view.rooted().link_target(path)?;
                symlinkat(target.as_slice(), &place.fd, file_name(path))
                    .and_then(|()| finish_at(&meta, place.place(path), Special::Link))
                    .map_err(|errno| fail("symlink", path, errno))
            }
            _ => Err(missing()),
        }
    }

    /// Runs `make`; if the name is taken in the upper directory, removes what is there first.
    fn replacing<T>(
        &mut self,
        place: &Parent,
        path: &[u8],
        make: impl Fn() -> Result<T, Errno>,
    ) -> Result<T, ExecutorError> {
        match make() {
            Err(Errno::EXIST) => {
                self.remove(place, path)?;
                make()
            }
            made => made,
        }
        .map_err(|errno| fail("create", path, errno))
    }

    fn remove(&mut self, place: &Parent, path: &[u8]) -> Result<(), ExecutorError> {
        let name = file_name(path);
        match unlinkat(&place.fd, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => {
                let mut host = format!("/proc/self/fd/{}/", place.fd.as_raw_fd()).into_bytes();
                host.extend_from_slice(name);
                let host: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(host.as_slice());
                std::fs::remove_dir_all(host).map_err(|error| ExecutorError::system("rmdir", path, error))?;
                self.dirs.retain(|(dir, _)| {
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
        let mark = match xattr_namespace() {
            XattrNamespace::Trusted => "trusted.overlay.opaque",
            XattrNamespace::User => "user.overlay.opaque",
        };
        let fd = self.destination.upper.open_dir(path)?;
        fsetxattr(&fd, mark, b"y", XattrFlags::empty()).map_err(|errno| fail("setxattr", path, errno))?;
        self.destination.set_opaque(path);
        Ok(())
    }
}

impl Parent {
    fn place<'a>(&'a self, path: &'a [u8]) -> Place<'a> {
        Place { dir: &self.fd, name: file_name(path), birth: self.birth }
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

/// The name of an entry relative to the root; `None` for the root itself.
fn inside(name: &str) -> Result<Option<Vec<u8>>, ExecutorError> {
    let relative = clean(name.trim_start_matches('/'));
    if relative == ".." || relative.starts_with("../") {
        return Err(ExecutorError::ArchiveBreakout { entry: name.to_owned() });
    }
    Ok((relative != ".").then(|| relative.into_bytes()))
}

fn header<R: Read>(entry: &mut tar::Entry<'_, R>) -> io::Result<Header> {
    let raw = entry.header();
    let mtime = Time { seconds: raw.mtime()?.cast_signed(), nanoseconds: 0 };
    let meta =
        Meta { mode: raw.mode()? & 0o7777, uid: id(raw.uid()?)?, gid: id(raw.gid()?)?, mtime, atime: mtime };
    let kind = raw.entry_type();
    // others may have anything in these fields
    let device = match kind {
        EntryType::Char | EntryType::Block => {
            makedev(raw.device_major()?.unwrap_or(0), raw.device_minor()?.unwrap_or(0))
        }
        _ => 0,
    };
    let link = entry.link_name_bytes().map(std::borrow::Cow::into_owned).unwrap_or_default();
    let mut header = Header { kind, meta, link, device, xattrs: Xattrs::new() };
    let mut accessed = None;
    if let Some(extensions) = entry.pax_extensions()? {
        for extension in extensions {
            let extension = extension?;
            match extension.key_bytes() {
                b"mtime" => header.meta.mtime = time(extension.value_bytes()).unwrap_or(mtime),
                b"atime" => accessed = time(extension.value_bytes()),
                key => {
                    if let Some(name) = key.strip_prefix(b"SCHILY.xattr.")
                        && !name.starts_with(b"trusted.overlay.")
                        && !name.starts_with(b"user.overlay.")
                    {
                        header.xattrs.push((name.to_vec(), extension.value_bytes().to_vec()));
                    }
                }
            }
        }
    }
    let later = |time: &Time| time.total() > header.meta.mtime.total();
    header.meta.atime = accessed.filter(later).unwrap_or(header.meta.mtime);
    Ok(header)
}

fn id(number: u64) -> io::Result<u32> {
    number.try_into().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "user or group id out of range"))
}

/// A PAX time: seconds with a fraction, perhaps negative.
fn time(text: &[u8]) -> Option<Time> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    let nanoseconds: i64 = digits.parse().ok()?;
    if whole.starts_with('-') && nanoseconds > 0 {
        return Some(Time { seconds: seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds });
    }
    Some(Time { seconds, nanoseconds })
}

fn dup(fd: &OwnedFd, path: &[u8]) -> Result<OwnedFd, ExecutorError> {
    fd.try_clone().map_err(|error| ExecutorError::system("dup", path, error))
}

fn fail(call: &'static str, path: &[u8], errno: Errno) -> ExecutorError {
    ExecutorError::System { call, path: shown(path), source: errno.into() }
}
