//! The first process of a sandbox that another process has started, to start further ones beside it.
//!
//! Everything is read through descriptors that are opened before the process is compared with the one that is meant: a number that
//! came to mean another process leads nowhere.

use crate::{
    mount::done,
    spawn::{ProcessIdentity, dies, pidfd_of},
};
use nix::{
    fcntl::{OFlag, open, openat},
    sched::{CloneFlags, unshare},
    sys::stat::{Mode, fstat},
};
use std::{
    fs::File,
    io::{self, Read},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

/// The namespaces of a sandbox that its processes enter by themselves: name in `/proc`, and flag.
const ENTERED: [(&str, i32); 5] = [
    ("mnt", libc::CLONE_NEWNS),
    ("net", libc::CLONE_NEWNET),
    ("ipc", libc::CLONE_NEWIPC),
    ("uts", libc::CLONE_NEWUTS),
    ("cgroup", libc::CLONE_NEWCGROUP),
];

/// A process, held so that its number means no other.
#[derive(Debug)]
pub struct Member {
    process: OwnedFd,
    /// Its directory in `/proc`, which is empty when it has ended.
    directory: OwnedFd,
}

impl Member {
    /// The process that is meant; `None` when it has ended.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open(identity: ProcessIdentity) -> io::Result<Option<Self>> {
        let process = match pidfd_of(identity.pid().unsigned_abs()) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(None),
            opened => opened?,
        };
        let path = format!("/proc/{}", identity.pid());
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = match open(path.as_str(), flags, Mode::empty()) {
            Err(nix::Error::ENOENT) => return Ok(None),
            opened => opened?,
        };
        // both were opened while it was there
        Ok(identity.is_running().then_some(Self { process, directory }))
    }

    /// The process, readable once it has ended.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.process.as_fd()
    }

    /// True if it exits, or has been sent SIGKILL.
    #[must_use]
    pub fn is_dying(&self) -> bool {
        let mut text = Vec::new();
        let read = self.file("stat").and_then(|mut file| file.read_to_end(&mut text));
        // what has ended has no such file
        read.is_err() || dies(&text)
    }

    /// Its root directory, as a place.
    ///
    /// # Errors
    /// The kernel's.
    pub fn root(&self) -> io::Result<OwnedFd> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(openat(&self.directory, "root", flags, Mode::empty())?)
    }

    /// The text of a file in its directory of `/proc`.
    ///
    /// # Errors
    /// The kernel's.
    pub fn read(&self, name: &str) -> io::Result<String> {
        let mut text = String::new();
        self.file(name)?.read_to_string(&mut text)?;
        Ok(text)
    }

    fn file(&self, name: &str) -> io::Result<File> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        Ok(openat(&self.directory, name, flags, Mode::empty())?.into())
    }

    /// All processes of its pid namespace, by their numbers here, as far as this process may look at them.
    ///
    /// # Errors
    /// The kernel's.
    pub fn processes(&self) -> io::Result<Vec<i32>> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let own = identity(&openat(&self.directory, "ns/pid", flags, Mode::empty())?)?;
        let names =
            std::fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let pids = names.filter_map(|name| name.parse::<i32>().ok());
        let is_there = |pid: &i32| {
            let found = open(format!("/proc/{pid}/ns/pid").as_str(), flags, Mode::empty());
            found.map_err(io::Error::from).and_then(|found| identity(&found)).is_ok_and(|found| found == own)
        };
        Ok(pids.filter(is_there).collect())
    }

    /// True if its network is another one than this process's.
    ///
    /// # Errors
    /// The kernel's.
    pub fn has_own_network(&self) -> io::Result<bool> {
        self.differs("net")
    }

    /// Its network, if that is another one than this process's.
    ///
    /// # Errors
    /// The kernel's.
    pub fn network(&self) -> io::Result<Option<OwnedFd>> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let network = openat(&self.directory, "ns/net", flags, Mode::empty())?;
        Ok(self.has_own_network()?.then_some(network))
    }

    /// Moves this process, which must have one thread, into the user namespace of the other one. Nothing is done if it is there.
    ///
    /// # Errors
    /// The kernel's.
    pub fn enter_user_namespace(&self) -> io::Result<()> {
        if !self.differs("user")? {
            return Ok(());
        }
        // SAFETY: setns takes two integers.
        done(unsafe { libc::setns(self.process.as_raw_fd(), libc::CLONE_NEWUSER) }.into())
    }

    /// The same, with a new mount namespace there.
    ///
    /// # Errors
    /// The kernel's.
    pub fn begin_beside(&self) -> io::Result<()> {
        self.enter_user_namespace()?;
        Ok(unshare(CloneFlags::CLONE_NEWNS)?)
    }

    /// The flags of the namespaces that are not this process's, for setns(2).
    pub(crate) fn namespaces(&self) -> io::Result<i32> {
        let mut flags = 0;
        for (name, flag) in ENTERED {
            if self.differs(name)? {
                flags |= flag;
            }
        }
        Ok(flags)
    }

    fn differs(&self, name: &str) -> io::Result<bool> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let own = open(format!("/proc/self/ns/{name}").as_str(), flags, Mode::empty())?;
        let other = openat(&self.directory, format!("ns/{name}").as_str(), flags, Mode::empty())?;
        Ok(identity(&own)? != identity(&other)?)
    }
}

/// What tells one namespace from another.
fn identity(namespace: &OwnedFd) -> io::Result<(u64, u64)> {
    let found = fstat(namespace)?;
    Ok((found.st_dev, found.st_ino))
}

/// Lets no other process trace or look into this one, for as long as it runs (`PR_SET_DUMPABLE`).
pub(crate) fn refuse_tracers() -> io::Result<()> {
    // SAFETY: this operation takes integers.
    done(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_process_that_is_meant_is_held() {
        let own = ProcessIdentity::own().unwrap();
        let member = Member::open(own).unwrap().unwrap();
        assert_eq!(member.namespaces().unwrap(), 0);
        assert!(!member.is_dying());
        assert!(member.read("comm").unwrap() == crate::read_proc("/proc/self/comm").unwrap());
        let other = format!("{}-1", std::process::id()).parse().unwrap();
        assert!(Member::open(other).unwrap().is_none());
    }
}
