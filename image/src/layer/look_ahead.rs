//! Files of a directory tree, looked at and read by other threads before the writer of a tar comes to them: a tar is written in one
//! order, and small files cost their system calls. What is ahead is bounded, and a small tree starts no thread.

use rustix::{
    buffer::spare_capacity,
    fs::{AtFlags, FileType, Mode, OFlags, Stat, fgetxattr, fstat, openat, statat},
    io::{Errno, read},
};
use std::{
    collections::VecDeque,
    ffi::CString,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
};

/// Files up to this length are read ahead.
const SMALL: u64 = 32 << 10;
/// Names that one thread takes at once.
pub(super) const PIECE: usize = 16;
/// Pieces that are ahead at most: they hold 24 MiB if every file has the greatest length.
pub(super) const AHEAD: usize = 48;
/// Pieces that a helper is woken for: waking costs about as much as looking at one.
const WORTH_WAKING: usize = 4;
/// More threads than this only wait for each other in the kernel.
const MOST: usize = 4;

/// The call that failed, and why.
pub(super) type Failure = (&'static str, Errno);

/// A name as a directory lists it.
pub(super) struct Name {
    pub(super) text: CString,
    pub(super) kind: FileType,
}

/// Some names of one directory, to be looked at.
pub(super) struct Piece {
    directory: Arc<OwnedFd>,
    names: Vec<Name>,
    looked: OnceLock<Vec<Result<Looked, Failure>>>,
}

/// A name that was looked at.
pub(super) struct Looked {
    pub(super) stat: Stat,
    /// Of a small regular file.
    pub(super) small: Option<Small>,
}

/// A small file that was read.
pub(super) struct Small {
    pub(super) capability: Option<Vec<u8>>,
    pub(super) content: Vec<u8>,
}

/// The threads that look ahead, and what they have to do.
pub(super) struct Helpers {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    todo: VecDeque<Arc<Piece>>,
    /// Helpers that wait for a piece.
    idle: usize,
    ended: bool,
}

impl Piece {
    pub(super) fn new(directory: &Arc<OwnedFd>, names: Vec<Name>) -> Arc<Self> {
        Arc::new(Self { directory: Arc::clone(directory), names, looked: OnceLock::new() })
    }

    pub(super) fn directory(&self) -> &Arc<OwnedFd> {
        &self.directory
    }

    pub(super) fn names(&self) -> &[Name] {
        &self.names
    }

    /// Looks at the names.
    fn look(&self) -> &[Result<Looked, Failure>] {
        let directory = self.directory.as_fd();
        self.looked.get_or_init(|| self.names.iter().map(|name| look(directory, name)).collect())
    }
}

impl Helpers {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::new(State { todo: VecDeque::new(), idle: 0, ended: false }),
            changed: Condvar::new(),
        }
    }

    /// How many threads there should be besides the writer and the one that takes what it writes.
    pub(super) fn count() -> usize {
        std::thread::available_parallelism().map_or(1, usize::from).min(MOST).saturating_sub(1)
    }

    /// Adds a piece that comes after all others.
    pub(super) fn push(&self, piece: &Arc<Piece>) {
        let mut state = self.lock();
        state.todo.push_back(Arc::clone(piece));
        let awaited = state.idle > 0 && state.todo.len() >= WORTH_WAKING;
        drop(state);
        if awaited {
            self.changed.notify_one();
        }
    }

    /// What was found in `piece`, which was pushed. While a helper looks at it, this thread looks at those after it.
    pub(super) fn looked<'a>(&self, piece: &'a Piece) -> &'a [Result<Looked, Failure>] {
        loop {
            if let Some(looked) = piece.looked.get() {
                return looked;
            }
            let next = self.lock().todo.pop_front();
            match next {
                Some(next) => {
                    next.look();
                }
                None => return piece.looked.wait(),
            }
        }
    }

    /// Works until the end.
    pub(super) fn help(&self) {
        let mut state = self.lock();
        while !state.ended {
            match state.todo.pop_front() {
                Some(piece) => {
                    drop(state);
                    piece.look();
                    drop(piece);
                    state = self.lock();
                }
                None => {
                    state.idle += 1;
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                    state.idle -= 1;
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the helpers' work when it is dropped.
pub(super) struct End<'a>(pub(super) &'a Helpers);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.changed.notify_all();
    }
}

fn look(directory: BorrowedFd<'_>, name: &Name) -> Result<Looked, Failure> {
    if name.kind != FileType::RegularFile {
        let stat = statat(directory, &name.text, AtFlags::SYMLINK_NOFOLLOW);
        return Ok(Looked { stat: stat.map_err(|errno| ("stat", errno))?, small: None });
    }
    // an open file is looked at without a way to it
    let file = open(directory, &name.text).map_err(|errno| ("open", errno))?;
    let stat = fstat(&file).map_err(|errno| ("stat", errno))?;
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    // an empty file may be a whiteout, which the writer finds out
    let is_small = is_file && (1..=SMALL).contains(&(stat.st_size as u64));
    let small = if is_small { Some(read_small(&file, stat.st_size as usize)?) } else { None };
    Ok(Looked { stat, small })
}

fn read_small(file: &OwnedFd, length: usize) -> Result<Small, Failure> {
    let capability = attribute(file.as_fd(), "security.capability")?;
    let mut content = Vec::with_capacity(length);
    while content.len() < length {
        match read(file, spare_capacity(&mut content)) {
            Err(Errno::INTR) => {}
            Err(errno) => return Err(("read", errno)),
            // the writer finds that it is too short
            Ok(0) => break,
            Ok(_) => {}
        }
    }
    // it may have grown
    content.truncate(length);
    Ok(Small { capability, content })
}

/// Opens a file for reading, where that is allowed without a change of its time of access, which would have to be written.
pub(super) fn open(directory: BorrowedFd<'_>, name: &std::ffi::CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(directory, name, flags | OFlags::NOATIME, Mode::empty()) {
        // it is another user's, in the root of a running container
        Err(Errno::PERM) => openat(directory, name, flags, Mode::empty()),
        opened => opened,
    }
}

/// The value of an attribute that is at most 24 bytes long (`linux/capability.h`, `struct vfs_ns_cap_data`), or a mark of overlayfs.
pub(super) fn attribute(file: BorrowedFd<'_>, name: &str) -> Result<Option<Vec<u8>>, Failure> {
    let mut value = [0; 64];
    match fgetxattr(file, name, &mut value) {
        Ok(length) => Ok(Some(value[..length].to_vec())),
        Err(Errno::NODATA | Errno::NOTSUP) => Ok(None),
        Err(errno) => Err(("read the attributes of", errno)),
    }
}
