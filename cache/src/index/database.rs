//! The sled database behind the index: opened for one transaction under `locks/index`, closed again, and started anew
//! when it is damaged. sled panics on some damage, so every call into it is caught.

use crate::{
    Store, StoreError, Warning,
    disk::{DIRECTORY_MODE, FILE_MODE, FileLock, LockMode, OnUnlock, list, make_dirs, remove_tree},
};
use std::{
    cell::{Cell, RefCell},
    fs, io,
    os::unix::fs::PermissionsExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// Size of sled's log segments. Part of the on-disk format: sled refuses to open with another one.
const SEGMENT_BYTES: usize = 256 * 1024;
/// Pages kept in memory; a transaction looks at a few hundred records at most.
const CACHE_BYTES: u64 = 8 * 1024 * 1024;
/// How long opening waits for a database that its last user is still closing.
const CLOSING: Duration = Duration::from_secs(10);

/// An open database. Every operation notes the first sign of damage; the transaction acts on it after closing.
pub(crate) struct Database {
    /// `None` after [`Database::close`].
    tree: Option<sled::Db>,
    path: PathBuf,
    damage: RefCell<Option<String>>,
    written: Cell<bool>,
}

impl Store {
    /// True if another process or handle has written to the index since this handle or a clone of it first used it, so
    /// that what was not found then may be there now. Costs one stat(2).
    #[must_use]
    pub fn index_has_other_writers(&self) -> bool {
        self.index_writers().others_wrote(&self.at("locks/index"))
    }

    /// Runs `transaction` on the open database and closes it. Other processes and threads wait meanwhile. A damaged
    /// database is replaced by an empty one, before the transaction if opening shows it, else after it.
    pub(crate) fn with_database<T>(
        &self,
        transaction: impl FnOnce(&Database) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let path = self.at("index");
        let lock = FileLock::wait(&self.at("locks/index"), LockMode::Exclusive, OnUnlock::Keep)?;
        self.index_writers().begin(lock.file());
        let opened = match Database::open(&path) {
            Err(Failure::Damaged(_)) if remove_unfinished_snapshots(&path) => Database::open(&path),
            opened => opened,
        };
        let mut database = match opened {
            Err(Failure::Damaged(reason)) => {
                self.reset_index(&path, reason)?;
                Database::open(&path).map_err(|failure| failure.into_error(&path))?
            }
            opened => opened.map_err(|failure| failure.into_error(&path))?,
        };
        let result = transaction(&database);
        database.close();
        make_private(&path);
        if database.written.get() {
            self.index_writers().end(lock.file());
        }
        if let Some(reason) = database.damage.take() {
            self.reset_index(&path, reason)?;
        }
        result
    }

    /// Runs `transaction` on the database at `path`, which nobody else uses. A damaged one is an error.
    pub(crate) fn with_database_at<T>(
        path: &Path,
        transaction: impl FnOnce(&Database) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut database = Database::open(path).map_err(|failure| failure.into_error(path))?;
        let result = transaction(&database);
        database.close();
        result
    }

    /// Puts an empty database in place of a damaged one.
    fn reset_index(&self, path: &Path, reason: String) -> Result<(), StoreError> {
        self.warn(Warning::IndexReset { path: path.to_owned(), reason });
        let aside = self.space().path("index")?;
        match fs::rename(path, &aside) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(StoreError::io("replace", path, e)),
            Ok(()) | Err(_) => {}
        }
        let _ = remove_tree(&aside);
        make_dirs(path)
    }
}

/// Why a call into sled failed.
enum Failure {
    /// The system failed: no space, no permission, a failing disk.
    System(io::Error),
    /// The database's own bytes are damaged.
    Damaged(String),
}

impl Failure {
    fn into_error(self, path: &Path) -> StoreError {
        match self {
            Self::System(e) => StoreError::io("use", path, e),
            Self::Damaged(_) => StoreError::IndexDamaged { path: path.to_owned() },
        }
    }
}

impl Database {
    fn open(path: &Path) -> Result<Self, Failure> {
        let config = sled::Config::new()
            .path(path)
            .mode(sled::Mode::HighThroughput)
            .segment_size(SEGMENT_BYTES)
            .cache_capacity(CACHE_BYTES)
            // no flusher thread: closing flushes
            .flush_every_ms(None);
        let begun = Instant::now();
        loop {
            match caught(path, || config.open()) {
                Ok(tree) => {
                    let (path, damage) = (path.to_owned(), RefCell::new(None));
                    return Ok(Self { tree: Some(tree), path, damage, written: Cell::new(false) });
                }
                // sled's lock outlives its handle while its threads finish; no other process has it, as we hold ours
                Err(Failure::Damaged(reason))
                    if reason.contains("could not acquire lock") && begun.elapsed() < CLOSING =>
                {
                    thread::sleep(Duration::from_micros(200));
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Runs `operation` on the database.
    ///
    /// # Errors
    /// [`StoreError::IndexDamaged`] when the database turns out to be damaged, else the system's error.
    pub(crate) fn run<T>(
        &self,
        operation: impl FnOnce(&sled::Db) -> sled::Result<T>,
    ) -> Result<T, StoreError> {
        let damaged = || StoreError::IndexDamaged { path: self.path.clone() };
        if self.damage.borrow().is_some() {
            return Err(damaged());
        }
        let tree = self.tree.as_ref().ok_or_else(damaged)?;
        caught(&self.path, || operation(tree)).map_err(|failure| {
            if let Failure::Damaged(reason) = &failure {
                self.damage.replace(Some(reason.clone()));
            }
            failure.into_error(&self.path)
        })
    }

    /// Runs `operation`, which writes, on the database.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub(crate) fn write<T>(
        &self,
        operation: impl FnOnce(&sled::Db) -> sled::Result<T>,
    ) -> Result<T, StoreError> {
        self.written.set(true);
        self.run(operation)
    }

    fn close(&mut self) {
        let tree = self.tree.take();
        if let Err(Failure::Damaged(reason)) = caught(&self.path, || {
            drop(tree);
            Ok(())
        }) {
            self.damage.borrow_mut().get_or_insert(reason);
        }
    }
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
        if found.permissions().mode() & 0o7777 != mode {
            let _ = fs::set_permissions(entry.path(), fs::Permissions::from_mode(mode));
        }
    }
}

/// sled unwraps some write errors; a full disk is not a damaged index.
fn is_full(path: &Path) -> bool {
    nix::sys::statvfs::statvfs(path).is_ok_and(|disk| {
        u128::from(disk.blocks_available()) * u128::from(disk.fragment_size()) < 4 * 1024 * 1024
    })
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("the database panicked").to_owned()
}
