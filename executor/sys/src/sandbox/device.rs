//! `/dev`: a small tmpfs with the nodes that every program may use.

use super::{Confinement, STAGING, SandboxSpec, c_text};
use crate::{
    SandboxError,
    mount::{Submounts, clone_tree},
    program::{At, Mount, OnError, Program},
    userns::PrivilegeKind,
};
use nix::sys::stat::makedev;
use std::{ffi::CStr, path::Path};

/// Character devices everyone may use: name, major, minor.
const NODES: [(&str, u64, u64); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// What an insecure step gets more: name, file type, major, minor.
const INSECURE_NODES: [(&CStr, u32, u64, u64); 6] = [
    (c"kmsg", libc::S_IFCHR, 1, 11),
    (c"fuse", libc::S_IFCHR, 10, 229),
    (c"kvm", libc::S_IFCHR, 10, 232),
    (c"loop-control", libc::S_IFCHR, 10, 237),
    (c"loop0", libc::S_IFBLK, 7, 0),
    (c"cuse", libc::S_IFCHR, 10, 203),
];

const LINKS: [(&CStr, &CStr); 5] = [
    (c"/proc/self/fd", c"fd"),
    (c"/proc/self/fd/0", c"stdin"),
    (c"/proc/self/fd/1", c"stdout"),
    (c"/proc/self/fd/2", c"stderr"),
    (c"pts/ptmx", c"ptmx"),
];

/// Mounts and fills `/dev`; the working directory is left there. The umask must be 0.
pub(super) fn add(program: &mut Program, spec: &SandboxSpec<'_>) -> Result<(), SandboxError> {
    let flags = libc::MS_NOSUID | libc::MS_STRICTATIME;
    program.mount(&Mount {
        source: c"tmpfs",
        target: c"/dev",
        kind: c"tmpfs",
        flags,
        options: c"mode=755,size=65536k",
    });
    program.chdir(c"/dev");
    for (name, major, minor) in NODES {
        let node = c_text(Path::new(name))?;
        match spec.privilege {
            PrivilegeKind::Root => {
                program.make_node(At::Here, &node, libc::S_IFCHR | 0o666, makedev(major, minor));
            }
            // Nobody makes device nodes in a user namespace; the host's can be mounted.
            PrivilegeKind::UserNamespace => {
                let host = clone_tree(nix::fcntl::AT_FDCWD, &Path::new("/dev").join(name), Submounts::Leave)?;
                program.make_node(At::Here, &node, libc::S_IFREG | 0o666, 0);
                let host = program.hold(host);
                program.move_mount(At::Fd(host), &node);
            }
        }
    }
    if spec.confinement == Confinement::Insecure && spec.privilege == PrivilegeKind::Root {
        for (name, kind, major, minor) in INSECURE_NODES {
            program.make_node(At::Here, name, kind | 0o660, makedev(major, minor));
        }
        program.make_directory(At::Here, c"net", 0o755);
        program.make_node(At::Here, c"net/tun", libc::S_IFCHR | 0o666, makedev(10, 200));
    }
    for (target, name) in LINKS {
        program.make_symlink(target, At::Here, name);
    }
    add_terminals(program, spec);
    program.make_directory(At::Here, c"shm", 0o1777);
    let options = c_text(Path::new(&format!("mode=1777,size={}", spec.shm_size)))?;
    program.mount(&quiet(c"shm", c"/dev/shm", c"tmpfs", &options));
    program.make_directory(At::Here, c"mqueue", 0o755);
    Ok(())
}

fn add_terminals(program: &mut Program, spec: &SandboxSpec<'_>) {
    program.make_directory(At::Here, c"pts", 0o755);
    let flags = libc::MS_NOSUID | libc::MS_NOEXEC;
    let devpts = |options| Mount { source: c"devpts", target: c"/dev/pts", kind: c"devpts", flags, options };
    // Group 5, tty, may have no id in a user namespace.
    program.mount(&devpts(c"newinstance,ptmxmode=0666,mode=0620,gid=5"));
    program.on_error(OnError::IgnoreOnly(&[libc::EINVAL])).else_next(1);
    program.mount(&devpts(c"newinstance,ptmxmode=0666,mode=0620"));
    let console = spec.terminal.and_then(|slave| clone_tree(slave, Path::new(""), Submounts::Leave).ok());
    // A terminal of another mount namespace cannot be shown by name; it works without.
    if let Some(console) = console {
        program.make_node(At::Here, c"console", libc::S_IFREG | 0o600, 0);
        let console = program.hold(console);
        program.move_mount(At::Fd(console), c"/dev/console");
    }
}

/// Mounts the message queues over the staging place; a kernel without them gets an empty directory, as what
/// was staged must not be seen.
pub(super) fn add_message_queues(program: &mut Program) {
    program.mount(&quiet(c"mqueue", STAGING, c"mqueue", c"")).on_error(OnError::Ignore).else_next(1);
    program.mount(&quiet(c"tmpfs", STAGING, c"tmpfs", c"size=4k"));
}

fn quiet<'a>(source: &'a CStr, target: &'a CStr, kind: &'a CStr, options: &'a CStr) -> Mount<'a> {
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    Mount { source, target, kind, flags, options }
}
