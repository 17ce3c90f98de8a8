//! `/dev`: a small tmpfs with the nodes that every program may use.

use super::{Confinement, Places, STAGING, SandboxSpec, c_text};
use crate::{
    SandboxError,
    device::{Device, DeviceKind},
    mount::{MountAttributes, Submounts, clone_tree},
    program::{At, Mount, OnError, Program, Resolution},
    userns::PrivilegeKind,
};
use nix::sys::stat::makedev;
use std::{
    ffi::{CStr, OsStr},
    os::{fd::AsRawFd, unix::ffi::OsStrExt},
    path::Path,
};

/// A device node: name, file type, major, minor.
type Node = (&'static CStr, u32, u64, u64);

/// Devices that every program may use.
const NODES: [Node; 6] = [
    (c"null", libc::S_IFCHR, 1, 3),
    (c"zero", libc::S_IFCHR, 1, 5),
    (c"full", libc::S_IFCHR, 1, 7),
    (c"random", libc::S_IFCHR, 1, 8),
    (c"urandom", libc::S_IFCHR, 1, 9),
    (c"tty", libc::S_IFCHR, 5, 0),
];

/// Devices that an insecure step gets beside those.
const INSECURE_NODES: [Node; 14] = [
    (c"kmsg", libc::S_IFCHR, 1, 11),
    (c"fuse", libc::S_IFCHR, 10, 229),
    (c"kvm", libc::S_IFCHR, 10, 232),
    (c"loop-control", libc::S_IFCHR, 10, 237),
    (c"loop0", libc::S_IFBLK, 7, 0),
    (c"loop1", libc::S_IFBLK, 7, 1),
    (c"loop2", libc::S_IFBLK, 7, 2),
    (c"loop3", libc::S_IFBLK, 7, 3),
    (c"loop4", libc::S_IFBLK, 7, 4),
    (c"loop5", libc::S_IFBLK, 7, 5),
    (c"loop6", libc::S_IFBLK, 7, 6),
    (c"loop7", libc::S_IFBLK, 7, 7),
    (c"cuse", libc::S_IFCHR, 10, 203),
    (c"net/tun", libc::S_IFCHR, 10, 200),
];

const LINKS: [(&CStr, &CStr); 5] = [
    (c"/proc/self/fd", c"fd"),
    (c"/proc/self/fd/0", c"stdin"),
    (c"/proc/self/fd/1", c"stdout"),
    (c"/proc/self/fd/2", c"stderr"),
    (c"pts/ptmx", c"ptmx"),
];

/// What else is in `/dev`.
const TAKEN: [&str; 9] = ["pts", "ptmx", "shm", "mqueue", "console", "fd", "stdin", "stdout", "stderr"];

/// Mounts and fills `/dev`; the working directory is left there. Returns the null device. The umask must be 0.
pub(super) fn add(
    program: &mut Program,
    places: &Places,
    spec: &SandboxSpec<'_>,
) -> Result<At, SandboxError> {
    let options = [(c"mode", c"755"), (c"size", c"65536k")];
    let attributes = MountAttributes::NO_SUID.and(MountAttributes::STRICT_TIMES);
    let dev = program.new_filesystem(c"tmpfs", &options, attributes, OnError::Fail);
    let place = places.open(program, c"/dev", Resolution::InRoot);
    program.move_mount(At::Slot(dev), place, c"").enter(At::Slot(dev));
    let insecure = spec.confinement != Confinement::Default && spec.privilege == PrivilegeKind::Root;
    if insecure {
        program.make_directory(At::Here, c"net", 0o755);
    }
    let usual = || NODES.iter().chain(INSECURE_NODES.iter().filter(|_| insecure));
    for node in usual() {
        add_node(program, node, spec.privilege)?;
    }
    for device in &spec.privileges.devices {
        if !is_there(device, usual())? {
            add_given(program, device, spec.privilege)?;
        }
    }
    // A node that is a mount of its own stays open to all; those that the container makes beside it are not.
    if !insecure {
        program.set_own_attributes(At::Slot(dev), MountAttributes::NO_DEV);
    }
    let null = program.slot();
    program.open_place(null, At::Here, c"null", Resolution::NoLinks);
    for (target, name) in LINKS {
        program.make_symlink(target, At::Here, name);
    }
    add_terminals(program, spec);
    program.make_directory(At::Here, c"shm", 0o1777);
    if !spec.mounts.iter().any(|mount| mount.target == Path::new("/dev/shm")) {
        program.mount(&quiet(c"shm", c"shm", c"tmpfs", c"mode=1777,size=65536k"));
    }
    program.make_directory(At::Here, STAGING, 0o755);
    if spec.stdio.stdin.is_none() {
        program.open_as(0, c"null");
    }
    Ok(At::Slot(null))
}

/// A device node as a mount of its own. Root makes the node, because on one of the host's the container could change mode
/// and owner. In a user namespace no node can be made, and the host's belong to no id of the container: so they are shown.
fn add_node(program: &mut Program, node: &Node, privilege: PrivilegeKind) -> Result<(), SandboxError> {
    let (name, kind, major, minor) = *node;
    match privilege {
        PrivilegeKind::Root => {
            program.make_node(At::Here, name, kind | 0o666, makedev(major, minor));
            let flags = libc::MS_BIND;
            program.mount(&Mount { source: name, target: name, kind: c"", flags, options: c"" });
        }
        PrivilegeKind::UserNamespace => {
            show_node(program, &Path::new("/dev").join(OsStr::from_bytes(name.to_bytes())), name)?;
        }
    }
    Ok(())
}

/// True if `device` is one of the `usual` ones. None may be in the place of another one, which masks of `/proc` may be made of, or of
/// something else that every container has.
fn is_there<'a>(device: &Device, mut usual: impl Iterator<Item = &'a Node>) -> Result<bool, SandboxError> {
    let refused = || Err(SandboxError::DeviceTarget { path: Path::new("/dev").join(&device.target) });
    let first = device.target.iter().next().unwrap_or_default();
    if TAKEN.iter().any(|name| first == *name) {
        return refused();
    }
    match usual.find(|node| device.target.as_os_str().as_bytes() == node.0.to_bytes()) {
        None => Ok(false),
        Some((.., major, minor))
            if (u64::from(device.numbers.0), u64::from(device.numbers.1)) == (*major, *minor) =>
        {
            Ok(true)
        }
        Some(_) => refused(),
    }
}

/// A device that was asked for, in the same way.
fn add_given(program: &mut Program, device: &Device, privilege: PrivilegeKind) -> Result<(), SandboxError> {
    let mut above: Vec<&Path> = device.target.ancestors().skip(1).collect();
    above.pop();
    for directory in above.into_iter().rev() {
        program.make_directory(At::Here, &c_text(directory)?, 0o755);
        program.on_error(OnError::IgnoreOnly(&[libc::EEXIST]));
    }
    let target = c_text(&device.target)?;
    match privilege {
        PrivilegeKind::Root => {
            let kind = match device.kind {
                DeviceKind::Character => libc::S_IFCHR,
                DeviceKind::Block => libc::S_IFBLK,
            };
            let (major, minor) = device.numbers;
            program.make_node(At::Here, &target, kind | device.mode, makedev(major.into(), minor.into()));
            program.change_owner(At::Here, &target, device.owner);
            let flags = libc::MS_BIND;
            program.mount(&Mount { source: &target, target: &target, kind: c"", flags, options: c"" });
            Ok(())
        }
        PrivilegeKind::UserNamespace => show_node(program, &device.source, &target),
    }
}

/// The machine's node `path` at `target`.
fn show_node(program: &mut Program, path: &Path, target: &CStr) -> Result<(), SandboxError> {
    let host = clone_tree(nix::fcntl::AT_FDCWD, path, Submounts::Leave)?;
    let host = program.hold(host);
    program.make_file(At::Here, target, 0o666).move_mount(At::Fd(host), At::Here, target);
    Ok(())
}

fn add_terminals(program: &mut Program, spec: &SandboxSpec<'_>) {
    program.make_directory(At::Here, c"pts", 0o755);
    if let Some(devices) = spec.terminal {
        program.move_mount(At::Fd(devices.as_raw_fd()), At::Here, c"pts");
        program.make_file(At::Here, c"console", 0o600);
        let flags = libc::MS_BIND;
        program.mount(&Mount { source: c"pts/0", target: c"console", kind: c"", flags, options: c"" });
        return;
    }
    let flags = libc::MS_NOSUID | libc::MS_NOEXEC;
    let devpts = |options| Mount { source: c"devpts", target: c"pts", kind: c"devpts", flags, options };
    // Group 5, tty, may have no id in a user namespace.
    program.mount(&devpts(c"newinstance,ptmxmode=0666,mode=0620,gid=5"));
    program.on_error(OnError::IgnoreOnly(&[libc::EINVAL])).else_next(1);
    program.mount(&devpts(c"newinstance,ptmxmode=0666,mode=0620"));
}

/// Mounts the message queues over the staging place; a kernel without them gets an empty directory, as what
/// was staged must not be seen.
pub(super) fn add_message_queues(program: &mut Program) {
    program.mount(&quiet(c"mqueue", STAGING, c"mqueue", c"")).on_error(OnError::Ignore).else_next(1);
    program.mount(&quiet(c"tmpfs", STAGING, c"tmpfs", c"size=4k"));
}

/// A file system at a place in the working directory, which is the new `/dev`: no path of the image is in it.
fn quiet<'a>(source: &'a CStr, target: &'a CStr, kind: &'a CStr, options: &'a CStr) -> Mount<'a> {
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    Mount { source, target, kind, flags, options }
}
