//! Opening paths that strangers wrote, without leaving a directory (openat2(2)).

use nix::{
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag, openat2},
    sys::stat::Mode,
};
use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
    path::Path,
};

/// The kernel gives up when a rename races with a resolution that contains `..`; it asks to try again.
const ATTEMPTS: usize = 128;

/// How a path below a directory is resolved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resolve {
    /// Symbolic links may point anywhere that is still below; leaving is `EXDEV`.
    Beneath,
    /// As `Beneath`, and a symbolic link anywhere in the path is `ELOOP`.
    BeneathNoSymlinks,
}

/// Opens `path` as a process chrooted into `root` would: absolute links start at `root`, `..` stops there.
/// `O_CLOEXEC` is added.
///
/// # Errors
/// The kernel's.
pub fn open_in_root(root: BorrowedFd<'_>, path: &Path, flags: OFlag, mode: Mode) -> io::Result<OwnedFd> {
    open(root, path, OpenHow::new().flags(flags | OFlag::O_CLOEXEC).mode(mode), ResolveFlag::RESOLVE_IN_ROOT)
}

/// Opens `path` only if it stays below `directory`. `O_CLOEXEC` is added.
///
/// # Errors
/// The kernel's; `EXDEV` if the path leads out.
pub fn open_below(
    directory: BorrowedFd<'_>,
    path: &Path,
    resolve: Resolve,
    flags: OFlag,
    mode: Mode,
) -> io::Result<OwnedFd> {
    let rule = match resolve {
        Resolve::Beneath => ResolveFlag::RESOLVE_BENEATH,
        Resolve::BeneathNoSymlinks => ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS,
    };
    open(directory, path, OpenHow::new().flags(flags | OFlag::O_CLOEXEC).mode(mode), rule)
}

fn open(directory: BorrowedFd<'_>, path: &Path, how: OpenHow, rule: ResolveFlag) -> io::Result<OwnedFd> {
    let how = how.resolve(rule | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    for _ in 1..ATTEMPTS {
        match openat2(directory, path, how) {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            answer => return answer.map_err(io::Error::from),
        }
    }
    openat2(directory, path, how).map_err(io::Error::from)
}
