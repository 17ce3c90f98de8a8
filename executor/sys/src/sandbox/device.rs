//! `/dev`: a small tmpfs with the nodes that every program may use.

use super::{Confinement, Places, STAGING, SandboxSpec, c_text};
use crate::{
    SandboxError,
    mount::{MountAttributes, Submounts, clone_tree},
    program::{At, Mount, OnError, Optional, Program, Resolution},
    userns::PrivilegeKind,
};
use std::{ffi::CStr, path::Path};

/// Character devices that every program may use.
const NODES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Devices that an insecure step gets beside those, where the host has them.
const INSECURE_NODES: [&str; 7] = ["kmsg", "fuse", "kvm", "loop-control", "loop0", "cuse", "net/tun"];

const LINKS: [(&CStr, &CStr); 5] = [
    (c"/proc/self/fd", c"fd"),
    (c"/proc/self/fd/0", c"stdin"),
    (c"/proc/self/fd/1", c"stdout"),
    (c"/proc/self/fd/2", c"stderr"),
    (c"pts/ptmx", c"ptmx"),
];

/// Mounts and fills `/dev`; the working directory is left there. The umask must be 0.
pub(super) fn add(
    program: &mut Program,
    places: &Places,
    spec: &SandboxSpec<'_>,
) -> Result<(), SandboxError> {
    let options = [(c"mode", c"755", Optional::No), (c"size", c"65536k", Optional::No)];
    let attributes = MountAttributes::NO_SUID.and(MountAttributes::NO_DEV).and(MountAttributes::STRICT_TIMES);
    let dev = program.new_filesystem(c"tmpfs", &options, attributes, OnError::Fail);
    let place = places.open(program, c"/dev", Resolution::InRoot);
    program.move_mount(At::Slot(dev), place, c"").enter(At::Slot(dev));
    for name in NODES {
        add_node(program, name)?;
    }
    if spec.confinement == Confinement::Insecure && spec.privilege == PrivilegeKind::Root {
        program.make_directory(At::Here, c"net", 0o755);
        for name in INSECURE_NODES.iter().filter(|name| Path::new("/dev").join(name).exists()) {
            add_node(program, name)?;
        }
    }
    for (target, name) in LINKS {
        program.make_symlink(target, At::Here, name);
    }
    add_terminals(program, spec);
    program.make_directory(At::Here, c"shm", 0o1777);
    let size = c_text(Path::new(&spec.shm_size.to_string()))?;
    let options = [(c"mode", c"1777", Optional::No), (c"size", size.as_c_str(), Optional::No)];
    let shm = program.new_filesystem(c"tmpfs", &options, quiet(), OnError::Fail);
    program.move_mount(At::Slot(shm), At::Here, c"shm");
    program.make_directory(At::Here, STAGING, 0o755);
    Ok(())
}

/// Shows one device node of the host. The mount of `/dev` lets no device be opened, and neither does the root, so what a
/// container can open is exactly what is bound here.
fn add_node(program: &mut Program, name: &str) -> Result<(), SandboxError> {
    let host = clone_tree(nix::fcntl::AT_FDCWD, &Path::new("/dev").join(name), Submounts::Leave)?;
    let node = c_text(Path::new(name))?;
    let host = program.hold(host);
    program.make_file(At::Here, &node, 0o666).move_mount(At::Fd(host), At::Here, &node);
    Ok(())
}

fn add_terminals(program: &mut Program, spec: &SandboxSpec<'_>) {
    program.make_directory(At::Here, c"pts", 0o755);
    // Group 5, tty, may have no id in a user namespace.
    let options = [
        (c"ptmxmode", c"0666", Optional::No),
        (c"mode", c"0620", Optional::No),
        (c"gid", c"5", Optional::Yes),
    ];
    let attributes = MountAttributes::NO_SUID.and(MountAttributes::NO_EXEC);
    let terminals = program.new_filesystem(c"devpts", &options, attributes, OnError::Fail);
    program.move_mount(At::Slot(terminals), At::Here, c"pts");
    let console = spec.terminal.and_then(|slave| clone_tree(slave, Path::new(""), Submounts::Leave).ok());
    // A terminal of another mount namespace cannot be shown by name; it works without.
    if let Some(console) = console {
        let console = program.hold(console);
        program.make_file(At::Here, c"console", 0o600).move_mount(At::Fd(console), At::Here, c"console");
    }
}

/// Mounts the message queues over the staging place; a kernel without them gets an empty directory, as what
/// was staged must not be seen.
pub(super) fn add_message_queues(program: &mut Program) {
    let queues = program.new_filesystem(c"mqueue", &[], quiet(), OnError::Ignore);
    program.move_mount(At::Slot(queues), At::Here, STAGING).on_error(OnError::Ignore).else_next(1);
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    let (kind, options) = (c"tmpfs", c"size=4k");
    program.mount(&Mount { source: kind, target: STAGING, kind, flags, options });
}

fn quiet() -> MountAttributes {
    MountAttributes::NO_SUID.and(MountAttributes::NO_DEV).and(MountAttributes::NO_EXEC)
}
