//! Sets of Linux capabilities as bit masks (capabilities(7)).

use crate::read_proc;
use std::{fmt, io, sync::LazyLock};

/// A set of capabilities: bit `n` is capability number `n`, as in the `Cap*` lines of `/proc/self/status`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct CapSet(u64);

impl CapSet {
    /// No capability.
    pub const EMPTY: Self = Self(0);
    /// Every capability the kernel may know.
    pub const ALL: Self = Self(u64::MAX);
    /// The capabilities that a `RUN` step has by default: CHOWN, DAC_OVERRIDE, FSETID, FOWNER, MKNOD, NET_RAW, SETGID, SETUID,
    /// SETFCAP, SETPCAP, NET_BIND_SERVICE, SYS_CHROOT, KILL, AUDIT_WRITE.
    pub const CONTAINER_DEFAULT: Self = Self(0xa804_25fb);

    /// Raw and packet sockets.
    pub const NET_RAW: Self = Self(1 << 13);

    /// The set with exactly the bits of `mask`.
    #[must_use]
    pub const fn from_bits(mask: u64) -> Self {
        Self(mask)
    }

    /// The set as a mask.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The capabilities in both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The capabilities in either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The capabilities in this set and not in `other`.
    #[must_use]
    pub const fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// True if all of `other` are in the set.
    #[must_use]
    pub const fn contains_all(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// True if a capability is in both.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// True if capability number `number` is in the set; `false` for numbers above 63.
    #[must_use]
    pub const fn contains(self, number: u32) -> bool {
        number < 64 && self.0 >> number & 1 == 1
    }

    /// The set with one capability more, by the name of capabilities(7) with or without `CAP_`, in any case,
    /// or `ALL`; `None` for a name that is not known.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        let upper = name.to_ascii_uppercase();
        let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
        if bare == "ALL" {
            return Some(Self::ALL);
        }
        NAMES.iter().position(|known| *known == bare).map(|number| Self(1 << number))
    }

    /// The calling thread's permitted set (capget(2)).
    ///
    /// # Errors
    /// The kernel's, if it knows no capabilities.
    pub fn permitted() -> io::Result<Self> {
        let mut header = [VERSION_3, 0];
        let mut data = [[0u32; 3]; 2];
        // SAFETY: version 3 reads a header of two words and writes two entries of three words; both arrays
        // are that long.
        let result = unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), data.as_mut_ptr()) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self(u64::from(data[0][1]) | u64::from(data[1][1]) << 32))
    }

    /// Every capability this kernel knows.
    pub(crate) fn known() -> Self {
        static KNOWN: LazyLock<CapSet> = LazyLock::new(|| {
            let text = read_proc("/proc/sys/kernel/cap_last_cap").unwrap_or_default();
            CapSet(text.trim().parse().map_or(u64::MAX, |last: u32| u64::MAX >> 63_u32.saturating_sub(last)))
        });
        *KNOWN
    }

    /// The data argument of capset(2), version 3: effective, permitted, inheritable, low words then high words.
    pub(crate) fn capset_data(effective_and_permitted: Self, inheritable: Self) -> [u32; 6] {
        let (own, inherit) = (effective_and_permitted.0, inheritable.0);
        [
            own as u32,
            own as u32,
            inherit as u32,
            (own >> 32) as u32,
            (own >> 32) as u32,
            (inherit >> 32) as u32,
        ]
    }
}

/// `_LINUX_CAPABILITY_VERSION_3`.
pub(crate) const VERSION_3: u32 = 0x2008_0522;

/// Names by number, without `CAP_`.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

impl fmt::Debug for CapSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
