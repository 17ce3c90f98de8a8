//! `/proc` and `/sys`: fresh ones for the new namespaces, with what concerns the whole machine hidden or
//! read-only.

use super::{Confinement, Places};
use crate::{
    mount::MountAttributes,
    privileges::KernelPaths,
    program::{At, Mount, OnError, Program, Resolution, Slot},
};
use std::{
    ffi::{CStr, CString, OsStr},
    io,
    os::unix::ffi::OsStrExt,
    path::Path,
    sync::LazyLock,
};

/// Files that show as empty (Docker's list, that of its containers).
const MASKED_FILES: [&CStr; 7] = [
    c"/proc/kcore",
    c"/proc/interrupts",
    c"/proc/keys",
    c"/proc/latency_stats",
    c"/proc/timer_list",
    c"/proc/timer_stats",
    c"/proc/sched_debug",
];

/// Directories of proc that show as empty (Docker's list).
const MASKED_IN_PROC: [&CStr; 3] = [c"/proc/acpi", c"/proc/asound", c"/proc/scsi"];

/// Directories of sysfs that show as empty (Docker's list).
const MASKED_IN_SYS: [&CStr; 2] = [c"/sys/firmware", c"/sys/devices/virtual/powercap"];

/// Paths that can be read only (Docker's list).
const READ_ONLY: [&CStr; 5] = [c"/proc/bus", c"/proc/fs", c"/proc/irq", c"/proc/sys", c"/proc/sysrq-trigger"];

/// The paths that show as empty to a process that is to see nothing of the machine.
pub fn masked_paths() -> impl Iterator<Item = String> {
    texts(MASKED_FILES.iter().chain(&MASKED_IN_PROC).chain(&MASKED_IN_SYS))
}

/// The paths that such a process can only read.
pub fn read_only_paths() -> impl Iterator<Item = String> {
    texts(READ_ONLY.iter())
}

fn texts<'a>(paths: impl Iterator<Item = &'a &'static CStr>) -> impl Iterator<Item = String> {
    paths.map(|path| path.to_string_lossy().into_owned())
}

/// A path that does not exist on this kernel needs no mask.
const MISSING: OnError = OnError::IgnoreOnly(&[libc::ENOENT]);

/// The mounts made before the old root is gone.
pub(super) struct Views {
    proc: Slot,
    sys: Slot,
    cgroup: Slot,
}

pub(super) fn create(program: &mut Program, confinement: Confinement) -> Views {
    let quiet = MountAttributes::NO_SUID.and(MountAttributes::NO_DEV).and(MountAttributes::NO_EXEC);
    let system = match confinement {
        Confinement::Default => quiet.and(MountAttributes::READ_ONLY),
        Confinement::Insecure | Confinement::Privileged => quiet,
    };
    let proc = program.new_filesystem(c"proc", &[], quiet, OnError::Fail);
    // A user namespace may not mount sysfs for a network that is not its own: then the host's is shown.
    let sys = program.new_filesystem(c"sysfs", &[], system, OnError::Ignore);
    program.else_next(2).clone_tree(sys, At::Here, c"/sys").set_attributes(At::Slot(sys), c"", system);
    let cgroup = program.new_filesystem(c"cgroup2", &[], system, OnError::Ignore);
    Views { proc, sys, cgroup }
}

/// `/sys`, where the image must have a real directory.
pub(super) fn attach_system(program: &mut Program, places: &Places, views: &Views, paths: KernelPaths) {
    let place = places.open(program, c"/sys", Resolution::NoLinks);
    program.move_mount(At::Slot(views.sys), place, c"");
    // Machines without cgroup2 get an empty directory instead of the host's hierarchies.
    program.move_mount(At::Slot(views.cgroup), At::Slot(views.sys), c"fs/cgroup");
    program.on_error(OnError::Ignore).else_next(1);
    program.mount(&empty(c"/sys/fs/cgroup")).on_error(OnError::Ignore);
    if paths == KernelPaths::Masked {
        for path in MASKED_IN_SYS {
            program.mount(&empty(path)).on_error(MISSING);
        }
    }
}

/// `/proc`, where the image must have a real directory. `null` is the null device as it was before the caller's mounts: what
/// the masks show is not theirs to choose. `parameters` are written while that can be done.
pub(super) fn attach_processes(
    program: &mut Program,
    places: &Places,
    (views, null): (&Views, At),
    (paths, parameters): (KernelPaths, &[(CString, CString)]),
) {
    let place = places.open(program, c"/proc", Resolution::NoLinks);
    program.move_mount(At::Slot(views.proc), place, c"");
    let file = program.slot();
    for (path, value) in parameters {
        program.write_file(file, path, value);
    }
    if paths == KernelPaths::Shown {
        return;
    }
    let mask = program.slot();
    for path in masked_files() {
        program.clone_mount(mask, null).move_mount(At::Slot(mask), At::Here, path).on_error(MISSING);
    }
    for path in MASKED_IN_PROC {
        program.mount(&empty(path)).on_error(MISSING);
    }
    for path in READ_ONLY {
        let flags = libc::MS_BIND | libc::MS_REC;
        program
            .mount(&Mount { source: path, target: path, kind: c"", flags, options: c"" })
            .on_error(MISSING);
        program.set_attributes(At::Here, path, MountAttributes::READ_ONLY).on_error(MISSING);
    }
}

/// The masked files that this kernel has, asked once a process: every proc of a kernel has the same.
fn masked_files() -> &'static [&'static CStr] {
    static FILES: LazyLock<Vec<&'static CStr>> = LazyLock::new(|| {
        let absent = |path: &CStr| {
            let path = Path::new(OsStr::from_bytes(path.to_bytes()));
            path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        };
        MASKED_FILES.into_iter().filter(|path| !absent(path)).collect()
    });
    &FILES
}

fn empty(target: &CStr) -> Mount<'_> {
    let flags = libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    Mount { source: c"tmpfs", target, kind: c"tmpfs", flags, options: c"size=4k,nr_inodes=2" }
}
