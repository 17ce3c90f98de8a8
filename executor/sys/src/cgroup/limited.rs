//! The groups of one container that limit it: one for each hierarchy whose controllers are needed, removed with the container.
//!
//! On version 1 each controller has a hierarchy, and a group is made below the own one. On version 2 a controller counts only
//! below a group that hands it on (`cgroup.subtree_control`), which one with processes in it cannot do; so the nearest group
//! above is taken that does, or lets itself be made to. An ordinary user may write only to groups that were delegated.

mod update;

use super::{
    Group, PREFIX, Shared, attach,
    hierarchy::Hierarchy,
    open_directory,
    settings::{Controller, Setting, Version},
    sweep,
};
use crate::{
    SandboxError,
    fs::{Resolve, open_below},
    limits::{Limits, UnmetLimit, add_unmet},
    read_proc,
    spawn::ProcessIdentity,
};
use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, AtFlags, OFlag, openat},
    sys::stat::{Mode, mkdirat},
    unistd::{AccessFlags, faccessat},
};
use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::{Component, Path, PathBuf},
    sync::{Arc, PoisonError},
};

/// The memory that a container has used under a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryUse {
    /// Bytes at the peak, files in memory included.
    pub peak: u64,
    /// Bytes that it may use.
    pub limit: u64,
    /// Processes that the kernel has killed, because there was no more.
    pub killed: u64,
}

/// The groups that limit a container, and what limits nothing.
#[derive(Debug)]
pub(super) struct Limited {
    /// The rules for devices that version 2 groups get, if any.
    rules: Option<Arc<OwnedFd>>,
    groups: Vec<(Version, Group)>,
    memory: Option<(usize, u64)>,
    unmet: Vec<UnmetLimit>,
}

/// Where a controller's groups are made.
struct Place {
    version: Version,
    /// The directory in which the group of this process is made.
    above: PathBuf,
}

impl Limited {
    /// Groups with these limits.
    ///
    /// # Errors
    /// [`SandboxError::Limit`] for a value that the kernel does not take, [`SandboxError::CgroupParent`].
    pub(super) fn new(
        shared: &Shared,
        limits: &Limits,
        rules: Option<Arc<OwnedFd>>,
    ) -> Result<Self, SandboxError> {
        let mut limited = Self { rules, groups: Vec::new(), memory: None, unmet: Vec::new() };
        let mut places: Vec<PathBuf> = Vec::new();
        let needed: Vec<Controller> = Controller::ALL
            .into_iter()
            .filter(|controller| !controller.settings(limits, Version::Two).is_empty())
            .collect();
        for controller in &needed {
            let settings = |version| controller.settings(limits, version);
            let place = match place(*controller, &needed, limits.parent.as_deref()) {
                Ok(place) => place,
                Err(Lack::Refused(error)) => return Err(error),
                Err(Lack::Missing(reason)) => {
                    limited.lack(&settings(Version::Two), &reason);
                    continue;
                }
            };
            let index = places.iter().position(|known| *known == place.above);
            let index = match index {
                Some(index) => index,
                None => match limited.make(shared, &place) {
                    Ok(()) => {
                        places.push(place.above.clone());
                        places.len() - 1
                    }
                    Err(error) => {
                        limited.lack(&settings(place.version), &refusal(*controller, &error));
                        continue;
                    }
                },
            };
            limited.apply(index, &settings(place.version))?;
            if let (Controller::Memory, Some(limit)) = (controller, limits.memory) {
                limited.memory = Some((index, limit));
            }
        }
        if needed.is_empty() && limits.parent.is_some() {
            limited.join_parent(shared, limits)?;
        }
        Ok(limited)
    }

    /// A group below `--cgroup-parent` for a container that is not limited otherwise.
    fn join_parent(&mut self, shared: &Shared, limits: &Limits) -> Result<(), SandboxError> {
        let parent = limits.parent.as_deref();
        match place(Controller::Pids, &[], parent) {
            Ok(place) => self.make(shared, &place).map_err(|source| SandboxError::CgroupParent {
                path: parent.unwrap_or_default().to_owned(),
                source,
            }),
            Err(Lack::Refused(error)) => Err(error),
            Err(Lack::Missing(reason)) => {
                add_unmet(&mut self.unmet, "--cgroup-parent", &reason);
                Ok(())
            }
        }
    }

    fn lack(&mut self, settings: &[Setting], reason: &str) {
        for setting in settings.iter().filter(|setting| !setting.implied) {
            add_unmet(&mut self.unmet, setting.flag, reason);
        }
    }

    fn make(&mut self, shared: &Shared, place: &Place) -> io::Result<()> {
        let above = shared.own_group(&place.above, place.version)?;
        let group = shared.make_in(&above)?;
        inherit_cpuset(above.directory.as_fd(), group.directory.as_fd(), place.version)?;
        if let (Version::Two, Some(rules)) = (place.version, &self.rules) {
            // the other walls stand where the kernel has no such programs
            let _ = attach(rules, &group);
        }
        self.groups.push((place.version, group));
        Ok(())
    }

    fn apply(&mut self, index: usize, settings: &[Setting]) -> Result<(), SandboxError> {
        let (_, group) = &self.groups[index];
        for setting in settings {
            match write(group.directory.as_fd(), setting.file, &setting.value) {
                Ok(()) => {}
                // a kernel that does not count swap
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if !setting.implied {
                        let reason = format!("the kernel has no {} here", setting.file);
                        add_unmet(&mut self.unmet, setting.flag, &reason);
                    }
                }
                Err(source) => {
                    let value = setting.value.clone();
                    return Err(SandboxError::Limit { flag: setting.flag, value, source });
                }
            }
        }
        Ok(())
    }

    /// The files that a process writes `0` to in order to be in the groups.
    pub(super) fn entries(&self) -> io::Result<Vec<OwnedFd>> {
        let open = |(_, group): &(Version, Group)| {
            let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC;
            openat(&group.directory, "cgroup.procs", flags, Mode::empty()).map_err(io::Error::from)
        };
        self.groups.iter().map(open).collect()
    }

    /// True if one of them is the container's group of the version 2 hierarchy.
    pub(super) fn is_unified(&self) -> bool {
        self.groups.iter().any(|(version, _)| *version == Version::Two)
    }

    pub(super) fn unmet(&self) -> &[UnmetLimit] {
        &self.unmet
    }

    /// What was used of the memory; `None` without a limit.
    pub(super) fn memory(&self) -> Option<MemoryUse> {
        let (index, limit) = self.memory?;
        let (version, group) = &self.groups[index];
        let (peak, events) = match version {
            Version::One => ("memory.max_usage_in_bytes", "memory.oom_control"),
            Version::Two => ("memory.peak", "memory.events"),
        };
        let read = |file| read_below(group.directory.as_fd(), file).unwrap_or_default();
        let events = read(events);
        let killed = events.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok());
        Some(MemoryUse { peak: read(peak).trim().parse().unwrap_or(0), limit, killed: killed.unwrap_or(0) })
    }
}

impl Shared {
    /// This process's group in `above`, made once and kept until the last container has ended.
    fn own_group(&self, above: &Path, version: Version) -> io::Result<Arc<Group>> {
        let mut kept = self.limiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(group) = kept.get(above) {
            return Ok(group.clone());
        }
        let parent: OwnedFd = fs::File::open(above)?.into();
        sweep(parent.as_fd());
        let name = format!("{PREFIX}{}", ProcessIdentity::own()?);
        let group = Group::make(parent, name, None)?;
        inherit_cpuset(group.parent.as_fd(), group.directory.as_fd(), version)?;
        if version == Version::Two {
            for controller in read_below(group.directory.as_fd(), "cgroup.controllers")?.split_whitespace() {
                // one that cannot be handed on is found missing when it is set
                let _ = write(group.directory.as_fd(), "cgroup.subtree_control", &format!("+{controller}"));
            }
        }
        let group = Arc::new(group);
        kept.insert(above.to_owned(), group.clone());
        Ok(group)
    }
}

/// Why there is no place for a group.
enum Lack {
    Missing(String),
    Refused(SandboxError),
}

/// Where the groups of `controller` are made, when a container needs all of `needed`.
fn place(controller: Controller, needed: &[Controller], parent: Option<&str>) -> Result<Place, Lack> {
    let unified = Hierarchy::unified();
    let has = |hierarchy: &Hierarchy| {
        let text = read_proc(hierarchy.mount_point().join("cgroup.controllers")).unwrap_or_default();
        text.split_whitespace().any(|name| name == controller.name())
    };
    let (version, hierarchy) = match unified.filter(has) {
        Some(hierarchy) => (Version::Two, hierarchy),
        None => match Hierarchy::version_1(controller.name()) {
            Some(hierarchy) => (Version::One, hierarchy),
            None => {
                let name = controller.name();
                return Err(Lack::Missing(format!("no control group hierarchy with {name} is mounted")));
            }
        },
    };
    let names: Vec<&str> = needed.iter().map(|controller| controller.name()).collect();
    if let Some(parent) = parent {
        let refused = |source| Lack::Refused(SandboxError::CgroupParent { path: parent.to_owned(), source });
        let above = made(&hierarchy, parent, (version, &names)).map_err(refused)?;
        return Ok(Place { version, above });
    }
    match version {
        Version::One => Ok(Place { version, above: hierarchy.directory() }),
        Version::Two => delegating(&hierarchy, &names)
            .map(|above| Place { version, above })
            .ok_or_else(|| Lack::Missing(undelegated())),
    }
}

/// The nearest group, from this process's own upwards, that hands the controllers on and may be written to.
fn delegating(hierarchy: &Hierarchy, names: &[&str]) -> Option<PathBuf> {
    hierarchy.directories().find(|group| {
        let writable =
            |path: &Path| faccessat(AT_FDCWD, path, AccessFlags::W_OK, AtFlags::AT_EACCESS).is_ok();
        writable(group) && writable(&group.join("cgroup.procs")) && hands_on(group, names)
    })
}

/// True if the version 2 group hands the controllers on, perhaps from now on.
fn hands_on(group: &Path, names: &[&str]) -> bool {
    let control = group.join("cgroup.subtree_control");
    let has = || {
        let text = read_proc(&control).unwrap_or_default();
        names.iter().all(|name| text.split_whitespace().any(|word| word == *name))
    };
    if has() {
        return true;
    }
    let wish: Vec<String> = names.iter().map(|name| format!("+{name}")).collect();
    fs::write(&control, wish.join(" ")).is_ok() && has()
}

/// The group `parent` below the root of the hierarchy, made where it is missing. A slice of systemd's is below those that its
/// name tells (systemd.slice(5)).
fn made(hierarchy: &Hierarchy, parent: &str, (version, names): (Version, &[&str])) -> io::Result<PathBuf> {
    let mut above = hierarchy.mount_point().to_owned();
    for name in ways(parent)? {
        let directory: OwnedFd = fs::File::open(&above)?.into();
        if version == Version::Two {
            hands_on(&above, names);
        }
        let is_new = match mkdirat(&directory, name.as_str(), Mode::from_bits_truncate(0o755)) {
            Ok(()) => true,
            Err(Errno::EEXIST) => false,
            Err(errno) => return Err(errno.into()),
        };
        let group = open_directory(directory.as_fd(), &name)?;
        if is_new {
            inherit_cpuset(directory.as_fd(), group.as_fd(), version)?;
        }
        above.push(name);
    }
    if version == Version::Two && !hands_on(&above, names) {
        return Err(io::Error::other(format!("it does not hand on {}", names.join(", "))));
    }
    Ok(above)
}

/// The names on the way to a parent.
fn ways(parent: &str) -> io::Result<Vec<String>> {
    if let Some(slice) = parent.strip_suffix(".slice").filter(|name| !name.contains('/')) {
        let ends = slice.match_indices('-').map(|(at, _)| at).chain([slice.len()]);
        return Ok(ends.filter(|end| *end > 0).map(|end| format!("{}.slice", &slice[..end])).collect());
    }
    let mut names = Vec::new();
    for part in Path::new(parent).components() {
        match part {
            Component::Normal(name) => names.push(name.to_string_lossy().into_owned()),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "it leads upwards"));
            }
        }
    }
    Ok(names)
}

/// A new version 1 group of the controller `cpuset` has no processor and no memory, and takes no process.
fn inherit_cpuset(above: BorrowedFd<'_>, group: BorrowedFd<'_>, version: Version) -> io::Result<()> {
    if version == Version::Two {
        return Ok(());
    }
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let Ok(value) = read_below(above, file) else { return Ok(()) };
        if read_below(group, file)?.trim().is_empty() {
            write(group, file, value.trim())?;
        }
    }
    Ok(())
}

fn refusal(controller: Controller, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => undelegated(),
        _ => format!("no control group for {} can be made: {error}", controller.name()),
    }
}

fn undelegated() -> String {
    "this process may make no control group for it; on a machine with systemd, \
     `systemd-run --user --scope -p Delegate=yes` before the command gives it one that is delegated"
        .to_owned()
}

fn write(group: BorrowedFd<'_>, file: &str, value: &str) -> io::Result<()> {
    let file = openat(group, file, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    nix::unistd::write(&file, value.as_bytes())?;
    Ok(())
}

fn read_below(group: BorrowedFd<'_>, file: &str) -> io::Result<String> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let file = open_below(group, Path::new(file), Resolve::BeneathNoSymlinks, flags, Mode::empty())?;
    read_proc(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_is_below_the_slices_of_its_name() {
        assert_eq!(
            ways("user-builds-x.slice").unwrap(),
            ["user.slice", "user-builds.slice", "user-builds-x.slice"]
        );
        assert_eq!(ways("/a/b").unwrap(), ["a", "b"]);
        assert_eq!(ways("a/b.slice").unwrap(), ["a", "b.slice"]);
        assert!(ways("../x").is_err());
    }

    #[test]
    fn a_group_of_version_2_is_found_that_hands_controllers_on() {
        let top = tempfile::tempdir().unwrap();
        let own = top.path().join("user/app/own");
        fs::create_dir_all(&own).unwrap();
        for (group, controls) in
            [("", "cpu memory pids\n"), ("user", "memory pids\n"), ("user/app", "memory pids\n")]
        {
            fs::write(top.path().join(group).join("cgroup.subtree_control"), controls).unwrap();
            fs::write(top.path().join(group).join("cgroup.procs"), "").unwrap();
        }
        let hierarchy = Hierarchy::at(top.path(), Path::new("user/app/own"));
        let found = delegating(&hierarchy, &["memory", "pids"]);
        assert_eq!(found, Some(top.path().join("user/app")), "the own group hands nothing on");
    }
}
