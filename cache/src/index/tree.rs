//! The sled database that has the rows of the index but for the last ones. Opening it costs milliseconds and waits for the disk. sled
//! panics on some damage, so every call into it is caught; on a full disk some of its calls never return, so a thread makes them, for
//! which nobody waits for ever.

use crate::{
    StoreError,
    disk::{DIRECTORY_MODE, FILE_MODE, FileStat, list},
};
use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

/// Size of sled's log segments. Part of the on-disk format: sled refuses to open with another one.
const SEGMENT_BYTES: usize = 256 * 1024;
/// Pages kept in memory; a transaction looks at a few hundred records at most.
const CACHE_BYTES: u64 = 8 * 1024 * 1024;
/// How long opening waits for a database that its last user is still closing.
const CLOSING: Duration = Duration::from_secs(10);
/// Below so many free bytes a disk counts as full.
const FULL: u64 = 4 << 20;
/// What sled may write besides rows: segments, a snapshot, files of pages that are large.
const SCRATCH: u64 = 8 << 20;
/// How many times a row may be written when it becomes part of pages.
const COPIES: u64 = 8;

/// How long a call into sled may take.
#[derive(Clone, Copy)]
struct Patience {
    /// How often it is seen whether the disk is full.
    look: Duration,
    /// On a full disk, where it may never end.
    full: Duration,
    /// On any.
    usual: Duration,
}

const PATIENCE: Patience =
    Patience { look: Duration::from_secs(1), full: Duration::from_secs(5), usual: Duration::from_secs(120) };

/// The files, by device and inode, of databases that have stopped answering: this process cannot use them any more.
static STALLED: Mutex<Vec<(u64, u64)>> = Mutex::new(Vec::new());

/// Why a call into sled failed.
pub(super) enum Failure {
    /// The system failed: no space, no permission, a failing disk.
    System(io::Error),
    /// It has not returned. The database is lost to this process.
    Stalled(io::Error),
    /// The database's own bytes are damaged.
    Damaged(String),
}

impl Failure {
    pub(super) fn into_error(self, path: &Path) -> StoreError {
        match self {
            Self::System(e) | Self::Stalled(e) => StoreError::io("use", path, e),
            Self::Damaged(_) => StoreError::IndexDamaged { path: path.to_owned() },
        }
    }
}

/// An open database, in the hands of a thread.
pub(super) struct Tree {
    path: PathBuf,
    calls: Sender<Call>,
    closed: Receiver<Result<(), Failure>>,
}

type Call = Box<dyn FnOnce(&sled::Db) + Send>;

impl Tree {
    /// Opens the database in the directory `path`, which is made when there is none.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        if FileStat::at(&path.join("db")).is_ok_and(|file| file.is_some_and(|file| is_stalled(&file))) {
            return Err(Failure::Stalled(reason(path)));
        }
        let (opening, opened) = channel();
        let (calls, called) = channel::<Call>();
        let (closing, closed) = channel();
        let own = path.to_owned();
        let serve = move || match open(&own) {
            Err(failure) => drop(opening.send(Err(failure))),
            Ok(tree) => {
                // who has given up waiting gives no call either
                let _ = opening.send(Ok(()));
                called.iter().for_each(|call| call(&tree));
                let _ = closing.send(close(tree, &own));
            }
        };
        thread::Builder::new().name("index".to_owned()).spawn(serve).map_err(Failure::System)?;
        wait(path, &opened, PATIENCE)?;
        Ok(Self { path: path.to_owned(), calls, closed })
    }

    /// Runs `operation` on the database.
    pub(super) fn call<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&sled::Db) -> sled::Result<T> + Send + 'static,
    ) -> Result<T, Failure> {
        let (answer, answered) = channel();
        let path = self.path.clone();
        let call = move |tree: &sled::Db| drop(answer.send(caught(&path, || operation(tree))));
        // a thread that has ended drops the call, which ends the wait
        let _ = self.calls.send(Box::new(call));
        wait(&self.path, &answered, PATIENCE)
    }

    /// Closes the database, and gives its files their mode.
    pub(super) fn close(self) -> Result<(), Failure> {
        drop(self.calls);
        wait(&self.path, &self.closed, PATIENCE)
    }
}

/// True if the disk below `path` has room for what sled may write when it takes rows of `bytes`.
pub(super) fn has_room(path: &Path, bytes: u64) -> bool {
    free_bytes(path).is_none_or(|free| free >= SCRATCH.saturating_add(bytes.saturating_mul(COPIES)))
}

/// Waits until the threads of a database that was closed have ended, which may still write to its directory; false if that takes long.
pub(super) fn is_left(path: &Path) -> bool {
    let begun = Instant::now();
    loop {
        let Ok(file) = fs::File::open(path.join("db")) else { return true };
        if file.try_lock().is_ok() {
            return true;
        }
        if begun.elapsed() >= CLOSING {
            return false;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Waits for an answer, as long as it makes sense.
fn wait<T>(path: &Path, answered: &Receiver<Result<T, Failure>>, patience: Patience) -> Result<T, Failure> {
    let begun = Instant::now();
    loop {
        match answered.recv_timeout(patience.look) {
            Ok(answer) => return answer,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Failure::Damaged("the database has ended".to_owned()));
            }
            Err(RecvTimeoutError::Timeout) => {
                let limit = if is_full(path) { patience.full } else { patience.usual };
                if begun.elapsed() >= limit {
                    note_stalled(path);
                    return Err(Failure::Stalled(reason(path)));
                }
            }
        }
    }
}

fn note_stalled(path: &Path) {
    if let Ok(Some(file)) = FileStat::at(&path.join("db")) {
        STALLED.lock().unwrap_or_else(PoisonError::into_inner).push((file.device, file.inode));
    }
}

fn is_stalled(file: &FileStat) -> bool {
    STALLED.lock().unwrap_or_else(PoisonError::into_inner).contains(&(file.device, file.inode))
}

/// Why a database may have stopped answering.
fn reason(path: &Path) -> io::Error {
    if is_full(path) {
        io::Error::from_raw_os_error(nix::libc::ENOSPC)
    } else {
        io::Error::new(io::ErrorKind::TimedOut, "the database of the index has not answered in time")
    }
}

fn open(path: &Path) -> Result<sled::Db, Failure> {
    let config = sled::Config::new()
        .path(path)
        .mode(sled::Mode::HighThroughput)
        .segment_size(SEGMENT_BYTES)
        .cache_capacity(CACHE_BYTES)
        // no flusher thread: closing flushes
        .flush_every_ms(None);
    if let Some(name) = strange_file(path) {
        return Err(Failure::Damaged(format!("{name} is not of the right kind")));
    }
    let begun = Instant::now();
    loop {
        match caught(path, || config.open()) {
            // sled's lock outlives its handle while its threads finish; no other process has it, as we hold ours
            Err(Failure::Damaged(reason))
                if reason.contains("could not acquire lock") && begun.elapsed() < CLOSING =>
            {
                thread::sleep(Duration::from_micros(200));
            }
            Err(Failure::Damaged(_)) if remove_unfinished_snapshots(path) => {}
            opened => return opened,
        }
    }
}

/// Something of the database that is of another kind than sled makes it, as a pipe, which opening it would wait for.
fn strange_file(path: &Path) -> Option<String> {
    let strange = |directory: &Path, is_right: &dyn Fn(&str, fs::FileType) -> bool| {
        let mut entries = fs::read_dir(directory).ok()?.flatten();
        entries.find_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            (!entry.file_type().is_ok_and(|kind| is_right(&name, kind))).then_some(name)
        })
    };
    let is_right = |name: &str, kind: fs::FileType| match name {
        "blobs" => kind.is_dir(),
        "db" | "conf" => kind.is_file(),
        // what else there may be is not sled's
        name => kind.is_file() || !name.starts_with("snap."),
    };
    strange(path, &is_right).or_else(|| strange(&path.join("blobs"), &|_, kind| kind.is_file()))
}

fn close(tree: sled::Db, path: &Path) -> Result<(), Failure> {
    let closed = caught(path, || {
        drop(tree);
        Ok(())
    });
    make_private(path);
    closed
}

/// Calls into sled, and sorts its errors and panics into failures of the system and damage of the database.
fn caught<T>(path: &Path, call: impl FnOnce() -> sled::Result<T>) -> Result<T, Failure> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(sled::Error::Io(e))) if e.raw_os_error().is_some() => Err(Failure::System(e)),
        Ok(Err(e)) => Err(Failure::Damaged(e.to_string())),
        Err(_) if is_full(path) => Err(Failure::System(io::Error::from_raw_os_error(nix::libc::ENOSPC))),
        Err(panic) => Err(Failure::Damaged(message(&*panic))),
    }
}

/// A process killed while sled writes a snapshot leaves `snap.<n>.generating`, which sled then takes for the newest
/// snapshot and finds damaged. Returns true if it removed one.
fn remove_unfinished_snapshots(path: &Path) -> bool {
    let unfinished = |name: &String| name.starts_with("snap.") && name.ends_with(".generating");
    let names = list(path).unwrap_or_default();
    names
        .iter()
        .filter(|name| unfinished(name))
        .filter(|name| fs::remove_file(path.join(name)).is_ok())
        .count()
        > 0
}

/// Removes permissions that sled gave to other users. A failure is harmless: they cannot search the directory anyway.
fn make_private(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let Ok(found) = entry.metadata() else { continue };
        let mode = if found.is_dir() { DIRECTORY_MODE } else { FILE_MODE };
        // the mode of a link is that of what it leads to
        if !found.is_symlink() && found.permissions().mode() & 0o7777 != mode {
            let _ = fs::set_permissions(entry.path(), fs::Permissions::from_mode(mode));
        }
    }
}

/// sled unwraps some write errors, and waits for ever after others; a full disk is not a damaged index.
fn is_full(path: &Path) -> bool {
    free_bytes(path).is_some_and(|free| free < FULL)
}

fn free_bytes(path: &Path) -> Option<u64> {
    let disk = nix::sys::statvfs::statvfs(path).ok()?;
    u64::try_from(u128::from(disk.blocks_available()) * u128::from(disk.fragment_size())).ok()
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("the database panicked").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_ever_and_what_has_stalled_is_not_waited_for_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let tree = Tree::open(path).ok().unwrap();
        let (_holds, never) = channel::<()>();
        let (answer, answered) = channel::<Result<(), Failure>>();
        let hangs = move |_: &sled::Db| {
            let _ = never.recv();
            drop(answer);
        };
        tree.calls.send(Box::new(hangs)).unwrap();
        let short = Duration::from_millis(20);
        let waited = wait(path, &answered, Patience { look: short, full: short, usual: short });
        assert!(matches!(waited, Err(Failure::Stalled(_))));
        assert!(matches!(Tree::open(path), Err(Failure::Stalled(_))), "not its lock");
        // another process has started it anew
        fs::remove_dir_all(path).unwrap();
        Tree::open(path).ok().unwrap().close().ok().unwrap();
    }

    #[test]
    fn no_disk_has_room_for_everything() {
        let directory = tempfile::tempdir().unwrap();
        assert!(has_room(directory.path(), 1000) && !has_room(directory.path(), u64::MAX / 2));
    }
}
