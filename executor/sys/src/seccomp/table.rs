//! The system calls a container may not make, with their numbers on the architectures a filter covers.
//!
//! Source: Docker's default profile seen with Docker's default capabilities; numbers from the kernel's
//! tables. What is not here and not newer than [`NEWEST_KNOWN`] is allowed.

use super::Architecture;
use crate::CapSet;

/// The newest system call, on every architecture alike, that has been judged (removexattrat).
pub(super) const NEWEST_KNOWN: u32 = 466;

/// clone3 hides its flags in memory a filter cannot read.
pub(super) const CLONE3: u32 = 435;

/// CAP_SYS_ADMIN.
pub(super) const SYS_ADMIN: u32 = 21;

/// Calls that are open to a process with one of these capabilities, as in Docker's profile. SYS_ADMIN opens clone with any
/// flags and clone3 as well.
const OPENED: [(u32, &[&str]); 13] = [
    (2, &["open_by_handle_at"]),
    (16, &["delete_module", "init_module", "finit_module"]),
    (17, &["iopl", "ioperm"]),
    (19, &["kcmp", "pidfd_getfd", "process_madvise"]),
    (20, &["acct"]),
    (
        SYS_ADMIN,
        &[
            "bpf",
            "fanotify_init",
            "fsconfig",
            "fsmount",
            "fsopen",
            "fspick",
            "listmount",
            "lookup_dcookie",
            "lsm_get_self_attr",
            "lsm_list_modules",
            "lsm_set_self_attr",
            "mount",
            "mount_setattr",
            "move_mount",
            "open_tree",
            "perf_event_open",
            "quotactl",
            "quotactl_fd",
            "setdomainname",
            "sethostname",
            "setns",
            "statmount",
            "syslog",
            "umount",
            "umount2",
            "unshare",
        ],
    ),
    (22, &["reboot"]),
    (23, &["get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"]),
    (25, &["settimeofday", "stime", "clock_settime", "clock_settime64"]),
    (26, &["vhangup"]),
    (34, &["syslog"]),
    (38, &["perf_event_open"]),
    (39, &["bpf"]),
];

/// The capabilities of which each opens the call `name`.
pub(super) fn opened(name: &str) -> CapSet {
    let by_list = OPENED.iter().filter(|(_, calls)| calls.contains(&name)).map(|(number, _)| *number);
    by_list.fold(CapSet::EMPTY, |set, number| set.union(CapSet::from_bits(1 << number)))
}

/// True if the filter for these capabilities is the usual one.
pub(super) fn opens_nothing(capabilities: CapSet) -> bool {
    OPENED.iter().all(|(number, _)| !capabilities.contains(*number))
}

/// One refused system call.
pub(super) struct Denied {
    pub(super) name: &'static str,
    numbers: [i32; 4],
}

impl Denied {
    /// Its number, if the architecture has the call.
    pub(super) fn number(&self, architecture: Architecture) -> Option<u32> {
        u32::try_from(self.numbers[architecture.column()]).ok()
    }
}

/// Calls that are allowed or not by their first argument.
pub(super) struct Judged {
    /// clone: no new namespaces.
    pub(super) clone: u32,
    /// personality: only the harmless ones.
    pub(super) personality: u32,
    /// socket: only namespaced or harmless families.
    pub(super) socket: u32,
}

/// Their numbers on an architecture.
pub(super) fn judged(architecture: Architecture) -> Judged {
    match architecture {
        Architecture::X86_64 => Judged { clone: 56, personality: 135, socket: 41 },
        Architecture::I386 => Judged { clone: 120, personality: 136, socket: 359 },
        Architecture::Aarch64 => Judged { clone: 220, personality: 92, socket: 198 },
        Architecture::Arm => Judged { clone: 120, personality: 136, socket: 281 },
    }
}

const fn denied(name: &'static str, numbers: [i32; 4]) -> Denied {
    Denied { name, numbers }
}

/// Columns: x86_64, i386, aarch64, arm; -1 where there is no such call.
pub(super) const DENIED: &[Denied] = &[
    // mounts, names and namespaces
    denied("mount", [165, 21, 40, 21]),
    denied("umount", [-1, 22, -1, -1]),
    denied("umount2", [166, 52, 39, 52]),
    denied("pivot_root", [155, 217, 41, 218]),
    denied("mount_setattr", [442, 442, 442, 442]),
    denied("move_mount", [429, 429, 429, 429]),
    denied("open_tree", [428, 428, 428, 428]),
    denied("fsopen", [430, 430, 430, 430]),
    denied("fsconfig", [431, 431, 431, 431]),
    denied("fsmount", [432, 432, 432, 432]),
    denied("fspick", [433, 433, 433, 433]),
    denied("statmount", [457, 457, 457, 457]),
    denied("listmount", [458, 458, 458, 458]),
    denied("setns", [308, 346, 268, 375]),
    denied("unshare", [272, 310, 97, 337]),
    denied("sethostname", [170, 74, 161, 74]),
    denied("setdomainname", [171, 121, 162, 121]),
    // the kernel's own workings
    denied("bpf", [321, 357, 280, 386]),
    denied("perf_event_open", [298, 336, 241, 364]),
    denied("fanotify_init", [300, 338, 262, 367]),
    denied("lookup_dcookie", [212, 253, 18, 249]),
    denied("quotactl", [179, 131, 60, 131]),
    denied("quotactl_fd", [443, 443, 443, 443]),
    denied("lsm_get_self_attr", [459, 459, 459, 459]),
    denied("lsm_set_self_attr", [460, 460, 460, 460]),
    denied("lsm_list_modules", [461, 461, 461, 461]),
    denied("syslog", [103, 103, 116, 103]),
    denied("open_by_handle_at", [304, 342, 265, 371]),
    denied("reboot", [169, 88, 142, 88]),
    denied("init_module", [175, 128, 105, 128]),
    denied("finit_module", [313, 350, 273, 379]),
    denied("delete_module", [176, 129, 106, 129]),
    denied("kexec_load", [246, 283, 104, 347]),
    denied("kexec_file_load", [320, -1, 294, 401]),
    denied("acct", [163, 51, 89, 51]),
    denied("swapon", [167, 87, 224, 87]),
    denied("swapoff", [168, 115, 225, 115]),
    denied("userfaultfd", [323, 374, 282, 388]),
    denied("io_uring_setup", [425, 425, 425, 425]),
    denied("io_uring_enter", [426, 426, 426, 426]),
    denied("io_uring_register", [427, 427, 427, 427]),
    // other processes
    denied("kcmp", [312, 349, 272, 378]),
    denied("pidfd_getfd", [438, 438, 438, 438]),
    denied("process_madvise", [440, 440, 440, 440]),
    // hardware and clocks
    denied("iopl", [172, 110, -1, -1]),
    denied("ioperm", [173, 101, -1, -1]),
    denied("settimeofday", [164, 79, 170, 79]),
    denied("stime", [-1, 25, -1, -1]),
    denied("clock_settime", [227, 264, 112, 262]),
    denied("clock_settime64", [-1, 404, -1, 404]),
    denied("vhangup", [153, 111, 58, 111]),
    denied("vm86", [-1, 166, -1, -1]),
    denied("vm86old", [-1, 113, -1, -1]),
    // memory placement
    denied("mbind", [237, 274, 235, 319]),
    denied("get_mempolicy", [239, 275, 236, 320]),
    denied("set_mempolicy", [238, 276, 237, 321]),
    denied("set_mempolicy_home_node", [450, 450, 450, 450]),
    denied("migrate_pages", [256, 294, 238, 400]),
    denied("move_pages", [279, 317, 239, 344]),
    // keys are not namespaced
    denied("add_key", [248, 286, 217, 309]),
    denied("keyctl", [250, 288, 219, 311]),
    denied("request_key", [249, 287, 218, 310]),
    // obsolete
    denied("nfsservctl", [180, 169, 42, 169]),
    denied("uselib", [134, 86, -1, 86]),
    denied("ustat", [136, 62, -1, 62]),
    denied("sysfs", [139, 135, -1, 135]),
    denied("_sysctl", [156, 149, -1, 149]),
    denied("bdflush", [-1, 134, -1, 134]),
];
