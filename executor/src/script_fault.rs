//! Why a program that is there cannot be started: it is a script, and the kernel's answer is about its interpreter. The file is
//! looked at after the failure, beneath the root.

use crate::snapshot::RootView;
use rbuild_oci::ImagePath;
use rbuild_sys::{SandboxError, ScriptFault, SpawnError, spawn::command_paths};
use rustix::io::Errno;
use std::{
    ffi::{OsStr, OsString},
    io,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
};

/// What the kernel reads of a script.
const HEAD: usize = 256;

/// `error`, with what is wrong with the script that `command` is in `root`, if that explains it.
pub(crate) fn explained(
    error: SandboxError,
    root: &RootView,
    (command, environment): (&OsStr, &[OsString]),
    directory: &ImagePath,
) -> SandboxError {
    let SandboxError::Spawn(error) = error else { return error };
    let errno = match &error {
        SpawnError::NotInPath { .. } => Some(Errno::NOENT),
        SpawnError::NotFound { source, .. } | SpawnError::Exec { source, .. } => Errno::from_io_error(source),
        _ => None,
    };
    let Some(errno) = errno else { return error.into() };
    let paths = command_paths(command, environment).into_iter().map(|path| path.into_bytes());
    let found = paths.into_iter().find_map(|path| {
        let whole = [directory.as_str().as_bytes(), b"/", &path].concat();
        let fault = fault(root, if path.starts_with(b"/") { &path } else { &whole }, errno)?;
        Some((OsString::from_vec(path), fault))
    });
    let error = match (found, error) {
        (Some((command, fault)), SpawnError::NotInPath { .. }) => {
            SpawnError::NotFound { command, script: Some(fault), source: io::Error::from(errno) }
        }
        (Some((_, fault)), SpawnError::NotFound { command, source, .. }) => {
            SpawnError::NotFound { command, script: Some(fault), source }
        }
        (Some((_, fault)), SpawnError::Exec { command, source, .. }) => {
            SpawnError::Exec { command, script: Some(fault), source }
        }
        (_, error) => error,
    };
    error.into()
}

fn fault(root: &RootView, path: &[u8], errno: Errno) -> Option<ScriptFault> {
    // what cannot be read explains nothing
    let head = root.read_head(path, HEAD).ok()??;
    let Some(line) = head.strip_prefix(b"#!") else {
        let is_text = !head.starts_with(b"\x7fELF") && !head.contains(&0);
        return (errno == Errno::NOEXEC && is_text).then_some(ScriptFault::Unnamed);
    };
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let line = line.split(|byte| *byte == b'\n').next()?;
    let interpreter = line.split(is_blank).find(|word| !word.is_empty())?;
    let is_missing = errno == Errno::NOENT && matches!(root.read_head(interpreter, 0), Ok(None));
    is_missing.then(|| ScriptFault::Missing(OsStr::from_bytes(interpreter).to_owned()))
}
