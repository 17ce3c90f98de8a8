//! The world of a `RUN` step: namespaces, mounts, identity and confinement, as Docker's builder gives them.
//!
//! [`start`] turns plain data into a [`Program`] and spawns it. Everything about the root that is attached
//! nowhere is done by the parent through the root's descriptor ([`MountPoints`]); everything that needs the
//! new namespaces is done by the child, in an order that matters:
//!
//! 1. It closes every descriptor that no later call names, and enters its control group.
//! 2. New proc, sysfs and cgroup mounts are made while the host's are still in view: in a user namespace the
//!    kernel allows them only to one who can already see such a mount whole.
//! 3. The root is attached and the old one let go of *before* any path of the image is resolved, so that no
//!    link in an image leads out.
//! 4. `/sys` with its masks, `/dev`, then the caller's mounts, parents before children. Each place is opened beneath the
//!    root's descriptor ([`Resolution`]), and what is mounted goes to the opened place.
//! 5. `/proc` comes last, with its masks: until then no path can lead through a process's descriptors, root or
//!    working directory, and nothing of the caller's lies over a mask.
//! 6. The working directory is opened beneath the root like any other path, and the kernel is asked whether it lies inside.
//! 7. The filter goes on while the process still may (CAP_SYS_ADMIN), then identity, then capabilities.
//!
//! No mount but that of the pseudo-terminals and of device nodes, the usual and the given ones, each bound by itself, lets a device be
//! opened.
//!
//! What to mount, the user's numbers and the environment are the caller's to find out; the working directory
//! must exist.

mod device;
mod join;
mod kernel_view;
mod mount_point;
mod process;

use crate::{
    CapSet, SandboxError, SysError,
    cgroup::{Cgroup, Cgroups, Devices, MemoryUse},
    limits::{Limits, Ulimit, UnmetLimit},
    member::Member,
    mount::MountAttributes,
    privileges::{KernelPaths, Privileges},
    program::{At, OnError, Program, Resolution, Slot},
    spawn::{Child, Exec, Guard, Namespaces, ProcessIdentity, Spawn, Stdio},
    userns::PrivilegeKind,
};
pub use join::{Joining, join};
pub use kernel_view::{masked_paths, read_only_paths};
pub use mount_point::MountPoints;
use process::Entering;
pub use process::{Confinement, FirstProcess, Identity, Process};
use std::{
    collections::BTreeMap,
    ffi::{CStr, CString},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
    sync::Arc,
};

/// Where in `/dev` mounts are attached for a moment to take a part of them; the message queue file system hides
/// it afterwards.
const STAGING: &CStr = c"mqueue";

/// Directories that every root has, because something is mounted there.
const FIXED: [&str; 3] = ["/proc", "/dev", "/sys"];

/// Directories that must not be links, because the masks name what is in them by path.
const LINKLESS: [&str; 2] = ["/proc", "/sys"];

/// Whose network the process sees.
#[derive(Clone, Copy, Debug)]
pub enum Network<'a> {
    /// The parent's network.
    Host,
    /// A network of its own, with a loopback only.
    None,
    /// One that is there already and belongs to this process for now ([`crate::network`]).
    Joined(BorrowedFd<'a>),
}

/// The source of a mount.
#[derive(Clone, Debug)]
pub enum MountSource {
    /// A whole detached mount, with its attributes set ([`crate::mount`]). It can be used in one sandbox.
    Tree(Arc<OwnedFd>),
    /// A file or directory inside a detached mount; this works on kernels that cannot clone a part of one
    /// (before 6.15).
    Part {
        /// The mount; other mounts of the same sandbox may take parts of it too.
        mount: Arc<OwnedFd>,
        /// Path below the mount's root, free of symbolic links.
        path: PathBuf,
        /// A file or a directory.
        kind: PartKind,
        /// Attributes of the part's mount.
        attributes: crate::mount::MountAttributes,
    },
}

/// The kind of a [`MountSource::Part`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PartKind {
    /// A directory.
    Directory,
    /// Anything else.
    File,
}

/// A mount the caller wants beside the fixed ones.
#[derive(Clone, Debug)]
pub struct Mount {
    /// The source.
    pub source: MountSource,
    /// An absolute path inside the root; links in it are followed inside.
    pub target: PathBuf,
}

/// What the process may do with the root's own files; what is mounted in it is not meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RootAccess {
    /// Only read them.
    ReadOnly,
    /// Change them.
    ReadWrite,
}

/// A sandbox to build around a process.
#[derive(Debug)]
pub struct SandboxSpec<'a> {
    /// The root: a detached mount, usually of [`crate::overlay`]. It can be used for one sandbox.
    pub root: BorrowedFd<'a>,
    /// Access to it.
    pub root_access: RootAccess,
    /// The process in it.
    pub process: Process<'a>,
    /// Host name.
    pub hostname: &'a str,
    /// Name of its domain.
    pub domain: Option<&'a str>,
    /// Parameters of the kernel in the sandbox's namespaces, by name (sysctl(8)).
    pub kernel: &'a BTreeMap<String, String>,
    /// How soon its processes are killed when the machine has no memory, instead of as soon as the caller's.
    pub memory_score: Option<i32>,
    /// Network.
    pub network: Network<'a>,
    /// Mounts beside the fixed ones; of two on one target the later wins, and one on `/dev/shm` is there instead of the usual.
    pub mounts: &'a [Mount],
    /// Capabilities, filter and masks.
    pub confinement: Confinement,
    /// What is different from the usual capabilities and filter, in [`Confinement::Default`].
    pub privileges: &'a Privileges,
    /// Whose root builds it.
    pub privilege: PrivilegeKind,
    /// In whose pid namespace it lives and dies.
    pub guard: &'a Arc<Guard>,
    /// Where it gets a control group; `None` keeps it in the caller's.
    pub cgroups: Option<&'a Cgroups>,
    /// What its processes may use.
    pub limits: &'a Limits,
    /// The file system of terminals whose first one becomes the controlling one and `/dev/console`; that should also be `stdio`.
    /// It can be used for one sandbox. Without it the sandbox has no terminal, and gets an empty file system for them.
    pub terminal: Option<BorrowedFd<'a>>,
    /// Where the process, otherwise ready, waits for a byte before it executes its command; it is not started when that ends without
    /// one.
    pub gate: Option<BorrowedFd<'a>>,
    /// Descriptors 0 to 2.
    pub stdio: Stdio<'a>,
}

/// A sandbox with its process running.
#[derive(Debug)]
pub struct Running {
    /// The first process.
    pub child: Child,
    /// Its control group, removed once the process has ended.
    cgroup: Option<Cgroup>,
    unmet: Vec<UnmetLimit>,
    /// Files and directories that were made in the root to mount on, to be removed once the process has ended.
    pub mount_points: MountPoints,
}

impl Running {
    /// The limits that are not in force.
    #[must_use]
    pub fn unmet_limits(&self) -> &[UnmetLimit] {
        &self.unmet
    }

    /// Puts other limits into force; returns those that cannot be.
    ///
    /// # Errors
    /// [`SandboxError::Limit`], [`SandboxError::Sys`].
    pub fn update(&mut self, old: &Limits, new: &Limits) -> Result<Vec<UnmetLimit>, SandboxError> {
        let Some(cgroup) = &mut self.cgroup else { return Ok(Vec::new()) };
        let fail = |source| SysError::call("open", "the first process", source);
        let identity = self.child.pid().and_then(ProcessIdentity::of).map_err(fail)?;
        let member = identity.map(Member::open).transpose().map_err(fail)?.flatten();
        let processes = || member.as_ref().map_or(Ok(Vec::new()), Member::processes);
        cgroup.update((old, new), &processes)
    }

    /// Its mounts, which stay as long as this is open, so that its end does not wait until they are unmounted; `None` where the kernel
    /// cannot do that (before 6.11), or it has ended.
    #[must_use]
    pub fn hold_mounts(&self) -> Option<OwnedFd> {
        self.child.mount_namespace()
    }

    /// What its processes have used of the memory that they may use; `None` without a limit.
    #[must_use]
    pub fn memory(&self) -> Option<MemoryUse> {
        self.cgroup.as_ref().and_then(Cgroup::memory)
    }
}

/// Builds the sandbox and starts the process; returns when its command is executed. If it fails, mount points
/// made in the root are gone again.
///
/// # Errors
/// [`SandboxError`].
pub fn start(spec: &SandboxSpec<'_>) -> Result<Running, SandboxError> {
    let mut exec = Exec::new(spec.process.command, spec.process.environment)?;
    if spec.process.first == FirstProcess::Init {
        exec = exec.below_init();
    }
    let mounts = in_order(spec.mounts)?;
    let mut points = MountPoints::new(spec.root)?;
    let devices = match spec.confinement {
        Confinement::Default if spec.privileges.devices.is_empty() => Devices::Usual,
        Confinement::Default => Devices::With(&spec.privileges.devices),
        Confinement::Insecure | Confinement::Privileged => Devices::All,
    };
    let cgroup = spec.cgroups.map(|cgroups| cgroups.container(spec.limits, devices)).transpose()?;
    let own = CapSet::permitted().map_err(|source| SysError::call("capget", "the own process", source))?;
    let holder = match spec.privilege {
        PrivilegeKind::Root => own,
        // in its namespace it may do everything, but limits belong to the machine
        PrivilegeKind::UserNamespace => CapSet::EMPTY,
    };
    let ulimits = spec.limits.possible_ulimits(holder);
    let (ulimits, mut unmet) =
        ulimits.map_err(|source| SysError::call("getrlimit", "the own process", source))?;
    unmet.splice(0..0, cgroup.iter().flat_map(Cgroup::unmet).cloned());
    let rights = Rights { own, ulimits };
    match launch(spec, (&exec, cgroup.as_ref(), &rights), &mounts, &mut points) {
        Ok(child) => Ok(Running { child, cgroup, unmet, mount_points: points }),
        Err(error) => {
            // The first failure is what matters; what could not be removed is an empty file or directory.
            drop(points.remove_unused());
            Err(error)
        }
    }
}

/// What the builder may do and the process is given.
struct Rights {
    /// The builder's capabilities.
    own: CapSet,
    ulimits: Vec<Ulimit>,
}

fn launch(
    spec: &SandboxSpec<'_>,
    (exec, cgroup, rights): (&Exec, Option<&Cgroup>, &Rights),
    mounts: &[&Mount],
    points: &mut MountPoints,
) -> Result<Child, SandboxError> {
    for path in FIXED {
        points.create_permanent(Path::new(path))?;
    }
    for path in LINKLESS {
        points.require_no_link(Path::new(path))?;
    }
    let mut program = Program::new();
    let entries = cgroup.map_or(Ok(Vec::new()), Cgroup::entries);
    for entry in entries.map_err(|source| SysError::call("open", "cgroup.procs", source))? {
        let entry = program.hold(entry);
        program.write(entry, c"0");
    }
    // before sysfs is made, which shows the network of its maker
    if let Network::Joined(network) = spec.network {
        program.join_network(network.as_raw_fd());
    }
    program.own_cgroup_namespace().umask(0).make_mounts_private();
    let views = kernel_view::create(&mut program, spec.confinement);
    let mut places = Places::new(&mut program, spec.root);
    program.attach_root(spec.root.as_raw_fd());
    let paths = match spec.confinement {
        Confinement::Default => spec.privileges.paths,
        Confinement::Insecure | Confinement::Privileged => KernelPaths::Shown,
    };
    kernel_view::attach_system(&mut program, &places, &views, paths);
    let null = device::add(&mut program, &places, spec)?;
    let mut staged = None;
    for (index, mount) in mounts.iter().enumerate() {
        let earlier = &mounts[..index];
        let kind = kind_of(&mount.source)?;
        if !is_below(&mount.target, earlier) {
            points.create(&mount.target, kind)?;
        }
        if index > 0 || is_below(&mount.target, earlier) {
            places.create(&mut program, &mount.target, kind)?;
        }
        attach(&mut program, &mut places, mount, &mut staged)?;
    }
    device::add_message_queues(&mut program);
    let parameters = kernel_parameters(spec)?;
    kernel_view::attach_processes(&mut program, &places, (&views, null), (paths, &parameters));
    if spec.root_access == RootAccess::ReadOnly {
        // every place in it has been made by now
        program.set_own_attributes(At::Fd(spec.root.as_raw_fd()), MountAttributes::READ_ONLY);
    }
    if let Network::None = spec.network {
        program.loopback_up();
    }
    name_machine(&mut program, spec)?;
    if let Some(gate) = spec.gate {
        program.await_byte(gate.as_raw_fd());
    }
    process::add(&mut program, &places, &Entering::of(spec), rights)?;
    let namespaces = match spec.network {
        Network::Host | Network::Joined(_) => Namespaces::CONTAINER,
        Network::None => Namespaces::CONTAINER.with_network(),
    };
    let cgroup = cgroup.and_then(Cgroup::unified);
    let stdio = Some(spec.stdio);
    let request = Spawn { program: &program, exec, namespaces, stdio, cgroup };
    Ok(spec.guard.spawn(&request)?)
}

fn name_machine(program: &mut Program, spec: &SandboxSpec<'_>) -> Result<(), SandboxError> {
    program.set_hostname(&c_text(Path::new(spec.hostname))?);
    if let Some(domain) = spec.domain {
        program.set_domain_name(&c_text(Path::new(domain))?);
    }
    Ok(())
}

/// The files of parameters, with what is to be written to them.
fn kernel_parameters(spec: &SandboxSpec<'_>) -> Result<Vec<(CString, CString)>, SandboxError> {
    let text = |text: &str| c_text(Path::new(text));
    let file = |name: &str| text(&format!("/proc/sys/{}", name.replace('.', "/")));
    let named = spec.kernel.iter().map(|(name, value)| Ok((file(name)?, text(value)?)));
    let score =
        spec.memory_score.map(|score| Ok((text("/proc/self/oom_score_adj")?, text(&score.to_string())?)));
    named.chain(score).collect()
}

/// Opens places beneath the root, the one way by which a path of an image is resolved in the child.
#[derive(Clone, Copy)]
struct Places {
    root: At,
    slot: Slot,
}

impl Places {
    fn new(program: &mut Program, root: BorrowedFd<'_>) -> Self {
        Self { root: At::Fd(root.as_raw_fd()), slot: program.slot() }
    }

    /// Places below the working directory, for as long as that is the root.
    fn below_here(program: &mut Program) -> Self {
        Self { root: At::Here, slot: program.slot() }
    }

    /// The place `path`, until the next one is opened.
    fn open(&self, program: &mut Program, path: &CStr, resolution: Resolution) -> At {
        let below_root = path.to_bytes_with_nul();
        let start = below_root.iter().position(|byte| *byte != b'/').unwrap_or(0);
        let relative = CStr::from_bytes_with_nul(&below_root[start..]).unwrap_or(c".");
        let relative = if relative.is_empty() { c"." } else { relative };
        program.open_place(self.slot, self.root, relative, resolution);
        At::Slot(self.slot)
    }

    /// Makes what is missing on the way to `target`, on whatever is mounted there by then. What cannot be made
    /// shows when the mount fails.
    fn create(&self, program: &mut Program, target: &Path, kind: PartKind) -> Result<(), SandboxError> {
        let mut ways: Vec<&Path> = target.ancestors().filter(|path| path.parent().is_some()).collect();
        ways.reverse();
        for path in ways {
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { continue };
            let name = c_text(Path::new(name))?;
            let parent = self.open(program, &c_text(parent)?, Resolution::InRoot);
            program.on_error(OnError::Ignore);
            match kind {
                PartKind::File if path == target => program.make_file(parent, &name, 0o644),
                PartKind::File | PartKind::Directory => program.make_directory(parent, &name, 0o755),
            }
            .on_error(OnError::Ignore);
        }
        Ok(())
    }
}

/// Parents before children, otherwise as given.
fn in_order(mounts: &[Mount]) -> Result<Vec<&Mount>, SandboxError> {
    let mut sorted: Vec<&Mount> = mounts.iter().collect();
    let is_bad = |target: &Path| {
        // what is mounted on the processes' view would be hidden by it
        !target.is_absolute() || target.parent().is_none() || target.starts_with("/proc")
    };
    if let Some(bad) = sorted.iter().find(|mount| is_bad(&mount.target)) {
        return Err(SandboxError::MountTarget { path: bad.target.clone() });
    }
    sorted.sort_by_key(|mount| mount.target.components().count());
    Ok(sorted)
}

/// True if the target lies in something mounted before it, so that its mount point cannot be made from outside.
fn is_below(target: &Path, earlier: &[&Mount]) -> bool {
    FIXED.iter().any(|fixed| target.starts_with(fixed))
        || earlier.iter().any(|mount| target != mount.target && target.starts_with(&mount.target))
}

fn kind_of(source: &MountSource) -> Result<PartKind, SandboxError> {
    match source {
        MountSource::Part { kind, .. } => Ok(*kind),
        MountSource::Tree(mount) => {
            let found = crate::fs::stat_fd(mount.as_fd())
                .map_err(|source| SysError::call("statx", "a detached mount", source))?;
            Ok(if found.is_directory() { PartKind::Directory } else { PartKind::File })
        }
    }
}

/// The mount last attached at [`STAGING`] and the slot for parts.
type Staged = Option<(std::os::fd::RawFd, Slot)>;

fn attach(
    program: &mut Program,
    places: &mut Places,
    mount: &Mount,
    staged: &mut Staged,
) -> Result<(), SandboxError> {
    let target = c_text(&mount.target)?;
    match &mount.source {
        MountSource::Tree(tree) => {
            let place = places.open(program, &target, Resolution::InRoot);
            program.move_mount(At::Fd(tree.as_raw_fd()), place, c"");
        }
        MountSource::Part { mount: whole, path, kind: _, attributes } => {
            let fd = whole.as_raw_fd();
            let slot = match *staged {
                Some((current, slot)) if current == fd => slot,
                Some((_, slot)) => {
                    program.move_mount(At::Fd(fd), At::Here, STAGING);
                    slot
                }
                None => {
                    program.move_mount(At::Fd(fd), At::Here, STAGING);
                    program.slot()
                }
            };
            *staged = Some((fd, slot));
            let inside = path.strip_prefix("/").unwrap_or(path);
            let inside = if inside.as_os_str().is_empty() { Path::new(".") } else { inside };
            program.open_place(slot, At::Fd(fd), &c_text(inside)?, Resolution::NoLinks);
            program.clone_tree(slot, At::Slot(slot), c"");
            program.set_attributes(At::Slot(slot), c"", attributes.and(MountAttributes::NO_DEV));
            let place = places.open(program, &target, Resolution::InRoot);
            program.move_mount(At::Slot(slot), place, c"");
        }
    }
    Ok(())
}

fn c_text(path: &Path) -> Result<CString, SandboxError> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| crate::SpawnError::Nul { what: format!("path {}", path.display()) }.into())
}
