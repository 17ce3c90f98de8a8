//! Where this process's own control group is in the file system.

use crate::{
    fs::{Resolve, open_below},
    read_proc,
};
use nix::{fcntl::OFlag, sys::stat::Mode};
use std::{
    fs, io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

/// A mounted hierarchy, and the group of this process in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hierarchy {
    mount_point: PathBuf,
    group: PathBuf,
}

impl Hierarchy {
    /// The version 2 hierarchy; `None` where none is mounted.
    pub(super) fn unified() -> Option<Self> {
        let read = |path| read_proc(path).ok();
        find(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?, Kind::Unified)
    }

    /// The version 2 hierarchy with the group of a process that has the text `groups` in `/proc/PID/cgroup`; `None` where none is
    /// mounted.
    pub(super) fn unified_with(groups: &str) -> Option<Self> {
        find(&read_proc("/proc/self/mountinfo").ok()?, groups, Kind::Unified)
    }

    /// The hierarchies in which a process with the text `groups` of `/proc/PID/cgroup` is in a group: the version 2 one first.
    pub(super) fn all_of(groups: &str) -> io::Result<Vec<(bool, Self)>> {
        let mounts = read_proc("/proc/self/mountinfo")?;
        let kinds = groups.lines().filter_map(|line| {
            let (id, rest) = line.split_once(':')?;
            let controllers = rest.split_once(':')?.0;
            let is_unified = id == "0" && controllers.is_empty();
            let kind =
                if is_unified { Kind::Unified } else { Kind::Version1(controllers.split(',').next()?) };
            find(&mounts, groups, kind).map(|found| (is_unified, found))
        });
        let mut all: Vec<_> = kinds.collect();
        all.sort_by_key(|(is_unified, _)| !is_unified);
        Ok(all)
    }

    /// The version 1 hierarchy with this controller and the group of such a process.
    pub(super) fn version_1_with(controller: &str, groups: &str) -> Option<Self> {
        find(&read_proc("/proc/self/mountinfo").ok()?, groups, Kind::Version1(controller))
    }

    /// The path of the group below the mount point.
    pub(super) fn group(&self) -> &Path {
        &self.group
    }

    /// The version 1 hierarchy with this controller.
    pub(super) fn version_1(controller: &'static str) -> Option<Self> {
        let read = |path| read_proc(path).ok();
        find(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?, Kind::Version1(controller))
    }

    /// Where it is mounted.
    pub(super) fn mount_point(&self) -> &Path {
        &self.mount_point
    }

    /// The directory of the group.
    pub(super) fn directory(&self) -> PathBuf {
        self.mount_point.join(&self.group)
    }

    /// The directories of the group and of those above it.
    pub(super) fn directories(&self) -> impl Iterator<Item = PathBuf> {
        self.group.ancestors().map(|group| self.mount_point.join(group))
    }

    /// A hierarchy that tests make of files.
    #[cfg(test)]
    pub(super) fn at(mount_point: &Path, group: &Path) -> Self {
        Self { mount_point: mount_point.to_owned(), group: group.to_owned() }
    }

    /// The directory of this process's group.
    pub(super) fn open(&self) -> io::Result<OwnedFd> {
        let mount = fs::File::open(&self.mount_point)?;
        let path = if self.group.as_os_str().is_empty() { Path::new(".") } else { &self.group };
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        open_below(mount.as_fd(), path, Resolve::BeneathNoSymlinks, flags, Mode::empty())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind<'a> {
    Unified,
    /// The one with this controller.
    Version1(&'a str),
}

/// Finds a hierarchy in the texts of `/proc/self/mountinfo` and `/proc/self/cgroup` (proc(5)).
fn find(mounts: &str, groups: &str, kind: Kind<'_>) -> Option<Hierarchy> {
    let own = groups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let found = match kind {
            Kind::Unified => id == "0" && controllers.is_empty(),
            Kind::Version1(controller) => controllers.split(',').any(|name| name == controller),
        };
        found.then_some(path)
    })?;
    mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut after = after.split(' ');
        let (file_system, options) = (after.next()?, after.nth(1)?);
        let found = match kind {
            Kind::Unified => file_system == "cgroup2",
            Kind::Version1(controller) => {
                file_system == "cgroup" && options.split(',').any(|name| name == controller)
            }
        };
        let mut fields = before.split(' ').skip(3);
        let (root, mount_point) = (fields.next()?, fields.next()?);
        let group = Path::new(own).strip_prefix(root).ok()?;
        found.then(|| Hierarchy { mount_point: unescaped(mount_point), group: group.to_owned() })
    })
}

/// A path of mountinfo: blanks and backslashes are three octal digits behind a backslash.
fn unescaped(text: &str) -> PathBuf {
    let plain = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    plain.iter().fold(text.to_owned(), |text, (escape, byte)| text.replace(escape, byte)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
25 1 0:20 / /sys rw - sysfs sysfs rw
30 25 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
31 25 0:27 / /sys/fs/cgroup/dev\\040ices rw - cgroup cgroup rw,devices
32 25 0:28 /mine /sys/fs/cgroup/unified rw shared:3 - cgroup2 cgroup2 rw
";

    #[test]
    fn own_groups_are_found_below_their_mounts() {
        let groups = "5:devices:/a/b\n4:memory:/m\n0::/mine/x\n";
        let unified = find(MOUNTS, groups, Kind::Unified).unwrap();
        assert_eq!(
            unified,
            Hierarchy { mount_point: "/sys/fs/cgroup/unified".into(), group: "x".into() },
            "below the root of the mount"
        );
        let devices = find(MOUNTS, groups, Kind::Version1("devices")).unwrap();
        assert_eq!(devices, Hierarchy { mount_point: "/sys/fs/cgroup/dev ices".into(), group: "a/b".into() });
    }

    #[test]
    fn a_group_that_is_not_mounted_is_none() {
        assert_eq!(find(MOUNTS, "0::/other\n", Kind::Unified), None);
        assert_eq!(find(MOUNTS, "4:memory:/m\n", Kind::Version1("devices")), None);
        assert_eq!(find("", "0::/\n", Kind::Unified), None);
    }
}
