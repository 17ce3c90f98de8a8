//! A process by what cannot be reused: its number and when it started.

use crate::{mount::owned, proc_file::read_proc_bytes};
use std::{
    fmt, io,
    os::fd::{AsFd, OwnedFd},
    str::FromStr,
};

/// A process id with the time at which the process started, in clock ticks since the boot (proc_pid_stat(5), field 22).
/// Ids are used again, the pair is not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProcessIdentity {
    pid: i32,
    started: u64,
}

impl ProcessIdentity {
    /// The process `pid` that has started so many clock ticks after the boot.
    #[must_use]
    pub fn new(pid: i32, started: u64) -> Self {
        Self { pid, started }
    }

    /// When it has started, in clock ticks since the boot.
    #[must_use]
    pub fn ticks(&self) -> u64 {
        self.started
    }

    /// The process that has the number `pid` now; `None` when there is none, or only a zombie.
    ///
    /// # Errors
    /// If `/proc` cannot be read.
    pub fn of(pid: i32) -> io::Result<Option<Self>> {
        let text = match read_proc_bytes(format!("/proc/{pid}/stat")) {
            Ok(text) => text,
            Err(error)
                if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        Ok(parse_stat(&text).map(|started| Self { pid, started }))
    }

    /// This process.
    ///
    /// # Errors
    /// If `/proc` cannot be read.
    pub fn own() -> io::Result<Self> {
        Self::of(std::process::id() as i32)?.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// True if the process still runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        Self::of(self.pid).is_ok_and(|now| now == Some(*self))
    }

    /// Kills the process if it still is the one meant: it is held by a descriptor while its start is compared.
    ///
    /// # Errors
    /// The kernel's; none if the process has ended.
    pub fn kill(&self) -> io::Result<()> {
        let process = match pidfd_of(self.pid as u32) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(()),
            process => process?,
        };
        if !self.is_running() {
            return Ok(());
        }
        match super::send_signal(process.as_fd(), nix::sys::signal::Signal::SIGKILL) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            answer => answer,
        }
    }
}

/// True if a signal has stopped the process `pid`, which then does nothing until another one continues it.
#[must_use]
pub fn is_stopped(pid: i32) -> bool {
    let text = read_proc_bytes(format!("/proc/{pid}/stat")).unwrap_or_default();
    matches!(fields_of_stat(&text).and_then(|mut fields| fields.next()), Some("T" | "t"))
}

/// True if the process whose `/proc/PID/stat` has this text exits, or has been sent SIGKILL.
pub(crate) fn dies(text: &[u8]) -> bool {
    const EXITING: u64 = 0x4;
    const KILLED: u64 = 1 << (libc::SIGKILL - 1);
    let Some(fields) = fields_of_stat(text) else { return true };
    let fields: Vec<&str> = fields.collect();
    let has = |at: usize, bit: u64| {
        fields.get(at).and_then(|field| field.parse::<u64>().ok()).is_some_and(|bits| bits & bit != 0)
    };
    // its flags, and its pending signals
    has(6, EXITING) || has(28, KILLED)
}

/// `pid-start`, for names of files and directories.
impl fmt::Display for ProcessIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.pid, self.started)
    }
}

impl FromStr for ProcessIdentity {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (pid, started) = text.split_once('-').unwrap_or((text, ""));
        Ok(Self { pid: pid.parse()?, started: started.parse()? })
    }
}

/// A descriptor of the process `pid`.
pub(crate) fn pidfd_of(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open takes two integers.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })
}

/// What stands in the text of `/proc/PID/stat` behind the name of the program, which may hold anything and ends with the last
/// parenthesis: the state, and so on.
fn fields_of_stat(text: &[u8]) -> Option<std::str::SplitAsciiWhitespace<'_>> {
    let end = text.iter().rposition(|byte| *byte == b')')?;
    Some(std::str::from_utf8(&text[end + 1..]).ok()?.split_ascii_whitespace())
}

/// The start time in the text of `/proc/PID/stat`; `None` for a zombie.
fn parse_stat(text: &[u8]) -> Option<u64> {
    let mut fields = fields_of_stat(text)?;
    let state = fields.next()?;
    (state != "Z" && state != "X").then_some(())?;
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_pretend_to_be_fields() {
        let tail = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 20 21";
        assert_eq!(parse_stat(format!("7 (a) R 1) S {tail}").as_bytes()), Some(777));
        assert_eq!(parse_stat(format!("7 (a) Z {tail}").as_bytes()), None);
        assert_eq!(parse_stat(b"7 (a"), None);
    }

    #[test]
    fn a_process_that_exits_or_was_killed_dies() {
        let dies = |flags: u32, pending: u32| {
            dies(
                format!("7 (a) S 1 1 1 0 -1 {flags} {} {pending} 0 0", "0 ".repeat(21).trim_end()).as_bytes(),
            )
        };
        assert!(!dies(4_194_304, 0) && !dies(4_194_304, 1 << 14));
        assert!(dies(4_194_308, 0) && dies(4_194_304, 256));
        assert!(super::dies(b""), "there is none");
    }

    #[test]
    fn own_process_runs_and_another_start_does_not() {
        let own = ProcessIdentity::own().unwrap();
        assert!(own.is_running());
        assert_eq!(own.to_string().parse(), Ok(own));
        let other = ProcessIdentity { started: own.started + 1, ..own };
        assert!(!other.is_running());
        other.kill().unwrap();
        assert!("12".parse::<ProcessIdentity>().is_err());
    }
}
