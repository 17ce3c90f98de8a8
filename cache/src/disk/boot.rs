//! The run of the kernel in which something was written, and the time within it: durability is reckoned in these.

use super::whole_file;
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::{fmt, path::Path};

/// One run of the kernel, as `/proc/sys/kernel/random/boot_id` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct BootId(u128);

/// The time at which something was written: the boot, and nanoseconds since it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// The boot.
    pub boot: BootId,
    /// Nanoseconds of CLOCK_BOOTTIME.
    pub nanoseconds: u64,
}

impl BootId {
    /// The running boot. Without /proc it is unknown, and equals no record's boot: nothing unsynced is then believed.
    pub(crate) fn current() -> Self {
        let bytes = whole_file::read(Path::new("/proc/sys/kernel/random/boot_id")).ok().flatten();
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
        Self::parse(&text).unwrap_or(Self(0))
    }

    pub(crate) const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    pub(crate) const fn to_bits(self) -> u128 {
        self.0
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits: String = text.trim().chars().filter(|c| *c != '-').collect();
        (digits.len() == 32).then(|| u128::from_str_radix(&digits, 16).ok()).flatten().map(Self)
    }
}

impl Stamp {
    /// This moment, in the boot that runs.
    #[expect(clippy::disallowed_methods, reason = "time since the boot, not the time of day")]
    pub(crate) fn now(boot: BootId) -> Self {
        let nanoseconds = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(0, |time| {
            u64::try_from(time.tv_sec()).unwrap_or(0) * 1_000_000_000
                + u64::try_from(time.tv_nsec()).unwrap_or(0)
        });
        Self { boot, nanoseconds }
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl From<BootId> for String {
    fn from(boot: BootId) -> Self {
        boot.to_string()
    }
}

impl TryFrom<String> for BootId {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("not a boot id")
    }
}
