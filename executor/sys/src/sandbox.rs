//! The world of a `RUN` step: namespaces, mounts, identity and confinement, as Docker's builder gives them.
//!
//! [`start`] turns plain data into a [`Program`] and spawns it. Everything about the root that is attached
//! nowhere is done by the parent through the root's descriptor ([`MountPoints`]); everything that needs the
//! new namespaces is done by the child, in an order that matters:
//!
//! 1. New proc, sysfs and cgroup mounts are made while the host's are still in view: in a user namespace the
//!    kernel allows them only to one who can already see such a mount whole.
//! 2. The root is attached and the old one let go of *before* any path of the image is resolved, so that no
//!    link in an image leads out.
//! 3. `/dev` and the rest of the fixed mounts, then the caller's, parents before children, then what hides
//!    parts of `/proc` and `/sys`, so that nothing can be mounted over a mask by mistake.
//! 4. The filter goes on while the process still may (CAP_SYS_ADMIN), then identity, then capabilities.
//!
//! What to mount, the user's numbers and the environment are the caller's to find out; the working directory
//! must exist.

mod device;
mod kernel_view;
mod mount_point;
mod process;

use crate::{
    SandboxError,
    program::{At, Program},
    spawn::{Child, Exec, Namespaces, Spawn, Stdio, spawn},
    userns::PrivilegeKind,
};
pub use mount_point::MountPoints;
pub use process::{Confinement, Identity, Process};
use std::{
    ffi::{CStr, CString},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
    sync::Arc,
};

/// Where mounts are attached for a moment to take a part of them; the message queue file system hides it
/// afterwards.
const STAGING: &CStr = c"/dev/mqueue";

/// Whose network the process sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Network {
    /// The parent's.
    Host,
    /// Its own, with a loopback only.
    None,
}

/// What is mounted at a target.
#[derive(Clone, Debug)]
pub enum MountSource {
    /// A whole detached mount, with its attributes set ([`crate::mount`]). It can be used in one sandbox.
    Tree(Arc<OwnedFd>),
    /// A file or directory inside a detached mount; this works on kernels that cannot clone a part of one
    /// (before 6.15).
    Part {
        /// The mount; other mounts of the same sandbox may take parts of it too.
        mount: Arc<OwnedFd>,
        /// Path below the mount's root, free of symbolic links: they would be followed in the container.
        path: PathBuf,
        /// Whether it is a file.
        kind: PartKind,
        /// Attributes of the part's mount.
        attributes: crate::mount::MountAttributes,
    },
}

/// What a [`MountSource::Part`] is.
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
    /// What.
    pub source: MountSource,
    /// Where: an absolute path inside the root; links in it are followed inside.
    pub target: PathBuf,
}

/// A sandbox to build around a process.
#[derive(Debug)]
pub struct SandboxSpec<'a> {
    /// The root: a detached mount, usually of [`crate::overlay`]. It can be used for one sandbox.
    pub root: BorrowedFd<'a>,
    /// What runs in it.
    pub process: Process<'a>,
    /// Host name.
    pub hostname: &'a str,
    /// Network.
    pub network: Network,
    /// Size of `/dev/shm` in bytes.
    pub shm_size: u64,
    /// Mounts beside the fixed ones; of two on one target the later wins.
    pub mounts: &'a [Mount],
    /// Capabilities, filter and masks.
    pub confinement: Confinement,
    /// Whose root builds it.
    pub privilege: PrivilegeKind,
    /// The terminal that becomes the controlling one and `/dev/console`; it should also be `stdio`.
    pub terminal: Option<BorrowedFd<'a>>,
    /// Descriptors 0 to 2.
    pub stdio: Stdio<'a>,
}

/// A sandbox with its process running.
#[derive(Debug)]
pub struct Running {
    /// The first process. The thread that called [`start`] must live as long ([`crate::spawn`]).
    pub child: Child,
    /// What was made in the root to mount on; to be cleaned up once the process has ended.
    pub mount_points: MountPoints,
}

/// Builds the sandbox and starts the process; returns when its command is executed. If it fails, mount points
/// made in the root are gone again.
///
/// # Errors
/// [`SandboxError`].
pub fn start(spec: &SandboxSpec<'_>) -> Result<Running, SandboxError> {
    let exec = Exec::new(spec.process.command, spec.process.environment)?;
    let mounts = in_order(spec.mounts)?;
    let mut points = MountPoints::new(spec.root)?;
    match launch(spec, &exec, &mounts, &mut points) {
        Ok(child) => Ok(Running { child, mount_points: points }),
        Err(error) => {
            // The first failure is what matters; what could not be removed is an empty file or directory.
            drop(points.remove_unused());
            Err(error)
        }
    }
}

fn launch(
    spec: &SandboxSpec<'_>,
    exec: &Exec,
    mounts: &[&Mount],
    points: &mut MountPoints,
) -> Result<Child, SandboxError> {
    for path in ["/proc", "/dev", "/sys"] {
        points.create_permanent(Path::new(path))?;
    }
    let mut program = Program::new();
    program.umask(0).make_mounts_private();
    let views = kernel_view::create(&mut program, spec.confinement);
    program.attach_root(spec.root.as_raw_fd());
    kernel_view::attach(&mut program, &views);
    device::add(&mut program, spec)?;
    let mut staged = None;
    for (index, mount) in mounts.iter().enumerate() {
        let earlier = &mounts[..index];
        let kind = kind_of(&mount.source)?;
        if !is_below(&mount.target, earlier) {
            points.create(&mount.target, kind)?;
        }
        if index > 0 || is_below(&mount.target, earlier) {
            create_in_child(&mut program, &mount.target, kind)?;
        }
        attach(&mut program, mount, &mut staged)?;
    }
    device::add_message_queues(&mut program);
    if spec.confinement == Confinement::Default {
        kernel_view::mask(&mut program);
    }
    if spec.network == Network::None {
        program.loopback_up();
    }
    program.set_hostname(&c_text(Path::new(spec.hostname))?);
    process::add(&mut program, &spec.process, spec.confinement, spec.terminal)?;
    let namespaces = match spec.network {
        Network::Host => Namespaces::CONTAINER,
        Network::None => Namespaces::CONTAINER.with_network(),
    };
    let request = Spawn { program: &program, exec, namespaces, stdio: spec.stdio };
    Ok(spawn(&request)?)
}

/// Parents before children, otherwise as given.
fn in_order(mounts: &[Mount]) -> Result<Vec<&Mount>, SandboxError> {
    let mut sorted: Vec<&Mount> = mounts.iter().collect();
    if let Some(bad) =
        sorted.iter().find(|mount| !mount.target.is_absolute() || mount.target.parent().is_none())
    {
        return Err(SandboxError::MountTarget { path: bad.target.clone() });
    }
    sorted.sort_by_key(|mount| mount.target.components().count());
    Ok(sorted)
}

/// Whether the target lies in something mounted before it, so that its mount point cannot be made from outside.
fn is_below(target: &Path, earlier: &[&Mount]) -> bool {
    ["/proc", "/dev", "/sys"].iter().any(|fixed| target.starts_with(fixed))
        || earlier.iter().any(|mount| target != mount.target && target.starts_with(&mount.target))
}

fn kind_of(source: &MountSource) -> Result<PartKind, SandboxError> {
    match source {
        MountSource::Part { kind, .. } => Ok(*kind),
        MountSource::Tree(mount) => {
            let found = crate::fs::stat_fd(mount.as_fd())
                .map_err(|source| crate::SysError::call("statx", "a detached mount", source))?;
            Ok(if found.is_directory() { PartKind::Directory } else { PartKind::File })
        }
    }
}

/// Makes what is missing on the way to `target`, on whatever is mounted there by then. What cannot be made
/// shows when the mount fails.
fn create_in_child(program: &mut Program, target: &Path, kind: PartKind) -> Result<(), SandboxError> {
    use crate::program::OnError;
    let mut ways: Vec<&Path> = target.ancestors().filter(|path| path.parent().is_some()).collect();
    ways.reverse();
    let last = ways.pop();
    for path in ways {
        program.make_directory(At::Here, &c_text(path)?, 0o755).on_error(OnError::Ignore);
    }
    if let Some(path) = last {
        let path = c_text(path)?;
        match kind {
            PartKind::Directory => program.make_directory(At::Here, &path, 0o755),
            PartKind::File => program.make_node(At::Here, &path, libc::S_IFREG | 0o644, 0),
        }
        .on_error(OnError::Ignore);
    }
    Ok(())
}

/// The mount last attached at [`STAGING`] and the slot for parts.
type Staged = Option<(std::os::fd::RawFd, crate::program::Slot)>;

fn attach(program: &mut Program, mount: &Mount, staged: &mut Staged) -> Result<(), SandboxError> {
    let target = c_text(&mount.target)?;
    match &mount.source {
        MountSource::Tree(tree) => {
            program.move_mount(At::Fd(tree.as_raw_fd()), &target);
        }
        MountSource::Part { mount: whole, path, kind: _, attributes } => {
            let fd = whole.as_raw_fd();
            let slot = match *staged {
                Some((current, slot)) if current == fd => slot,
                Some((_, slot)) => {
                    program.move_mount(At::Fd(fd), STAGING);
                    slot
                }
                None => {
                    program.move_mount(At::Fd(fd), STAGING);
                    program.slot()
                }
            };
            *staged = Some((fd, slot));
            let inside = Path::new("/dev/mqueue").join(path.strip_prefix("/").unwrap_or(path));
            program.clone_tree(slot, &c_text(&inside)?);
            program.set_attributes(At::Slot(slot), c"", *attributes);
            program.move_mount(At::Slot(slot), &target);
        }
    }
    Ok(())
}

fn c_text(path: &Path) -> Result<CString, SandboxError> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| crate::SpawnError::Nul { what: format!("path {}", path.display()) }.into())
}
