//! Programs that tests make and then run.
//!
//! They are written by another process: what this one has open for writing is, for a moment, also open in every child
//! that a test on another thread is just starting, and the kernel refuses to execute such a file (`ETXTBSY`).

use std::{
    fs::{self, Permissions},
    io::Write,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

/// A copy of the program `from`, which everybody may run.
///
/// # Panics
/// When it cannot be made.
pub fn copy_program(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg(from).arg(to).status().expect("cp can be run");
    assert!(copied.success(), "{} cannot be copied to {}", from.display(), to.display());
    fs::set_permissions(to, Permissions::from_mode(0o755)).expect("the copy is ours");
}

/// A script, which everybody may run.
///
/// # Panics
/// When it cannot be written.
pub fn write_program(path: &Path, text: &str) {
    let mut command = Command::new("sh");
    command.args(["-c", "cat > \"$0\""]).arg(path).stdin(Stdio::piped());
    let mut child = command.spawn().expect("sh can be run");
    child.stdin.take().expect("it is piped").write_all(text.as_bytes()).expect("cat reads");
    assert!(child.wait().expect("it is our child").success(), "{} cannot be written", path.display());
    fs::set_permissions(path, Permissions::from_mode(0o755)).expect("the file is ours");
}
