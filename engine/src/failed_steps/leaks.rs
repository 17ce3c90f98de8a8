//! Files that a command has written with a secret in them. They are left out of what is kept of a failed step, because no secret
//! may outlive its build on the disk. A secret that a command has encoded is not recognised.

use crate::guest::mask::Mask;
use nix::fcntl::OFlag;
use std::{
    fs::{self, FileType, OpenOptions},
    io::{self, Read},
    os::unix::{ffi::OsStrExt, fs::OpenOptionsExt},
    path::Path,
};

/// Bytes read at a time.
const PIECE: usize = 256 << 10;

/// Removes what is at or below `top` and has one of `secrets` in its bytes, its name, where it leads or an attribute; returns the
/// paths, as the command knew them.
///
/// # Errors
/// An I/O error when something cannot be read or removed.
pub(super) fn remove(top: &Path, secrets: &[&[u8]]) -> io::Result<Vec<String>> {
    let mut removed = Vec::new();
    if Mask::new(secrets.iter().copied()).is_none() {
        return Ok(removed);
    }
    let mut pending = vec![top.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory)? {
            let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
            let name = path.file_name().map_or(&[][..], OsStrExt::as_bytes);
            let within = if kind.is_symlink() {
                holds(fs::read_link(&path)?.as_os_str().as_bytes(), secrets)
            } else {
                (kind.is_file() || kind.is_dir()) && file_holds(&path, kind, secrets)?
            };
            let leaks = within || holds(name, secrets);
            if leaks {
                let shown = path.strip_prefix(top).unwrap_or(&path);
                removed.push(format!("/{}", shown.display()));
                if kind.is_dir() { fs::remove_dir_all(&path)? } else { fs::remove_file(&path)? }
            } else if kind.is_dir() {
                pending.push(path);
            }
        }
    }
    // a name that is a secret itself is not shown
    removed.retain(|path| !holds(path.as_bytes(), secrets));
    removed.sort();
    Ok(removed)
}

fn holds(bytes: &[u8], secrets: &[&[u8]]) -> bool {
    let Some(mut mask) = Mask::new(secrets.iter().copied()) else { return false };
    mask.finds(bytes) || mask.finds_to_the_end()
}

/// Looks into a file or directory and its attributes.
fn file_holds(path: &Path, kind: FileType, secrets: &[&[u8]]) -> io::Result<bool> {
    let Some(mut mask) = Mask::new(secrets.iter().copied()) else { return Ok(false) };
    // nothing that the command left in the place of a file is followed
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let mut file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    let attributes = rbuild_executor::read_attributes(&file);
    if attributes.iter().any(|(name, value)| holds(name, secrets) || holds(value, secrets)) {
        return Ok(true);
    }
    if kind.is_dir() {
        return Ok(false);
    }
    let mut buffer = vec![0; PIECE];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(mask.finds_to_the_end()),
            Ok(count) if mask.finds(&buffer[..count]) => return Ok(true),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
