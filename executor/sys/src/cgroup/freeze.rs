//! Stopping a container that another process runs, all of its processes at one moment, for as long as its files are read.
//!
//! The kernel keeps a control group frozen until a process writes otherwise (cgroups(7)), so a process that freezes one and is
//! killed would leave it so. A process that waits for the end of this one, as a guard of containers does, thaws it then. It is
//! in a session of its own: what is typed or sent to rbuild does not reach it.

use super::{PREFIX, hierarchy::Hierarchy};
use crate::{
    SysError,
    spawn::{ProcessIdentity, Waiting},
};
use nix::{
    errno::Errno,
    fcntl::{OFlag, openat},
    sys::stat::Mode,
};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// How long the processes of a group may take to stop. One that waits for a disk stops when it has been answered.
const LONGEST: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(1);

/// A frozen container. It runs on when this is dropped, or when this process ends, however it ends.
#[derive(Debug)]
pub struct Frozen {
    control: OwnedFd,
    waiting: Waiting,
}

impl Frozen {
    /// Freezes the container whose first process is `pid`, and returns when all of its processes stand still. `lock` is a lock
    /// of the process that freezes it, and stays held until it is thawed, also when this process is killed. `None` when the
    /// container has no group that this process may freeze.
    ///
    /// # Errors
    /// [`SysError`] when its processes do not stop, or no process can be started that thaws them.
    pub fn of(pid: i32, lock: BorrowedFd<'_>) -> Result<Option<Self>, SysError> {
        let Some(group) = Hierarchy::unified_of(pid).filter(|found| is_container(found.group())) else {
            return Ok(None);
        };
        let (Ok(directory), fail) =
            (group.open(), |call, source| SysError::call(call, "cgroup.freeze", source))
        else {
            return Ok(None);
        };
        let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let control = match openat(&directory, "cgroup.freeze", flags, Mode::empty()) {
            Ok(control) => control,
            Err(Errno::ENOENT | Errno::EACCES | Errno::EROFS | Errno::EPERM) => return Ok(None),
            Err(errno) => return Err(fail("open", errno.into())),
        };
        // the process that thaws is there before anything is frozen
        let waiting = Waiting::alone(lock, control.as_fd())
            .map_err(|error| fail("starting a process to write", io::Error::other(error)))?;
        let frozen = Self { control, waiting };
        nix::unistd::write(&frozen.control, b"1").map_err(|errno| fail("write", errno.into()))?;
        wait_until_frozen(&directory).map_err(|source| fail("waiting after a write", source))?;
        Ok(Some(frozen))
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // the one that waits does it too, but may have been killed
        let _ = nix::unistd::write(&self.control, b"0");
        self.waiting.release();
    }
}

/// True for the path of a group that rbuild made for a container: no other is ever frozen.
fn is_container(group: &Path) -> bool {
    let name = |path: Option<&Path>| path?.file_name()?.to_str().map(str::to_owned);
    let made = name(group.parent());
    let process = made.as_deref().and_then(|name| name.strip_prefix(PREFIX)?.parse::<ProcessIdentity>().ok());
    process.is_some() && name(Some(group)).is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
}

fn wait_until_frozen(group: &OwnedFd) -> io::Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < LONGEST {
        let events = openat(group, "cgroup.events", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
        let mut text = [0; 256];
        let length = nix::unistd::read(&events, &mut text)?;
        if text[..length].split(|byte| *byte == b'\n').any(|line| line == b"frozen 1") {
            return Ok(());
        }
        thread::sleep(PAUSE);
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "its processes do not stop"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_groups_of_containers_are_frozen() {
        for (group, is) in [
            ("rbuild-12-3456/0", true),
            ("user.slice/rbuild-12-3456/17", true),
            ("rbuild-12-3456", false),
            ("rbuild-12/0", false),
            ("rbuild-12-3456/x", false),
            ("system.slice/0", false),
            ("", false),
        ] {
            assert_eq!(is_container(Path::new(group)), is, "{group}");
        }
    }
}
