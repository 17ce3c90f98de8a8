//! Programs of the machine that do something once, with every right that this process has: they are started by their absolute paths with
//! an environment of their own, in a session of their own, without descriptors but their streams, and have so much time and no more.

use crate::host_program::HostProgram;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::memfd::{MFdFlags, memfd_create},
};
use rbuild_sys::host_program::detach;
use std::{
    fs::File,
    io::{self, Read, Seek},
    os::fd::{AsFd, BorrowedFd},
    process::{Command, ExitStatus},
    time::{Duration, Instant},
};

/// Where they find others.
pub(crate) const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// How long one may take: what takes a tenth of a second, on a machine that has much else to do.
const LONGEST: Duration = Duration::from_secs(20);
/// Bytes of what it says that are read.
const LONGEST_WORDS: u64 = 4096;

/// A program that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    /// How.
    pub(crate) status: ExitStatus,
    /// What it has written.
    pub(crate) said: String,
}

/// Runs what `command` says, whose standard input is chosen already. The program ends with this process.
///
/// # Errors
/// Those of starting it; [`io::ErrorKind::TimedOut`] when it does not end, and it and what it has started are killed.
pub(crate) fn run(mut command: Command) -> io::Result<Finished> {
    // a file and not a pipe, since a program that it leaves behind may keep its streams open
    let mut said = File::from(memfd_create(c"words", MFdFlags::MFD_CLOEXEC)?);
    command.env_clear().env("PATH", PATH).current_dir("/");
    command.stdout(said.try_clone()?).stderr(said.try_clone()?);
    detach(&mut command);
    let mut ended = None;
    let program = HostProgram::start(command, |child| {
        let pid = rustix::process::Pid::from_child(child);
        let process = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?;
        if !ends(process.as_fd(), LONGEST)? {
            // its session has this number
            let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
            let limit = LONGEST.as_secs();
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("it has not ended in {limit} s")));
        }
        ended = Some(child.wait()?);
        Ok(())
    })?;
    drop(program);
    let status = ended.ok_or(io::ErrorKind::BrokenPipe)?;
    let mut words = Vec::new();
    said.rewind()?;
    said.take(LONGEST_WORDS).read_to_end(&mut words)?;
    Ok(Finished { status, said: String::from_utf8_lossy(&words).into_owned() })
}

/// True if the process ends within `limit`.
fn ends(process: BorrowedFd<'_>, limit: Duration) -> io::Result<bool> {
    let until = Instant::now() + limit;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let patience = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(process, PollFlags::POLLIN)], patience) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Stdio;

    #[test]
    fn a_program_gets_nothing_of_this_one_and_its_words_are_read() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "pwd; env | sort; ls /proc/self/fd | wc -w; echo bad >&2; exit 3"]);
        command.env("SECRET", "x").stdin(Stdio::null());
        let _open = File::open("/").unwrap();
        let Finished { status, said } = run(command).unwrap();
        assert_eq!(status.code(), Some(3));
        // its three streams, and the directory that is read
        assert_eq!(said, format!("/\nPATH={PATH}\nPWD=/\n4\nbad\n"));
    }
}
