//! The files of an archive's entries, made with as few system calls as they need. Where they belong, what is done about
//! what stands in their way, and what a failure means is the [`Tree`]'s.

mod tree;

pub use tree::{Action, Birth, LinkSource, Metadata, Refusal, Site, Tree};

use crate::{Entry, EntryKind, TarReader};
use rustix::{
    fs::{
        AtFlags, FileType, Gid, Mode, OFlags, Uid, XattrFlags, chmodat, chownat, fchmod, fchown, fsetxattr,
        ftruncate, futimens, linkat, makedev, mknodat, openat, setxattr, symlinkat, utimensat,
    },
    io::Errno,
};
use std::{
    fs::File,
    io::{self, BufRead, Write},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::fs::FileExt,
    },
};

/// Makes the files of the entries that are left in `tar`, in `tree`. The bytes after the last entry are not read.
///
/// # Errors
/// Those of the tree.
pub fn extract<B: BufRead, T: Tree>(
    tar: &mut TarReader<B, T::Recorder>,
    tree: &mut T,
) -> Result<(), T::Error> {
    while let Some(entry) = tar.next_entry().map_err(|error| tree.damaged(error))? {
        let Some(path) = tree.path(&entry, tar.recorder())? else {
            tar.leave_out().map_err(|error| tree.damaged(error))?;
            continue;
        };
        if entry.kind == EntryKind::Directory {
            tree.directory(path, &entry, tar.recorder())?;
            continue;
        }
        let site = tree.site(path, &entry, tar.recorder())?;
        let metadata = tree.metadata(&entry);
        Making { tar: &mut *tar, tree: &mut *tree, site, entry: &entry, metadata }.make()?;
    }
    Ok(())
}

/// A file that is being made.
struct Making<'a, B, T: Tree> {
    tar: &'a mut TarReader<B, T::Recorder>,
    tree: &'a mut T,
    site: Site<T::Path>,
    entry: &'a Entry,
    metadata: Metadata,
}

impl<B: BufRead, T: Tree> Making<'_, B, T> {
    fn make(&mut self) -> Result<(), T::Error> {
        match self.entry.kind {
            EntryKind::File => self.file(),
            EntryKind::HardLink => self.hard_link(),
            EntryKind::Symlink => {
                let target = self.entry.link.as_slice();
                self.create(Action::MakeLink, |site| symlinkat(target, &*site.directory, site.name()))?;
                self.finish_by_name()
            }
            EntryKind::CharDevice => self.node(FileType::CharacterDevice),
            EntryKind::BlockDevice => self.node(FileType::BlockDevice),
            EntryKind::Fifo => self.node(FileType::Fifo),
            EntryKind::Directory => Ok(()),
            EntryKind::Unknown(flag) => Err(self.tree.refusal(self.entry, Refusal::Kind(flag))),
        }
    }

    fn file(&mut self) -> Result<(), T::Error> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(self.metadata.mode & 0o777);
        let file = self.create(Action::Create, |site| openat(&*site.directory, site.name(), flags, mode))?;
        let file = File::from(file);
        self.content(&file)?;
        let metadata = self.metadata;
        if !metadata.is_owned_at(self.site.birth) {
            let (uid, gid) = (Uid::from_raw(metadata.uid), Gid::from_raw(metadata.gid));
            fchown(&file, Some(uid), Some(gid)).map_err(|e| self.failed(Action::SetOwner, e))?;
        }
        if !metadata.has_mode_at(self.site.birth) {
            let mode = Mode::from_raw_mode(metadata.mode);
            fchmod(&file, mode).map_err(|e| self.failed(Action::SetMode, e))?;
        }
        // after chown, which drops security.capability
        self.attributes(file.as_fd(), |name, value| fsetxattr(&file, name, value, XattrFlags::empty()))?;
        futimens(&file, &metadata.times()).map_err(|e| self.failed(Action::SetTimes, e))
    }

    fn content(&mut self, mut file: &File) -> Result<(), T::Error> {
        let Self { tar, tree, site, entry, .. } = self;
        let failed = |tree: &T, error| Err(tree.failure(site, entry, (Action::Write, error)));
        let written = match &entry.sparse {
            None => tar.content_of(site.path.as_ref(), |piece| {
                tree.go_on()?;
                file.write_all(piece).or_else(|error| failed(tree, error))
            }),
            Some(map) => {
                let mut places = map.places();
                tar.content(|mut stored| {
                    tree.go_on()?;
                    while let Some((offset, piece)) = places.take(&mut stored) {
                        file.write_all_at(piece, offset).or_else(|error| failed(tree, error))?;
                    }
                    Ok(())
                })
            }
        };
        written.map_err(|error| tree.damaged(error))??;
        match &entry.sparse {
            None => Ok(()),
            Some(map) => ftruncate(file, map.size()).map_err(|e| self.failed(Action::SetLength, e)),
        }
    }

    fn hard_link(&mut self) -> Result<(), T::Error> {
        let Some(from) = self.tree.link_source(&self.site, self.entry)? else { return Ok(()) };
        self.create(Action::Link, |site| {
            linkat(&*from.directory, from.name.as_slice(), &*site.directory, site.name(), AtFlags::empty())
        })
    }

    fn node(&mut self, kind: FileType) -> Result<(), T::Error> {
        let device =
            if kind == FileType::Fifo { 0 } else { makedev(self.entry.device.0, self.entry.device.1) };
        if kind == FileType::CharacterDevice && device == 0 {
            return Err(self.tree.refusal(self.entry, Refusal::Whiteout));
        }
        let mode = Mode::from_raw_mode(self.metadata.mode & 0o777);
        match self.try_create(|site| mknodat(&*site.directory, site.name(), kind, mode, device))? {
            Ok(()) => self.finish_by_name(),
            Err(errno) => self.tree.without_node(&self.site, self.entry, errno),
        }
    }

    /// Owner, mode, attributes and times of what cannot be opened: links, devices, FIFOs.
    fn finish_by_name(&mut self) -> Result<(), T::Error> {
        let directory = self.site.directory.clone();
        let (metadata, nofollow) = (self.metadata, AtFlags::SYMLINK_NOFOLLOW);
        if !metadata.is_owned_at(self.site.birth) {
            let (uid, gid) = (Uid::from_raw(metadata.uid), Gid::from_raw(metadata.gid));
            chownat(&*directory, self.site.name(), Some(uid), Some(gid), nofollow)
                .map_err(|e| self.failed(Action::SetOwner, e))?;
        }
        if self.entry.kind != EntryKind::Symlink && !metadata.has_mode_at(self.site.birth) {
            // it is what was just made, not a link: following is harmless
            let mode = Mode::from_raw_mode(metadata.mode);
            chmodat(&*directory, self.site.name(), mode, AtFlags::empty())
                .map_err(|e| self.failed(Action::SetMode, e))?;
        }
        if !self.entry.attributes.is_empty() {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let node = openat(&*directory, self.site.name(), flags, Mode::empty())
                .map_err(|e| self.failed(Action::Open, e))?;
            let path = format!("/proc/self/fd/{}", node.as_raw_fd());
            self.attributes(node.as_fd(), |name, value| {
                setxattr(path.as_str(), name, value, XattrFlags::empty())
            })?;
        }
        utimensat(&*directory, self.site.name(), &metadata.times(), nofollow)
            .map_err(|e| self.failed(Action::SetTimes, e))
    }

    fn attributes(
        &mut self,
        file: BorrowedFd<'_>,
        set: impl Fn(&str, &[u8]) -> Result<(), Errno>,
    ) -> Result<(), T::Error> {
        for (name, value) in &self.entry.attributes {
            if let Err(errno) = set(name, value) {
                self.tree.without_attribute(&self.site, name, (file, errno))?;
            }
        }
        Ok(())
    }

    fn create<V>(
        &mut self,
        action: Action,
        make: impl Fn(&Site<T::Path>) -> Result<V, Errno>,
    ) -> Result<V, T::Error> {
        self.try_create(make)?.map_err(|errno| self.failed(action, errno))
    }

    /// Runs `make`; if the name is taken, removes what is there and runs it again.
    fn try_create<V>(
        &mut self,
        make: impl Fn(&Site<T::Path>) -> Result<V, Errno>,
    ) -> Result<Result<V, Errno>, T::Error> {
        match make(&self.site) {
            Err(Errno::EXIST) => {
                self.tree.make_room(&self.site, self.tar.recorder())?;
                Ok(make(&self.site))
            }
            made => Ok(made),
        }
    }

    fn failed(&self, action: Action, errno: Errno) -> T::Error {
        self.tree.failure(&self.site, self.entry, (action, io::Error::from(errno)))
    }
}
