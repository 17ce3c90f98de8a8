//! The budget of a store as people give it: bytes, or a part of the disk.

use crate::{Engine, Error};
use rbuild_cache::{Budget, DiskSpace, Store};
use std::str::FromStr;

/// An amount of space on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// Bytes.
    Bytes(u64),
    /// Hundredths of the whole disk that has the store, at most 100.
    Percent(u8),
}

/// Limits on what a store keeps. Without any of them it keeps everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpaceLimits {
    /// The store, or of a prune the build cache, takes at most this.
    pub max_used: Option<Space>,
    /// This stays free on the disk.
    pub min_free: Option<Space>,
    /// This much of the build cache stays nevertheless.
    pub reserved: Option<Space>,
}

impl Space {
    /// Reads `20g`, `1.5GiB`, `65536` (powers of 1024), or `10%`; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(percent) = text.strip_suffix('%') {
            return u8::from_str(percent).ok().filter(|percent| *percent <= 100).map(Self::Percent);
        }
        rbuild_planner::parse_size(text).map(Self::Bytes)
    }

    fn bytes(self, disk: &DiskSpace) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => disk.total / 100 * u64::from(percent),
        }
    }
}

impl SpaceLimits {
    /// These, and those of `others` where these say nothing.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            max_used: self.max_used.or(others.max_used),
            min_free: self.min_free.or(others.min_free),
            reserved: self.reserved.or(others.reserved),
        }
    }

    /// In bytes, on the disk that has `store`.
    pub(crate) fn budget(self, store: &Store) -> Result<Budget, Error> {
        if self == Self::default() {
            return Ok(Budget::default());
        }
        let disk = store.disk_space()?;
        let bytes = |space: Option<Space>| space.map(|space| space.bytes(&disk));
        Ok(Budget {
            max_used_space: bytes(self.max_used),
            min_free_space: bytes(self.min_free),
            reserved_space: bytes(self.reserved),
        })
    }
}

impl Engine {
    /// The same engine, which from now on makes room in its store before steps, pulls and loads: images whose names others
    /// have got go, and then of the build cache what is cheapest to make again. What running builds, images and containers
    /// need stays, and so does the reserved part of the cache.
    ///
    /// # Errors
    /// [`Error::Store`] when the disk cannot be asked how large it is.
    pub fn within(self, limits: SpaceLimits) -> Result<Self, Error> {
        let budget = limits.budget(&self.store)?;
        Ok(Self { store: self.store.within(budget), ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_docker_s_and_parts_are_of_the_disk() {
        for (text, expected) in [
            ("64m", 64 << 20),
            ("65536", 65536),
            ("1.5g", 3 << 29),
            ("10MiB", 10 << 20),
            ("1kb", 1024),
            ("7 B", 7),
        ] {
            assert_eq!(Space::parse(text), Some(Space::Bytes(expected)), "{text}");
        }
        for text in ["", "xx", "-1", "1.2.3", "1x", "ib", "101%", "%", "1.5%", "-1%"] {
            assert_eq!(Space::parse(text), None, "{text}");
        }
        let disk = DiskSpace { total: 5000, free: 1 };
        assert_eq!(Space::parse("10%").unwrap().bytes(&disk), 500);
    }
}
