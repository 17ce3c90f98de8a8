//! An ordinary user's own user namespace, in which it is root over its subordinate ids (user_namespaces(7),
//! subuid(5)).
//!
//! Only a process with one thread can enter one, so the command line does this first, before anything starts
//! threads. The ids are mapped by the set-user-id programs newuidmap and newgidmap, run by a forked helper:
//! they must act from outside on the process that has just moved. The helper is forked while there is one
//! thread, so it may allocate and execute as it likes.

use crate::{UsernsError, read_proc};
use nix::{
    sched::{CloneFlags, unshare},
    sys::wait::waitpid,
    unistd::{ForkResult, Gid, Uid, User, fork, getpid, pipe, setgroups, setresgid, setresuid},
};
use std::{
    fs::{self, File},
    io::{self, Read, Write},
    process::Command,
};

/// Whose root the process is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PrivilegeKind {
    /// The machine's.
    Root,
    /// A user namespace's.
    UserNamespace,
}

/// A run of ids that a user may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Range {
    start: u32,
    count: u32,
}

/// Whether ids of this process are the machine's own, by `/proc/self/uid_map`.
///
/// # Errors
/// If the file cannot be read.
pub fn namespace_kind() -> io::Result<PrivilegeKind> {
    let map = read_proc("/proc/self/uid_map")?;
    let whole = map.split_ascii_whitespace().eq(["0", "0", "4294967295"]);
    Ok(if whole { PrivilegeKind::Root } else { PrivilegeKind::UserNamespace })
}

/// Moves the process into a new user and mount namespace, where it is 0:0 and ids from 1 are the user's
/// subordinate ones.
///
/// # Errors
/// [`UsernsError`]: each variant says what the user or the administrator can do.
pub fn enter_user_namespace() -> Result<(), UsernsError> {
    let call = |call| move |source: nix::Error| UsernsError::Call { call, source: source.into() };
    if threads().map_err(|source| UsernsError::Call { call: "/proc/self/task", source })? > 1 {
        return Err(UsernsError::Threads);
    }
    let (uid, gid) = (Uid::current(), Gid::current());
    let name = User::from_uid(uid).ok().flatten().map(|user| user.name);
    let uids = subordinate("/etc/subuid", name.as_deref(), uid.as_raw())?;
    let gids = subordinate("/etc/subgid", name.as_deref(), uid.as_raw())?;
    let maps = [
        ("newuidmap", map_arguments(uid.as_raw(), &uids)),
        ("newgidmap", map_arguments(gid.as_raw(), &gids)),
    ];
    let process = getpid().as_raw();
    let (wait_read, wait_write) = pipe().map_err(call("pipe"))?;
    let (answer_read, answer_write) = pipe().map_err(call("pipe"))?;
    // SAFETY: the process has one thread, counted above, so the child may do what any process may.
    match unsafe { fork() }.map_err(call("fork"))? {
        ForkResult::Child => {
            drop((wait_write, answer_read));
            let code = match help(File::from(wait_read), process, &maps) {
                Ok(()) => 0,
                Err(message) => {
                    i32::from(File::from(answer_write).write_all(message.as_bytes()).is_err()) + 1
                }
            };
            // SAFETY: _exit ends the helper without running what the parent registered for its own exit.
            unsafe { libc::_exit(code) }
        }
        ForkResult::Parent { child } => {
            drop((wait_read, answer_write));
            let moved = unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS);
            let asked = moved.is_ok().then(|| File::from(wait_write).write_all(b"x"));
            let mut answer = String::new();
            let heard = File::from(answer_read).read_to_string(&mut answer);
            // The helper's answer has come through the pipe.
            let _ = waitpid(child, None);
            moved.map_err(|error| UsernsError::Refused(error.into()))?;
            asked.transpose().map_err(|source| UsernsError::Call { call: "write", source })?;
            heard.map_err(|source| UsernsError::Call { call: "read", source })?;
            judge(&answer)?;
        }
    }
    let root = (Uid::from_raw(0), Gid::from_raw(0));
    setgroups(&[]).map_err(call("setgroups"))?;
    setresgid(root.1, root.1, root.1).map_err(call("setresgid"))?;
    setresuid(root.0, root.0, root.0).map_err(call("setresuid"))
}

/// The helper: once the parent has moved, maps its ids. The error is the program's number and what it said.
fn help(mut moved: File, process: i32, maps: &[(&str, Vec<String>)]) -> Result<(), String> {
    let mut byte = [0];
    if !matches!(moved.read(&mut byte), Ok(1)) {
        return Ok(());
    }
    for (program, arguments) in maps {
        match Command::new(program).arg(process.to_string()).args(arguments).output() {
            Err(error) => {
                return Err(format!("missing\n{program}\n{}", error.raw_os_error().unwrap_or(libc::EIO)));
            }
            Ok(output) if !output.status.success() => {
                let said = String::from_utf8_lossy(&output.stderr);
                return Err(format!("refused\n{program}\n{}", said.trim()));
            }
            Ok(_) => {}
        }
    }
    Ok(())
}

fn judge(answer: &str) -> Result<(), UsernsError> {
    let mut lines = answer.splitn(3, '\n');
    let (Some(kind), Some(program), Some(text)) = (lines.next(), lines.next(), lines.next()) else {
        return Ok(());
    };
    let program = if program == "newuidmap" { "newuidmap" } else { "newgidmap" };
    Err(if kind == "missing" {
        let source = io::Error::from_raw_os_error(text.parse().unwrap_or(libc::ENOENT));
        UsernsError::MissingTool { program, source }
    } else {
        UsernsError::MapRefused { program, message: text.to_owned() }
    })
}

/// The arguments after the process: inside, outside, count, three for each run.
fn map_arguments(own: u32, ranges: &[Range]) -> Vec<String> {
    let mut arguments = vec!["0".to_owned(), own.to_string(), "1".to_owned()];
    let mut inside = 1_u32;
    for range in ranges {
        arguments.extend([inside, range.start, range.count].map(|number| number.to_string()));
        inside = inside.saturating_add(range.count);
    }
    arguments
}

fn subordinate(file: &'static str, name: Option<&str>, uid: u32) -> Result<Vec<Range>, UsernsError> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(source) => return Err(UsernsError::Call { call: file, source }),
    };
    let ranges = parse_ranges(&text, name, uid);
    if ranges.is_empty() {
        let user = name.map_or_else(|| uid.to_string(), str::to_owned);
        return Err(UsernsError::NoSubordinateIds { user, file });
    }
    Ok(ranges)
}

/// Lines are `user:start:count`, the user by name or number.
fn parse_ranges(text: &str, name: Option<&str>, uid: u32) -> Vec<Range> {
    let number = uid.to_string();
    let line = |line: &str| {
        let mut fields = line.trim().split(':');
        let user = fields.next()?;
        let (start, count) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let mine = Some(user) == name || user == number;
        (mine && count > 0).then_some(Range { start, count })
    };
    text.lines().filter_map(line).collect()
}

fn threads() -> io::Result<usize> {
    Ok(fs::read_dir("/proc/self/task")?.count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_one_another_from_one() {
        let text = "# no line\nalice:100000:65536\nbob:1:1\n1000:300000:10\nalice:5:0\n";
        let ranges = parse_ranges(text, Some("alice"), 1000);
        assert_eq!(ranges, [Range { start: 100_000, count: 65536 }, Range { start: 300_000, count: 10 }]);
        let expected = ["0", "1000", "1", "1", "100000", "65536", "65537", "300000", "10"];
        assert_eq!(map_arguments(1000, &ranges), expected);
        assert!(parse_ranges(text, None, 7).is_empty());
    }
}
