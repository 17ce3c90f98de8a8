//! How this process keeps containers apart from the machine: what it is allowed to do there, and what all its containers
//! share. Decided once for an engine and handed to every step.

use crate::ExecutorError;
use rbuild_cache::{Store, Writer, create_private_file, make_dirs_with_mode};
use rbuild_sys::{
    cgroup::{Cgroups, remove_left_behind},
    spawn::{Guard, ProcessIdentity},
    userns::PrivilegeKind,
};
use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

/// Longest line of a guard's file: two identities.
const LONGEST_ENTRY: u64 = 100;

/// The privilege, guard and control groups that containers of one engine share. They are made for the first container.
#[derive(Debug)]
pub struct Isolation {
    privilege: PrivilegeKind,
    /// A file for each running guard, so that the next rbuild can end what a killed one left.
    guards: PathBuf,
    guard: Mutex<Option<Registered>>,
    cgroups: OnceLock<Cgroups>,
}

/// A guard, and the file that names it.
#[derive(Debug)]
struct Registered {
    guard: Arc<Guard>,
    _entry: Entry,
}

/// Removed when the guard is let go of.
#[derive(Debug)]
struct Entry(PathBuf);

impl Drop for Entry {
    fn drop(&mut self) {
        // what stays is removed by the next rbuild
        let _ = fs::remove_file(&self.0);
    }
}

impl Isolation {
    /// Isolation with the privilege of the writer of `store`, which names the guards of running containers.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        let privilege = match store.writer() {
            Writer::Root => PrivilegeKind::Root,
            Writer::User { .. } => PrivilegeKind::UserNamespace,
        };
        Self { privilege, guards: store.guards_dir(), guard: Mutex::new(None), cgroups: OnceLock::new() }
    }

    /// True if this process is root of the machine.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.privilege == PrivilegeKind::Root
    }

    /// Whose root this process is.
    pub(crate) fn privilege(&self) -> PrivilegeKind {
        self.privilege
    }

    /// The control groups of containers, made at their first use.
    pub(crate) fn cgroups(&self) -> &Cgroups {
        self.cgroups.get_or_init(Cgroups::create)
    }

    /// Makes what containers share before the first one needs it, which tells what cannot be made.
    pub fn prepare(&self) {
        let _ = self.guard();
        self.cgroups();
    }

    /// The guard of all containers, started at its first use and again if it was killed.
    pub(crate) fn guard(&self) -> Result<Arc<Guard>, ExecutorError> {
        let mut current = self.guard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(registered) = &*current
            && registered.guard.is_running()
        {
            return Ok(registered.guard.clone());
        }
        self.end_left_behind();
        let guard = Guard::start().map_err(|error| ExecutorError::Sandbox(error.into()))?;
        let guard = Arc::new(guard);
        let path = self.register(&guard).map_err(|(path, error)| {
            ExecutorError::system("write", path.as_os_str().as_encoded_bytes(), error)
        })?;
        *current = Some(Registered { guard: guard.clone(), _entry: Entry(path) });
        Ok(guard)
    }

    fn register(&self, guard: &Guard) -> Result<PathBuf, (PathBuf, io::Error)> {
        let fail = |path: &Path| {
            let path = path.to_owned();
            move |error| (path, error)
        };
        make_dirs_with_mode(&self.guards, 0o700).map_err(fail(&self.guards))?;
        let identity = guard.pid().and_then(ProcessIdentity::of).and_then(|found| found.ok_or_else(ended));
        let own = ProcessIdentity::own();
        let (identity, own) = (identity.map_err(fail(&self.guards))?, own.map_err(fail(&self.guards))?);
        let path = self.guards.join(identity.to_string());
        create_private_file(&path)
            .and_then(|mut file| file.write_all(own.to_string().as_bytes()))
            .map_err(fail(&path))?;
        Ok(path)
    }

    /// Ends guards whose rbuild is gone, and with them every process of its containers, and removes its control groups. A guard ends
    /// by itself; this is for one that was stopped or frozen. What cannot be read is left alone.
    pub fn end_left_behind(&self) {
        let Ok(entries) = fs::read_dir(&self.guards) else { return };
        let mut left = Vec::new();
        for entry in entries.flatten() {
            let Some(guard) =
                entry.file_name().to_str().and_then(|name| name.parse::<ProcessIdentity>().ok())
            else {
                continue;
            };
            let builder = read_entry(&entry.path());
            let runs = builder.is_some_and(|builder| builder.is_running());
            // a file without a builder is one that is being written, unless its guard is gone
            if runs || (builder.is_none() && guard.is_running()) {
                continue;
            }
            left.push((guard.kill().is_ok(), entry.path()));
        }
        // the files stay for a next time while processes are still ending
        if !left.is_empty() && remove_left_behind() {
            for (_, path) in left.iter().filter(|(is_killed, _)| *is_killed) {
                let _ = fs::remove_file(path);
            }
        }
    }
}

fn read_entry(path: &Path) -> Option<ProcessIdentity> {
    let mut text = String::new();
    let file = File::open(path).ok()?;
    io::Read::read_to_string(&mut io::Read::take(file, LONGEST_ENTRY), &mut text).ok()?;
    text.parse().ok()
}

fn ended() -> io::Error {
    io::Error::other("the process has ended")
}
