//! The command line, environment and candidates for execve(2), laid out before the clone for the program that will
//! execute the command ([`crate::init`]).

use super::c_string;
use crate::{
    SpawnError,
    init::{EXECUTE, GUARD, INIT},
    program::os_error,
    raw,
};
use std::{
    ffi::{CStr, CString, OsStr, OsString},
    fmt,
    os::{fd::RawFd, unix::ffi::OsStrExt},
    path::Path,
    ptr,
};

/// Where a command without a slash is looked for when the environment has no `PATH` (as execvp(3)).
const FALLBACK_PATH: &[u8] = b"/bin:/usr/bin";

/// How often and how long the exec of a busy file is tried again: about a second.
const BUSY_TRIES: u32 = 500;
const BUSY_PAUSE: libc::timespec = libc::timespec { tv_sec: 0, tv_nsec: 2_000_000 };

/// A command with its environment. A first word without a slash is looked for in the `PATH` of *that*
/// environment, in the root the process will have.
pub struct Exec {
    /// `x`, the paths to try, an empty string, and the command's own.
    arguments: Vec<CString>,
    command: OsString,
    environment: Vec<CString>,
    argument_pointers: Pointers,
    environment_pointers: Pointers,
}

impl Exec {
    /// Prepares `command` with `environment`, a list of `NAME=value`.
    ///
    /// # Errors
    /// [`SpawnError::EmptyCommand`], [`SpawnError::Nul`].
    pub fn new<A: AsRef<OsStr>, E: AsRef<OsStr>>(
        command: &[A],
        environment: &[E],
    ) -> Result<Self, SpawnError> {
        let name = command.first().ok_or(SpawnError::EmptyCommand)?.as_ref();
        let mut arguments = vec![EXECUTE.to_owned()];
        arguments.extend(candidates(name, search_path(environment))?);
        arguments.push(CString::default());
        for word in command {
            arguments.push(c_string(word.as_ref(), "argument")?);
        }
        let environment = environment
            .iter()
            .map(|pair| c_string(pair.as_ref(), "variable"))
            .collect::<Result<Vec<_>, _>>()?;
        let (argument_pointers, environment_pointers) =
            (Pointers::to(&arguments), Pointers::to(&environment));
        let command = name.to_owned();
        Ok(Self { arguments, command, environment, argument_pointers, environment_pointers })
    }

    /// The same as a child of a first process that hands on signals and waits for orphans.
    #[must_use]
    pub fn below_init(mut self) -> Self {
        self.arguments[0] = INIT.to_owned();
        self.argument_pointers = Pointers::to(&self.arguments);
        self
    }

    /// The waiting program instead of one that executes a command.
    pub(super) fn guard() -> Self {
        let arguments = vec![GUARD.to_owned()];
        let (argument_pointers, environment_pointers) = (Pointers::to(&arguments), Pointers::to(&[]));
        let (command, environment) = (OsString::from("guard"), Vec::new());
        Self { arguments, command, environment, argument_pointers, environment_pointers }
    }

    /// Executes the program in memory behind `init`; returns its errno only if that failed. The program may still be
    /// open for writing in a child that another thread cloned while it was made, so `ETXTBSY` is waited for.
    ///
    /// # Safety
    /// Only in a child that is to become the command.
    pub(super) unsafe fn run(&self, init: RawFd) -> i32 {
        let (arguments, environment) =
            (self.argument_pointers.0.as_ptr() as usize, self.environment_pointers.0.as_ptr() as usize);
        let flags = libc::AT_EMPTY_PATH as usize;
        let args = [init as usize, c"".as_ptr() as usize, arguments, environment, flags, 0];
        let pause = BUSY_PAUSE;
        let mut errno = libc::ETXTBSY;
        for _ in 0..BUSY_TRIES {
            // SAFETY: the path is NUL-terminated and both arrays hold pointers to such strings and end with null.
            errno = unsafe { raw::syscall(libc::SYS_execveat, &args) }.unsigned_abs() as i32;
            if errno != libc::ETXTBSY {
                break;
            }
            // SAFETY: the structure outlives the call; the time left after an interruption is not asked for.
            unsafe { raw::syscall(libc::SYS_nanosleep, &[&raw const pause as usize, 0, 0, 0, 0, 0]) };
        }
        errno
    }

    pub(super) fn explain(&self, errno: i32) -> SpawnError {
        let command = self.command.clone();
        let source = os_error(errno);
        match errno {
            libc::ENOENT | libc::ENOTDIR if !command.as_bytes().contains(&b'/') => {
                SpawnError::NotInPath { command }
            }
            libc::ENOENT | libc::ENOTDIR => SpawnError::NotFound { command, script: None, source },
            _ => SpawnError::Exec { command, script: None, source },
        }
    }
}

impl fmt::Debug for Exec {
    /// The environment may hold secrets, so only its size is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exec")
            .field("arguments", &self.arguments)
            .field("variables", &self.environment.len())
            .finish_non_exhaustive()
    }
}

/// A null-terminated array of pointers to strings that live beside it and are never changed.
struct Pointers(Vec<*const libc::c_char>);

impl Pointers {
    fn to(strings: &[CString]) -> Self {
        Self(strings.iter().map(|text| CStr::as_ptr(text)).chain([ptr::null()]).collect())
    }
}

// SAFETY: the pointers are to heap memory of strings owned by the same `Exec` and only read.
unsafe impl Send for Pointers {}
// SAFETY: as above; there is no interior mutability.
unsafe impl Sync for Pointers {}

fn search_path<E: AsRef<OsStr>>(environment: &[E]) -> OsString {
    let value = environment.iter().rev().find_map(|pair| pair.as_ref().as_bytes().strip_prefix(b"PATH="));
    OsStr::from_bytes(value.unwrap_or(FALLBACK_PATH)).to_owned()
}

/// The paths at which `command` is looked for with this environment, in order.
#[must_use]
pub fn command_paths<E: AsRef<OsStr>>(command: &OsStr, environment: &[E]) -> Vec<CString> {
    candidates(command, search_path(environment)).unwrap_or_default()
}

fn candidates(name: &OsStr, path: OsString) -> Result<Vec<CString>, SpawnError> {
    if name.as_bytes().contains(&b'/') {
        return Ok(vec![c_string(name, "command")?]);
    }
    if name.is_empty() {
        return Ok(Vec::new());
    }
    let directories = path.into_encoded_bytes();
    let directories = directories.split(|byte| *byte == b':');
    directories
        .map(|directory| {
            // An empty element is the working directory.
            let directory = if directory.is_empty() { b"." } else { directory };
            c_string(Path::new(OsStr::from_bytes(directory)).join(name).as_os_str(), "command")
        })
        .collect()
}
