//! Devices that a container is given beside those that every container has: plain data, which [`crate::sandbox`] and
//! [`crate::cgroup`] put into force.

use std::{fmt, path::PathBuf, str::FromStr};

/// A device to give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its node on the machine. Where this process is root a node with the same numbers is made instead.
    pub source: PathBuf,
    /// Its path below the container's `/dev`: plain names.
    pub target: PathBuf,
    /// Its kind.
    pub kind: DeviceKind,
    /// Major and minor number.
    pub numbers: (u32, u32),
    /// Permission bits of the node that is made.
    pub mode: u32,
    /// User and group of the node that is made.
    pub owner: (u32, u32),
    /// What may be done with it.
    pub access: DeviceAccess,
}

/// The two kinds of devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// `c`.
    Character,
    /// `b`.
    Block,
}

/// What may be done with a device: some of `r`, `w` and `m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceAccess(u8);

impl DeviceAccess {
    /// Everything.
    pub const ALL: Self = Self(0b111);

    const LETTERS: [char; 3] = ['r', 'w', 'm'];

    /// True if it may be read.
    #[must_use]
    pub const fn reads(self) -> bool {
        self.0 & 1 != 0
    }

    /// True if it may be written to.
    #[must_use]
    pub const fn writes(self) -> bool {
        self.0 & 2 != 0
    }
}

/// A text that has other letters than `r`, `w` and `m`, one of them twice, or none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad mode specified: {0}")]
pub struct NoDeviceAccess(pub String);

impl FromStr for DeviceAccess {
    type Err = NoDeviceAccess;

    fn from_str(text: &str) -> Result<Self, NoDeviceAccess> {
        let wrong = || NoDeviceAccess(text.to_owned());
        let access = text.chars().try_fold(0, |access, letter| {
            let bit = 1 << Self::LETTERS.iter().position(|known| *known == letter)?;
            (access & bit == 0).then_some(access | bit)
        });
        access.filter(|access| *access != 0).map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for DeviceAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let given = Self::LETTERS.iter().enumerate().filter(|(bit, _)| self.0 >> bit & 1 != 0);
        given.map(|(_, letter)| letter).collect::<String>().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_is_some_of_three_letters() {
        for (text, canonical) in [("r", "r"), ("wr", "rw"), ("mrw", "rwm"), ("m", "m")] {
            assert_eq!(text.parse::<DeviceAccess>().unwrap().to_string(), canonical);
        }
        for text in ["", "rr", "x", "rwx", "/dev/x"] {
            assert_eq!(text.parse::<DeviceAccess>(), Err(NoDeviceAccess(text.to_owned())));
        }
    }
}
