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
    words: &'static Words,
}

/// How a version of control groups is told to stop, and says so.
#[derive(Debug, PartialEq, Eq)]
struct Words {
    control: &'static str,
    stop: &'static str,
    go_on: &'static str,
    /// A file, and its line once all processes stand still.
    stopped: (&'static str, &'static str),
}

const VERSION_2: Words =
    Words { control: "cgroup.freeze", stop: "1", go_on: "0", stopped: ("cgroup.events", "frozen 1") };
const VERSION_1: Words =
    Words { control: "freezer.state", stop: "FROZEN", go_on: "THAWED", stopped: ("freezer.state", "FROZEN") };

impl Freezer {
    /// That of the container whose first process has the text `groups` in `/proc/PID/cgroup`; `None` when it has no group that
    /// rbuild has made for it.
    #[must_use]
    pub fn of(groups: &str) -> Option<Self> {
        let unified = Hierarchy::unified_with(groups).map(|found| (found, &VERSION_2));
        let freezer = || Hierarchy::version_1_with("freezer", groups).map(|found| (found, &VERSION_1));
        let is_own = |found: &(Hierarchy, &Words)| is_container(found.0.group());
        let (hierarchy, words) = unified.filter(is_own).or_else(|| freezer().filter(is_own))?;
        hierarchy.open().ok().map(|group| Self { group, words })
    }

    /// That of the container whose first process is `pid`.
    #[must_use]
    pub fn of_process(pid: i32) -> Option<Self> {
        Self::of(&read_proc(format!("/proc/{pid}/cgroup")).ok()?)
    }

    /// True if it was made to stand still; false as well for what has ended.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.read(self.words.control).is_ok_and(|text| text.trim() == self.words.stop)
    }

    /// Returns when all processes stand still; false when this process may not do that. Those that do not stop go on.
    ///
    /// # Errors
    /// [`SysError`] when they do not stop.
    pub fn freeze(&self) -> Result<bool, SysError> {
        let Some(control) = self.control()? else { return Ok(false) };
        self.tell(&control, self.words.stop)?;
        if let Err(error) = self.wait_until_frozen() {
            let _ = self.tell(&control, self.words.go_on);
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
        self.tell(&control, self.words.go_on)?;
        Ok(true)
    }

    fn tell(&self, control: &OwnedFd, word: &str) -> Result<(), SysError> {
        let written = nix::unistd::write(control, word.as_bytes());
        written.map(drop).map_err(|errno| failed("write", errno.into()))
    }

    /// The file that is written to; `None` when this process may not.
    fn control(&self) -> Result<Option<OwnedFd>, SysError> {
        match openat(&self.group, self.words.control, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty()) {
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
        let ((file, frozen), begun) = (self.words.stopped, Instant::now());
        while begun.elapsed() < LONGEST {
            if self.read(file)?.lines().any(|line| line == frozen) {
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
        // the process that waits writes a word of version 2
        let freezer = Freezer::of_process(pid).filter(|freezer| *freezer.words == VERSION_2);
        let Some(freezer) = freezer else { return Ok(None) };
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

/// Lets what may be frozen in a version 1 group go on, because its rbuild has ended.
pub(super) fn thaw_below(parent: BorrowedFd<'_>, name: &str) {
    let path = Path::new(name).join(VERSION_1.control);
    let control = openat(parent, &path, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty());
    // most groups have no such file
    let _ = control.map(|control| nix::unistd::write(control, VERSION_1.go_on.as_bytes()));
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
