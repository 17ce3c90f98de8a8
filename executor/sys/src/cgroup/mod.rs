//! A control group for each container, where this process can make groups (cgroups(7)).
//!
//! One group is made a process, below the group that it is in, and one for each container below that. They make a container's
//! processes nameable as one, and keep them from devices. On a version 2 hierarchy
//! a small program attached to their groups decides about devices, and containers are cloned into their group
//! at no further cost. On a machine that still has the version 1 `devices` controller, each container moves itself into
//! a group of that hierarchy instead. A container with [limits](Limits) gets groups for those beside or instead of them.
//!
//! Where no group can be made (an ordinary user without a delegated one, a read-only hierarchy) there is none: the other walls
//! stand without it.

mod device;
mod freeze;
mod hierarchy;
mod joined;
mod limited;
mod memory;
mod settings;
mod used;

pub use freeze::{Freezer, Frozen};
pub(crate) use joined::JoinedGroups;
pub use limited::MemoryUse;
pub(crate) use memory::memory_headroom;
pub use used::GroupUse;

use crate::{
    SandboxError,
    device::Device,
    limits::{Limits, UnmetLimit},
    read_proc,
    spawn::ProcessIdentity,
};
use hierarchy::Hierarchy;
use limited::Limited;
use nix::{
    errno::Errno,
    fcntl::{OFlag, openat},
    sys::stat::{Mode, mkdirat},
    unistd::{UnlinkatFlags, unlinkat},
};
use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// Begins the name of every group that rbuild makes; the process's identity follows.
const PREFIX: &str = "rbuild-";

/// The control groups of this process. Dropping the value removes them, once no container has one.
#[derive(Debug)]
pub struct Cgroups(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    unified: Option<Arc<Group>>,
    /// The rules for the usual devices of version 2 groups.
    rules: Option<Arc<OwnedFd>>,
    devices: Option<Arc<Group>>,
    /// Where there is no version 2 hierarchy, with which containers can be paused as well.
    freezer: Option<Arc<Group>>,
    /// Groups of containers that have ended: making and removing one costs more than anything else about it.
    free: Mutex<Vec<Pair>>,
    /// This process's groups in which those with limits are made, by the directories that they are in.
    limiting: Mutex<BTreeMap<PathBuf, Arc<Group>>>,
    next: AtomicU64,
}

/// The devices that a container may open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Devices<'a> {
    /// Those of every container.
    Usual,
    /// These beside those.
    With(&'a [Device]),
    /// All that there are.
    All,
}

/// A container's groups in both hierarchies.
#[derive(Debug)]
struct Pair {
    unified: Option<Group>,
    devices: Option<Group>,
    freezer: Option<Group>,
}

impl Cgroups {
    /// Makes this process's groups, and removes those of processes that are gone. Nothing is made where nothing can be.
    #[must_use]
    pub fn create() -> Self {
        let unified = Hierarchy::unified().and_then(|hierarchy| Group::below(&hierarchy));
        let freezer = match unified {
            Some(_) => None,
            None => Hierarchy::version_1("freezer").and_then(|hierarchy| Group::below(&hierarchy)),
        };
        let shared = Shared {
            unified: unified.map(Arc::new),
            rules: device::rules(&[]).ok().map(Arc::new),
            devices: None,
            freezer: freezer.map(Arc::new),
            free: Mutex::default(),
            limiting: Mutex::default(),
            next: AtomicU64::new(0),
        };
        let first = shared.unified.as_ref().and_then(|above| shared.make(above));
        let rules = shared.rules.as_deref();
        let decided = first.as_ref().zip(rules).is_some_and(|(group, rules)| attach(rules, group).is_ok());
        let devices = if decided { None } else { Self::devices_group() };
        let shared = Shared { devices: devices.map(Arc::new), ..shared };
        let devices = shared.make_with_rules(&[]);
        let freezer = shared.freezer.as_ref().and_then(|above| shared.make(above));
        lock(&shared.free).push(Pair { unified: first, devices, freezer });
        Self(Arc::new(shared))
    }

    fn devices_group() -> Option<Group> {
        Hierarchy::version_1("devices").and_then(|hierarchy| Group::below(&hierarchy))
    }

    /// True if containers get groups of their own.
    #[must_use]
    pub fn are_made(&self) -> bool {
        self.0.unified.is_some() || self.0.devices.is_some()
    }

    /// A group that one container has to itself, with these limits.
    ///
    /// # Errors
    /// [`SandboxError::Limit`], [`SandboxError::CgroupParent`].
    pub fn container(&self, limits: &Limits, devices: Devices<'_>) -> Result<Cgroup, SandboxError> {
        let rules = match devices {
            Devices::Usual => self.0.rules.clone(),
            // the other walls stand where the kernel has no such programs
            Devices::With(given) => device::rules(given).ok().map(Arc::new),
            Devices::All => None,
        };
        let limited = Limited::new(&self.0, limits, rules.clone())?;
        let free = match devices {
            Devices::Usual => lock(&self.0.free).pop(),
            Devices::With(_) | Devices::All => None,
        };
        let groups = free.unwrap_or_else(|| self.0.pair(devices, rules.as_deref()));
        let is_usual = devices == Devices::Usual;
        Ok(Cgroup { groups: Some(groups), is_usual, limited, shared: self.0.clone() })
    }
}

impl Shared {
    fn pair(&self, devices: Devices<'_>, rules: Option<&OwnedFd>) -> Pair {
        let unified = self.unified.as_ref().and_then(|above| self.make(above));
        let freezer = self.freezer.as_ref().and_then(|above| self.make(above));
        if let (Some(group), Some(rules)) = (&unified, rules) {
            // the other walls stand where the kernel has no such programs
            let _ = attach(rules, group);
        }
        let devices = match devices {
            Devices::Usual => self.make_with_rules(&[]),
            Devices::With(given) => self.make_with_rules(given),
            Devices::All => None,
        };
        Pair { unified, devices, freezer }
    }

    /// A group of the version 1 hierarchy for devices, where that decides.
    fn make_with_rules(&self, given: &[Device]) -> Option<Group> {
        let group = self.devices.as_ref().and_then(|above| self.make(above))?;
        device::write_rules(group.directory.as_fd(), given).ok()?;
        Some(group)
    }

    fn make(&self, above: &Arc<Group>) -> Option<Group> {
        self.make_in(above).ok()
    }

    /// A new group below `above`. Another engine of this process makes its groups there too, so names may be taken.
    fn make_in(&self, above: &Arc<Group>) -> io::Result<Group> {
        loop {
            let name = self.next.fetch_add(1, Ordering::Relaxed).to_string();
            match Group::child(above, &name) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => return made,
            }
        }
    }
}

/// A container's control group. Dropping it leaves the group to the next container, and removes those with limits; its processes
/// must have ended.
#[derive(Debug)]
pub struct Cgroup {
    /// There until it is dropped.
    groups: Option<Pair>,
    /// True if another container may have its groups next.
    is_usual: bool,
    limited: Limited,
    shared: Arc<Shared>,
}

impl Cgroup {
    /// The version 2 group to clone into.
    pub(crate) fn unified(&self) -> Option<BorrowedFd<'_>> {
        if self.limited.is_unified() {
            return None;
        }
        self.groups.as_ref()?.unified.as_ref().map(|group| group.directory.as_fd())
    }

    /// The files of groups that a process writes `0` to in order to be in them, that with the rules for devices, that to be paused
    /// by, and those with limits.
    ///
    /// # Errors
    /// When one with limits cannot be opened.
    pub(crate) fn entries(&self) -> io::Result<Vec<OwnedFd>> {
        let open = |group: &Group| {
            openat(&group.directory, "cgroup.procs", OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty()).ok()
        };
        let groups = self.groups.iter().flat_map(|groups| groups.devices.iter().chain(&groups.freezer));
        Ok(groups.filter_map(open).chain(self.limited.entries()?).collect())
    }

    /// The limits that cannot be put into force.
    #[must_use]
    pub fn unmet(&self) -> &[UnmetLimit] {
        self.limited.unmet()
    }

    /// Puts other limits into force, where they differ from the old ones, for the processes that `processes` lists; returns those
    /// that cannot be.
    ///
    /// # Errors
    /// [`SandboxError::Limit`].
    pub fn update(
        &mut self,
        (old, new): (&Limits, &Limits),
        processes: &dyn Fn() -> io::Result<Vec<i32>>,
    ) -> Result<Vec<UnmetLimit>, SandboxError> {
        self.limited.update(&self.shared, (old, new), processes)
    }

    /// What its processes have used of the memory that they may use; `None` without a limit.
    #[must_use]
    pub fn memory(&self) -> Option<MemoryUse> {
        self.limited.memory()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let groups = self.groups.take();
        if self.is_usual {
            lock(&self.shared.free).extend(groups);
        }
    }
}

/// Removes the groups that rbuild processes which were killed have left beside this one's, in every hierarchy. What cannot be read or
/// removed stays. False if processes are still ending in one of them.
#[must_use]
pub fn remove_left_behind() -> bool {
    let groups = read_proc("/proc/self/cgroup").unwrap_or_default();
    let hierarchies = Hierarchy::all_of(&groups).unwrap_or_default();
    let mut done = true;
    for parent in hierarchies.iter().filter_map(|(_, hierarchy)| hierarchy.open().ok()) {
        done &= sweep(parent.as_fd());
    }
    done
}

/// Puts rules for devices on a version 2 group.
fn attach(rules: &OwnedFd, group: &Group) -> io::Result<()> {
    device::attach(rules.as_fd(), group.directory.as_fd())
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A directory of a hierarchy that this process made.
#[derive(Debug)]
struct Group {
    directory: OwnedFd,
    parent: OwnedFd,
    name: String,
    /// Kept until this one is removed.
    _above: Option<Arc<Group>>,
}

impl Group {
    /// This process's group in `hierarchy`.
    fn below(hierarchy: &Hierarchy) -> Option<Self> {
        let parent = hierarchy.open().ok()?;
        let _ = sweep(parent.as_fd());
        let name = format!("{PREFIX}{}", ProcessIdentity::own().ok()?);
        Self::make(parent, name, None).ok()
    }

    fn child(above: &Arc<Self>, name: &str) -> io::Result<Self> {
        let parent = above.directory.try_clone()?;
        Self::make(parent, name.to_owned(), Some(above.clone()))
    }

    fn make(parent: OwnedFd, name: String, above: Option<Arc<Self>>) -> io::Result<Self> {
        match mkdirat(&parent, name.as_str(), Mode::from_bits_truncate(0o755)) {
            // another engine of this process
            Err(Errno::EEXIST) if above.is_none() => {}
            answer => answer?,
        }
        let directory = open_directory(parent.as_fd(), &name)?;
        Ok(Self { directory, parent, name, _above: above })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // EBUSY: another engine of this process still uses it, and removes it
        let _ = unlinkat(&self.parent, self.name.as_str(), UnlinkatFlags::RemoveDir);
    }
}

fn open_directory(parent: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok(openat(parent, name, flags, Mode::empty())?)
}

/// Removes the groups of processes that have ended without doing so. A group that has processes stays; false if there is one.
fn sweep(parent: BorrowedFd<'_>) -> bool {
    let mut done = true;
    for name in names(parent) {
        let identity = name.strip_prefix(PREFIX).and_then(|text| text.parse::<ProcessIdentity>().ok());
        if identity.is_none_or(|process| process.is_running()) {
            continue;
        }
        let Ok(group) = open_directory(parent, &name) else { continue };
        for child in names(group.as_fd()) {
            // what was paused with version 1 cannot be killed before it goes on
            freeze::thaw_below(group.as_fd(), &child);
            let _ = unlinkat(&group, child.as_str(), UnlinkatFlags::RemoveDir);
        }
        done &= unlinkat(parent, name.as_str(), UnlinkatFlags::RemoveDir) != Err(Errno::EBUSY);
    }
    done
}

/// The directories in `parent`; none if it cannot be read.
fn names(parent: BorrowedFd<'_>) -> Vec<String> {
    let Ok(directory) = nix::dir::Dir::openat(parent, Path::new("."), OFlag::O_RDONLY, Mode::empty()) else {
        return Vec::new();
    };
    let found = directory.into_iter().filter_map(Result::ok);
    found
        .filter(|entry| entry.file_type() == Some(nix::dir::Type::Directory))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name != "." && name != "..")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::DeviceKind;
    use std::{
        fs,
        io::Write,
        process::{Command, Stdio},
    };

    #[test]
    fn only_the_usual_devices_and_given_ones_can_be_opened_in_a_group() {
        let given = |kind, numbers, access: &str| Device {
            source: PathBuf::new(),
            target: PathBuf::new(),
            kind,
            numbers,
            mode: 0o600,
            owner: (0, 0),
            access: access.parse().unwrap(),
        };
        // the first loop device, which is not there, and messages of the kernel, to be read and not written to
        let given = [given(DeviceKind::Block, (7, 0), "rwm"), given(DeviceKind::Character, (1, 11), "rm")];
        let unified = Hierarchy::unified().and_then(|hierarchy| Group::below(&hierarchy));
        let by_program =
            unified.filter(|group| device::rules(&given).is_ok_and(|rules| attach(&rules, group).is_ok()));
        let by_rules = Cgroups::devices_group()
            .filter(|group| device::write_rules(group.directory.as_fd(), &given).is_ok());
        if by_program.is_none() && by_rules.is_none() {
            rbuild_testkit::skip("no control group can be made here");
        }
        for group in [by_program, by_rules].into_iter().flatten() {
            let group = Arc::new(group);
            let inner = Group::child(&group, "devices-test").unwrap();
            let script = "read go; for d in zero urandom tty null kmsg mem; do
                (: < /dev/$d) 2>/dev/null && echo $d; done; (: >> /dev/kmsg) 2>/dev/null && echo written;
                mknod $0/made b 7 0 && echo made";
            let place = tempfile::tempdir().unwrap();
            let mut shell = Command::new("sh")
                .args(["-c", script])
                .arg(place.path())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC;
            let entry = openat(&inner.directory, "cgroup.procs", flags, Mode::empty()).unwrap();
            nix::unistd::write(&entry, shell.id().to_string().as_bytes()).unwrap();
            shell.stdin.take().unwrap().write_all(b"go\n").unwrap();
            let output = shell.wait_with_output().unwrap();
            let output = String::from_utf8_lossy(&output.stdout).replace("tty\n", "");
            assert_eq!(output, "zero\nurandom\nnull\nkmsg\nmade\n");
            assert!(fs::exists(place.path().join("made")).unwrap());
        }
    }
}
