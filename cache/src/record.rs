//! Cache records: what a step's result is, and what it was made from, kept in structured form so that a later miss can
//! be explained.

use crate::{CacheKey, LayerId, SiteHash, Stamp, StepHash};
use rbuild_oci::{Digest, Timestamp};
use serde::{Deserialize, Serialize};

/// The result of one step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheRecord {
    /// The layer the step made.
    pub layer: LayerId,
    /// When the step ended.
    pub created: Timestamp,
    /// The step itself.
    pub step: StepHash,
    /// Where in which build it stood, if the engine says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<SiteHash>,
    /// The key of what it stood on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<CacheKey>,
    /// The layers it stood on, lowest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parent_layers: Vec<LayerId>,
    /// What it was made from.
    pub inputs: StepInputs,
    /// Blobs that belong to the record (trees of input digests, its log); they live as long as it does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blobs: Vec<Digest>,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// Sum of its layer's regular files' lengths.
    pub size_bytes: u64,
    /// The instruction as the Dockerfile has it.
    pub instruction: String,
    /// When its layer was removed to make room; such a record only explains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evicted: Option<Timestamp>,
    /// When the record was written, for durability; the index fills it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamp: Option<Stamp>,
}

/// A step's inputs as ordered (name, value) pairs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepInputs {
    /// The step's kind, such as `run` or `copy`.
    pub kind: String,
    /// Names and values in a fixed order: `argv`, `env PATH`, `source /a`, …
    pub values: Vec<(String, String)>,
}

/// The first input in which two records differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputDifference {
    /// The input's name.
    pub name: String,
    /// Its value in the earlier record; `None` when it was not there.
    pub before: Option<String>,
    /// Its value now; `None` when it is gone.
    pub after: Option<String>,
}

impl StepInputs {
    /// Inputs of a step of this kind.
    #[must_use]
    pub fn new(kind: &str) -> Self {
        Self { kind: kind.to_owned(), values: Vec::new() }
    }

    /// Adds an input.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.values.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The value of the input called `name`.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The first input that differs from `earlier`, in this record's order; `None` when they agree.
    #[must_use]
    pub fn first_difference(&self, earlier: &Self) -> Option<InputDifference> {
        let difference = |name: &str, before: Option<&String>, after: Option<&String>| InputDifference {
            name: name.to_owned(),
            before: before.cloned(),
            after: after.cloned(),
        };
        if self.kind != earlier.kind {
            return Some(difference("kind", Some(&earlier.kind), Some(&self.kind)));
        }
        let value = |inputs: &'_ Self, name: &str| {
            inputs.values.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone())
        };
        let changed = self.values.iter().find_map(|(name, after)| {
            let before = value(earlier, name);
            (before.as_ref() != Some(after)).then(|| difference(name, before.as_ref(), Some(after)))
        });
        let gone = || {
            let (name, before) = earlier.values.iter().find(|(name, _)| value(self, name).is_none())?;
            Some(difference(name, Some(before), None))
        };
        changed.or_else(gone).or_else(|| {
            // the same pairs in another order, or one name several times
            let (now, _) = self.values.iter().zip(&earlier.values).find(|(now, then)| now != then)?;
            Some(difference("order", None, Some(&now.0)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_named() {
        let old = StepInputs::new("run").with("argv", "true").with("env A", "1").with("env B", "2");
        let named = |now: StepInputs| now.first_difference(&old).map(|d| (d.name, d.before, d.after));
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(named(old.clone()), None);
        let changed = StepInputs::new("run").with("argv", "true").with("env A", "9").with("env B", "2");
        assert_eq!(named(changed), Some(("env A".to_owned(), some("1"), some("9"))));
        let shorter = StepInputs::new("run").with("argv", "true").with("env A", "1");
        assert_eq!(named(shorter), Some(("env B".to_owned(), some("2"), None)));
        assert_eq!(named(StepInputs::new("copy")), Some(("kind".to_owned(), some("run"), some("copy"))));
    }
}
