//! A root that is a copy, for other processes: what a container that still runs has changed is found by them as by the process
//! that runs it, which notes for that where the copy is and how it was.

use super::{before::Before, changes::collect, held::on};
use crate::ExecutorError;
use rbuild_cache::Store;
use std::{
    ffi::OsStr,
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// Begins a note, with its version.
const BEGIN: &[u8] = b"copy of a root, 1\n";

/// Writes to `path` that the copy at `root` was as `before`.
pub(super) fn note(path: &Path, root: &Path, before: &Before) -> Result<(), ExecutorError> {
    let mut bytes = BEGIN.to_vec();
    bytes.extend_from_slice(root.as_os_str().as_bytes());
    bytes.push(0);
    before.encode(&mut bytes);
    fs::write(path, bytes).map_err(on("write", path))
}

/// Puts into the empty directory `to`, in overlay form, what a container that runs has changed, if its root is a copy; `note` is
/// where that was noted. Returns whether it is one: if not, its changes are in its upper directory.
///
/// # Errors
/// [`ExecutorError::System`] with the path that cannot be read or made.
pub fn collect_running(store: &Store, note: &Path, to: &Path) -> Result<bool, ExecutorError> {
    let bytes = match fs::read(note) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        bytes => bytes.map_err(on("read", note))?,
    };
    let Some((root, before)) = parse(&bytes) else {
        let error =
            io::Error::new(io::ErrorKind::InvalidData, "it is damaged, or of another version of rbuild");
        return Err(on("read", note)(error));
    };
    collect(&before, &root, to, store)?;
    Ok(true)
}

fn parse(bytes: &[u8]) -> Option<(PathBuf, Before)> {
    let rest = bytes.strip_prefix(BEGIN)?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    Some((OsStr::from_bytes(&rest[..end]).into(), Before::decode(&rest[end + 1..])?))
}
