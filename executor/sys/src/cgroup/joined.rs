//! The control groups of a container that runs, for a further process of it.

use super::{PREFIX, hierarchy::Hierarchy};
use crate::{SysError, limits::Limits, member::Member, spawn::ProcessIdentity, userns::PrivilegeKind};
use nix::{
    fcntl::{OFlag, openat},
    sys::stat::Mode,
};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

/// The groups that rbuild has made for a container.
#[derive(Debug)]
pub(crate) struct JoinedGroups {
    /// The directory of the version 2 group.
    unified: Option<OwnedFd>,
    /// The files of the other groups that a process writes `0` to.
    pub(crate) entries: Vec<OwnedFd>,
}

impl JoinedGroups {
    /// Those of the container of `member`. An ordinary user's session may be kept out of the groups of another one by the machine,
    /// which does no harm when they limit nothing.
    pub(crate) fn of(member: &Member, privilege: PrivilegeKind, limits: &Limits) -> Result<Self, SysError> {
        let fail = |call| move |source| SysError::call(call, "the container's control groups", source);
        let text = member.read("cgroup").map_err(fail("read"))?;
        let must = privilege == PrivilegeKind::Root || *limits != Limits::default();
        let mut joined = Self { unified: None, entries: Vec::new() };
        for (is_unified, hierarchy) in Hierarchy::all_of(&text).map_err(fail("read"))? {
            if !is_made(hierarchy.group()) {
                continue;
            }
            match open(&hierarchy) {
                Ok((directory, _)) if is_unified => joined.unified = Some(directory),
                Ok((_, entry)) => joined.entries.push(entry),
                Err(_) if !must => {}
                Err(error) => return Err(fail("open")(error)),
            }
        }
        Ok(joined)
    }

    /// The version 2 group to clone into.
    pub(crate) fn unified(&self) -> Option<BorrowedFd<'_>> {
        self.unified.as_ref().map(AsFd::as_fd)
    }
}

/// The directory of a group, and the file of it that processes are written to.
fn open(hierarchy: &Hierarchy) -> io::Result<(OwnedFd, OwnedFd)> {
    let directory = hierarchy.open()?;
    let entry = openat(&directory, "cgroup.procs", OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    Ok((directory, entry))
}

/// True if the group, or one above it, is one that rbuild has made for its containers.
pub(super) fn is_made(group: &Path) -> bool {
    group.components().any(|part| {
        let name = part.as_os_str().to_str().and_then(|name| name.strip_prefix(PREFIX));
        name.is_some_and(|name| name.parse::<ProcessIdentity>().is_ok())
    })
}
