//! Why steps were not in the cache, in words and as JSON.

use rbuild::{ChangedInput, EvictedBy, FileAspect, MissReason};
use serde::Serialize;

/// Why a step was not taken from the cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct MissInspect {
    /// In a word.
    pub reason: &'static str,
    /// The inputs that are not what they were.
    pub inputs: Vec<InputInspect>,
    /// When its result was removed to make room.
    pub evicted_at: Option<String>,
    /// What removed it, in a word.
    pub evicted_by: Option<&'static str>,
    /// The cache that has its layer, which cannot be had from there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// An input that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct InputInspect {
    /// Its name.
    pub input: String,
    /// Its earlier value.
    pub before: Option<String>,
    /// Its value now.
    pub now: Option<String>,
    /// What is different about a file: `content`, `mode`, `owner`, `kind`, `hard-links`; `unlisted` where the earlier build did not
    /// note its files, `further` for files beyond those that are named.
    pub aspects: Vec<&'static str>,
    /// The number of files that are not named.
    pub further: Option<u64>,
}

impl From<&MissReason> for MissInspect {
    fn from(reason: &MissReason) -> Self {
        let mut inspect = Self {
            reason: miss_word(reason),
            inputs: Vec::new(),
            evicted_at: None,
            evicted_by: None,
            from: None,
        };
        match reason {
            MissReason::Changed(inputs) => inspect.inputs = inputs.iter().map(InputInspect::from).collect(),
            MissReason::Evicted { at, by } => {
                inspect.evicted_at = Some(at.to_string());
                inspect.evicted_by = by.map(evicted_word);
            }
            MissReason::New
            | MissReason::OtherBase
            | MissReason::Input
            | MissReason::Lost
            | MissReason::OtherMachine
            | MissReason::NoCache => {}
            MissReason::Unavailable { from } => inspect.from = Some(from.clone()),
        }
        inspect
    }
}

impl From<&ChangedInput> for InputInspect {
    fn from(change: &ChangedInput) -> Self {
        let further = change.aspects.iter().find_map(|aspect| match aspect {
            FileAspect::Further { count } => Some(*count),
            FileAspect::Content
            | FileAspect::Mode { .. }
            | FileAspect::Owner { .. }
            | FileAspect::Kind
            | FileAspect::HardLinks
            | FileAspect::Unlisted => None,
        });
        Self {
            input: change.input.clone(),
            before: change.before.clone(),
            now: change.now.clone(),
            aspects: change.aspects.iter().map(aspect_word).collect(),
            further,
        }
    }
}

/// A word for programs; words are only ever added.
#[must_use]
pub fn miss_word(reason: &MissReason) -> &'static str {
    match reason {
        MissReason::New => "new",
        MissReason::Changed(_) => "changed",
        MissReason::OtherBase => "other-base",
        MissReason::Input => "input",
        MissReason::Evicted { .. } => "evicted",
        MissReason::Lost => "lost",
        MissReason::OtherMachine => "other-machine",
        MissReason::Unavailable { .. } => "unavailable",
        MissReason::NoCache => "no-cache",
    }
}

/// What evicted a result, in a word.
#[must_use]
pub fn evicted_word(by: EvictedBy) -> &'static str {
    match by {
        EvictedBy::Prune => "prune",
        EvictedBy::MaxUsedSpace => "max-used-space",
        EvictedBy::MinFreeSpace => "min-free-space",
        EvictedBy::Lost => "lost",
    }
}

fn aspect_word(aspect: &FileAspect) -> &'static str {
    match aspect {
        FileAspect::Content => "content",
        FileAspect::Mode { .. } => "mode",
        FileAspect::Owner { .. } => "owner",
        FileAspect::Kind => "kind",
        FileAspect::HardLinks => "hard-links",
        FileAspect::Further { .. } => "further",
        FileAspect::Unlisted => "unlisted",
    }
}
