//! Network namespaces that are there before the processes in them (network_namespaces(7)).

use nix::sched::{CloneFlags, unshare};
use std::{fs::File, io, os::fd::OwnedFd, thread};

/// A new network namespace, in which there is a loopback interface that is down. It is gone once nothing refers to it.
///
/// # Errors
/// The kernel's; `EPERM` without privilege over the user namespace.
pub fn new_network() -> io::Result<OwnedFd> {
    // a thread of its own, because it is the caller's thread that enters what it makes
    let made = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET)?;
        File::open("/proc/thread-self/ns/net").map(OwnedFd::from)
    });
    made.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
}
