//! The way through a directory tree in the order of a tar: byte order of names, parents before children. Directories are opened
//! and listed, files are only named.

use super::look_ahead::{Failure, Name, PIECE, Piece};
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, RawDir, openat, statat},
    io::Errno,
};
use std::{
    ffi::CString,
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    vec,
};

/// Bytes of directory entries asked for in one call; most directories need one.
const DIRECTORY_BUFFER: usize = 64 << 10;

/// What comes next.
pub(super) enum Way {
    /// Names of the directory at hand. Only the last may be a directory, and then it is entered next.
    Names(Arc<Piece>),
    /// The directory of that name.
    Enter(CString, Result<Arc<OwnedFd>, Failure>),
    /// The names of the directory at hand could not be read.
    Unreadable(Failure),
    /// Back to the directory above.
    Leave,
}

/// Where the walk is.
pub(super) struct Scout {
    entries: Box<[MaybeUninit<u8>]>,
    /// Open directories with the names that are left in them.
    stack: Vec<(Arc<OwnedFd>, vec::IntoIter<Name>)>,
    next: Option<Way>,
}

impl Scout {
    /// At the beginning of the tree at `root`.
    pub(super) fn new(root: &Arc<OwnedFd>) -> Self {
        let entries = Box::new_uninit_slice(DIRECTORY_BUFFER);
        let mut scout = Self { entries, stack: Vec::new(), next: None };
        scout.list(root);
        scout
    }

    fn list(&mut self, directory: &Arc<OwnedFd>) {
        match names(directory, &mut self.entries) {
            Ok(names) => self.stack.push((Arc::clone(directory), names.into_iter())),
            Err(errno) => self.next = Some(Way::Unreadable(("read", errno))),
        }
    }
}

impl Iterator for Scout {
    type Item = Way;

    fn next(&mut self) -> Option<Way> {
        if let Some(next) = self.next.take() {
            if let Way::Enter(_, Ok(directory)) = &next {
                let directory = Arc::clone(directory);
                self.list(&directory);
            }
            return Some(next);
        }
        let (directory, names) = self.stack.last_mut()?;
        let (mut piece, mut enters) = (Vec::new(), false);
        while piece.len() < PIECE && !enters {
            let Some(name) = names.next() else { break };
            enters = name.kind == FileType::Directory;
            piece.push(name);
        }
        if piece.is_empty() {
            self.stack.pop();
            return Some(Way::Leave);
        }
        if let (true, Some(name)) = (enters, piece.last()) {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let opened = openat(&**directory, &name.text, flags, Mode::empty());
            let opened = opened.map(Arc::new).map_err(|errno| ("open", errno));
            self.next = Some(Way::Enter(name.text.clone(), opened));
        }
        Some(Way::Names(Piece::new(directory, piece)))
    }
}

/// The names in `directory`, sorted.
fn names(directory: &OwnedFd, entries: &mut [MaybeUninit<u8>]) -> Result<Vec<Name>, Errno> {
    let mut names = Vec::new();
    let mut list = RawDir::new(directory, entries);
    while let Some(entry) = list.next() {
        let entry = entry?;
        let text = entry.file_name();
        if matches!(text.to_bytes(), b"." | b"..") {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => statat(directory.as_fd(), text, AtFlags::SYMLINK_NOFOLLOW)
                .map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode)),
            kind => kind,
        };
        names.push(Name { text: text.to_owned(), kind });
    }
    names.sort_unstable_by(|a, b| a.text.cmp(&b.text));
    Ok(names)
}
