//! The sled database that has the rows of the index but for the last ones. Opening it costs milliseconds and waits for the disk. sled
//! panics on some damage, so every call into it is caught.

use crate::{
    StoreError,
    disk::{DIRECTORY_MODE, FILE_MODE, list},
};
use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// Size of sled's log segments. Part of the on-disk format: sled refuses to open with another one.
const SEGMENT_BYTES: usize = 256 * 1024;
/// Pages kept in memory; a transaction looks at a few hundred records at most.
const CACHE_BYTES: u64 = 8 * 1024 * 1024;
/// How long opening waits for a database that its last user is still closing.
const CLOSING: Duration = Duration::from_secs(10);

/// Why a call into sled failed.
pub(super) enum Failure {
    /// The system failed: no space, no permission, a failing disk.
    System(io::Error),
    /// The database's own bytes are damaged.
    Damaged(String),
}

impl Failure {
    pub(super) fn into_error(self, path: &Path) -> StoreError {
        match self {
            Self::System(e) => StoreError::io("use", path, e),
            Self::Damaged(_) => StoreError::IndexDamaged { path: path.to_owned() },
        }
    }
}

/// Opens the database in the directory `path`, which is made when there is none.
pub(super) fn open(path: &Path) -> Result<sled::Db, Failure> {
    let config = sled::Config::new()
        .path(path)
        .mode(sled::Mode::HighThroughput)
        .segment_size(SEGMENT_BYTES)
        .cache_capacity(CACHE_BYTES)
        // no flusher thread: closing flushes
        .flush_every_ms(None);
    if let Some(name) = strange_file(path) {
        return Err(Failure::Damaged(format!("{name} is no regular file")));
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

/// A file of the database that is something else, as a pipe, which opening it would wait for.
fn strange_file(path: &Path) -> Option<String> {
    let kind = |name: &String| path.join(name).symlink_metadata().map(|found| found.file_type());
    list(path).ok()?.into_iter().find(|name| kind(name).is_ok_and(|kind| !kind.is_file() && !kind.is_dir()))
}

/// Closes the database, and gives its files their mode.
pub(super) fn close(tree: sled::Db, path: &Path) -> Result<(), Failure> {
    let closed = caught(path, || {
        drop(tree);
        Ok(())
    });
    make_private(path);
    closed
}

/// Calls into sled, and sorts its errors and panics into failures of the system and damage of the database.
pub(super) fn caught<T>(path: &Path, call: impl FnOnce() -> sled::Result<T>) -> Result<T, Failure> {
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
