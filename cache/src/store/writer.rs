//! The writer of a store. Layers are directories, and two things in them depend on who made them: owners' ids, which in
//! a user namespace differ from the machine's, and overlayfs' marks of removed files, which only the machine's root may
//! keep in `trusted.*`. So a store belongs to one writer, because any other one would misread its layers.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The user to whom a store's layers belong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Writer {
    /// The machine's root: owners are the machine's, marks are `trusted.overlay.*`.
    Root,
    /// A user, who is root of a user namespace while working on layers: marks are `user.overlay.*`.
    User {
        /// The user's id outside of the namespace.
        uid: u32,
        /// How the namespace's ids are mapped; `None` outside of it, where layers are not touched.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ids: Option<Box<IdMaps>>,
    },
}

/// The ids of a user namespace (user_namespaces(7)).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMaps {
    /// The user ids.
    pub uids: Vec<IdRange>,
    /// The group ids.
    pub gids: Vec<IdRange>,
}

/// A run of ids inside and outside of a user namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    /// The first id inside.
    pub inside: u32,
    /// The first id outside.
    pub outside: u32,
    /// The number of ids.
    pub count: u32,
}

impl IdMaps {
    /// True if every id of `other` is mapped here, and to the same id.
    pub(super) fn includes(&self, other: &Self) -> bool {
        includes(&self.uids, &other.uids) && includes(&self.gids, &other.gids)
    }
}

fn includes(ranges: &[IdRange], others: &[IdRange]) -> bool {
    others.iter().all(|other| {
        let (mut at, end) = (u64::from(other.inside), other.end());
        while at < end {
            let Some(range) =
                ranges.iter().find(|range| (u64::from(range.inside)..range.end()).contains(&at))
            else {
                return false;
            };
            // distances instead of ids, which might overflow
            let outside = u64::from(range.outside) + (at - u64::from(range.inside));
            if outside != u64::from(other.outside) + (at - u64::from(other.inside)) {
                return false;
            }
            at = range.end();
        }
        true
    })
}

impl IdRange {
    /// The first inside id after the run.
    fn end(&self) -> u64 {
        u64::from(self.inside) + u64::from(self.count)
    }
}

impl fmt::Display for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("root"),
            Self::User { uid, .. } => write!(f, "user {uid}"),
        }
    }
}

/// As the files of /proc have them: `inside outside count`, runs separated by commas.
impl fmt::Display for IdMaps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs = |ranges: &[IdRange]| {
            let run = |range: &IdRange| format!("{} {} {}", range.inside, range.outside, range.count);
            ranges.iter().map(run).collect::<Vec<_>>().join(", ")
        };
        write!(f, "users {}; groups {}", runs(&self.uids), runs(&self.gids))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(text: &str) -> Vec<IdRange> {
        let numbers: Vec<u32> = text.split_whitespace().map(|number| number.parse().unwrap()).collect();
        let range = |chunk: &[u32]| IdRange { inside: chunk[0], outside: chunk[1], count: chunk[2] };
        numbers.chunks(3).map(range).collect()
    }

    #[test]
    fn a_map_includes_another_if_every_id_is_mapped_alike() {
        let cases = [
            ("0 1000 1 1 100000 65536", "0 1000 1 1 100000 65536", true),
            ("0 1000 1 1 100000 65536", "0 1000 1 1 100000 1000", true),
            ("0 1000 1 1 100000 65536 65537 300000 10", "0 1000 1 1 100000 65536", true),
            ("0 1000 1 1 100000 10 11 100010 10", "0 1000 1 1 100000 20", true),
            ("0 0 4294967295", "0 0 4294967295", true),
            ("0 1000 1", "", true),
            ("", "0 1000 1", false),
            ("0 1000 1 1 100000 1000", "0 1000 1 1 100000 65536", false),
            ("0 1000 1 1 200000 65536", "0 1000 1 1 100000 65536", false),
            ("0 1000 1 1 100000 10 11 100011 10", "0 1000 1 1 100000 20", false),
            ("0 1001 1 1 100000 65536", "0 1000 1 1 100000 65536", false),
        ];
        for (ours, theirs, expected) in cases {
            assert_eq!(includes(&ranges(ours), &ranges(theirs)), expected, "{ours} includes {theirs}");
        }
    }
}
