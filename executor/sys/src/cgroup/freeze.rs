//! Stopping a container that another process runs, all of its processes at one moment, for as long as its files are read.
//!
//! The kernel keeps a control group frozen until a process writes otherwise (cgroups(7)), so a process that freezes one and is
//! killed would leave it so. A process that waits for the end of this one, as a guard of containers does, thaws it then. It is
//! in a session of its own: what is typed or sent to rbuild does not reach it.

use super::{PREFIX, hierarchy::Hierarchy};
use crate::{
    SysError, read_proc,
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

/// What makes all processes of a container stand still, until it is told otherwise.
#[derive(Debug)]
pub struct Freezer {
    group: OwnedFd,
}

impl Freezer {
    /// That of the container whose first process has the text `groups` in `/proc/PID/cgroup`; `None` when it has no group that
    /// rbuild has made for it.
    #[must_use]
    pub fn of(groups: &str) -> Option<Self> {
        let hierarchy = Hierarchy::unified_with(groups).filter(|found| is_container(found.group()))?;
        hierarchy.open().ok().map(|group| Self { group })
    }

    /// That of the container whose first process is `pid`.
    #[must_use]
    pub fn of_process(pid: i32) -> Option<Self> {
        Self::of(&read_proc(format!("/proc/{pid}/cgroup")).ok()?)
    }

    /// True if it was made to stand still; false as well for what has ended.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.read("cgroup.freeze").is_ok_and(|text| text.trim() == "1")
    }

    /// Returns when all processes stand still; false when this process may not do that. Those that do not stop go on.
    ///
    /// # Errors
    /// [`SysError`] when they do not stop.
    pub fn freeze(&self) -> Result<bool, SysError> {
        let Some(control) = self.control()? else { return Ok(false) };
        nix::unistd::write(&control, b"1").map_err(|errno| failed("write", errno.into()))?;
        if let Err(error) = self.wait_until_frozen() {
            let _ = nix::unistd::write(&control, b"0");
            return Err(failed("waiting after a write", error));
        }
        Ok(true)
    }

    /// Lets them go on; false when this process may not do that.
    ///
    /// # Errors
    /// [`SysError`].
    pub fn thaw(&self) -> Result<bool, SysError> {
        let Some(control) = self.control()? else { return Ok(false) };
        nix::unistd::write(&control, b"0").map_err(|errno| failed("write", errno.into()))?;
        Ok(true)
    }

    /// The file that is written to; `None` when this process may not.
    fn control(&self) -> Result<Option<OwnedFd>, SysError> {
        match openat(&self.group, "cgroup.freeze", OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty()) {
            Ok(control) => Ok(Some(control)),
            Err(Errno::ENOENT | Errno::EACCES | Errno::EROFS | Errno::EPERM) => Ok(None),
            Err(errno) => Err(failed("open", errno.into())),
        }
    }

    fn read(&self, file: &str) -> io::Result<String> {
        let file = openat(&self.group, file, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
        let mut text = [0; 256];
        let length = nix::unistd::read(&file, &mut text)?;
        Ok(String::from_utf8_lossy(&text[..length]).into_owned())
    }

    fn wait_until_frozen(&self) -> io::Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < LONGEST {
            if self.read("cgroup.events")?.lines().any(|line| line == "frozen 1") {
                return Ok(());
            }
            thread::sleep(PAUSE);
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "its processes do not stop"))
    }
}

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
        let Some(freezer) = Freezer::of_process(pid) else { return Ok(None) };
        let Some(control) = freezer.control()? else { return Ok(None) };
        // the process that thaws is there before anything is frozen
        let waiting = Waiting::alone(lock, control.as_fd())
            .map_err(|error| failed("starting a process to write", io::Error::other(error)))?;
        let frozen = Self { control, waiting };
        freezer.freeze()?;
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

fn failed(call: &'static str, source: io::Error) -> SysError {
    SysError::call(call, "cgroup.freeze", source)
}

/// True for the path of a group that rbuild made for a container: no other is ever frozen.
fn is_container(group: &Path) -> bool {
    let name = |path: Option<&Path>| path?.file_name()?.to_str().map(str::to_owned);
    let made = name(group.parent());
    let process = made.as_deref().and_then(|name| name.strip_prefix(PREFIX)?.parse::<ProcessIdentity>().ok());
    process.is_some() && name(Some(group)).is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
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
