//! What is recorded of a build. All of it is plain data; front ends make the words.

use crate::{CacheKey, EvictedBy, LayerId};
use rbuild_oci::{FailureClass, ImageId, Timestamp};
use serde::{Deserialize, Serialize};

/// The goal of a build, as far as it is known when the build begins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildSubject {
    /// The main context: a directory by its whole path, anything else as it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// The Dockerfile, by its path from the context or, outside of it, by its whole path; `None` for one that was read from a stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dockerfile: Option<String>,
    /// The stage that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The names the image is to get.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
}

/// How a build ended, and what it did until then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildEnd {
    /// The time at which it ended.
    pub ended: Timestamp,
    /// Its outcome.
    pub outcome: BuildOutcome,
    /// The steps of its plan, each after those it stands on; none when it failed before there was a plan.
    #[serde(default)]
    pub steps: Vec<RecordedStep>,
    /// The findings of the build checks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<RecordedFinding>,
    /// Other warnings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// A finding of a build check about the Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedFinding {
    /// The rule's name.
    pub rule: String,
    /// The line.
    pub line: u32,
    /// The description of the problem.
    pub message: String,
    /// The page that describes the rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// How a build ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BuildOutcome {
    /// It made what it was to make.
    Done {
        /// The image, if it made one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        image: Option<ImageId>,
    },
    /// It failed.
    Failed {
        /// The messages of the error and of its causes, outermost first.
        causes: Vec<String>,
        /// The party that has to act on it.
        #[serde(with = "class")]
        class: FailureClass,
    },
    /// It was canceled before it was done.
    Canceled,
}

/// A step of a build's plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedStep {
    /// Its number in the plan, from 1, by which its log is found.
    pub number: u32,
    /// The stage it belongs to.
    pub stage: String,
    /// The instruction.
    pub instruction: String,
    /// Its first line in the Dockerfile.
    pub line: u32,
    /// The numbers of the steps whose results it works on or reads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<u32>,
    /// Its key, if it was computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<CacheKey>,
    /// Why its result was not taken from the cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub miss: Option<MissReason>,
    /// Its outcome.
    pub outcome: StepOutcome,
    /// Its layer, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<LayerId>,
    /// When it began, in milliseconds after the build did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began_ms: Option<u64>,
    /// How long it took, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<u64>,
    /// Bytes of memory that the largest process of its command had at its peak.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory: Option<u64>,
    /// The time of its command's processes on processors, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processor_ms: Option<u64>,
}

/// The outcome of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepOutcome {
    /// It was carried out.
    Done,
    /// Its result was in the cache.
    Cached,
    /// It failed.
    Failed {
        /// The messages of the error and of its causes, outermost first.
        causes: Vec<String>,
    },
    /// It was canceled before it was done.
    Canceled,
    /// Its result was not needed, or the build ended before its turn came.
    NotRun,
}

/// Why a step's result is not in the cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissReason {
    /// No earlier build that is remembered had a step like this one.
    New,
    /// An earlier build had this step with other inputs; these differ.
    Changed(Vec<ChangedInput>),
    /// This very step was carried out on other files than those it stands on now.
    OtherBase,
    /// A step whose result it needs has to run first.
    Input,
    /// Its result was removed to make room.
    Evicted {
        /// The time of the removal.
        at: Timestamp,
        /// What removed it; `None` where that was not noted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<EvictedBy>,
    },
    /// Its result is damaged, or did not survive a power cut.
    Lost,
    /// Another machine has made its result, which is not here as a whole: a store on a disk of both may lack what was written last, a
    /// cache may have been written without the files.
    OtherMachine,
    /// Its layer is only with a cache of other machines, and cannot be had from there.
    Unavailable {
        /// The cache.
        from: String,
    },
    /// The user asked to ignore the cache for it (`--no-cache`, `--no-cache-filter`).
    NoCache,
}

/// An input that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedInput {
    /// Its name: `argv[2]`, `env PATH`, `/src/main.c`, `mount /m: /main.c`. A value that looks secret is stars.
    pub input: String,
    /// Its value before; `None` when the input did not exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Its value now; `None` when the input no longer exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<String>,
    /// Of a file that was and is there: what is different about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aspects: Vec<FileAspect>,
}

/// What is different about a file, or about files as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileAspect {
    /// Its bytes or its extended attributes, or where it leads, if it is a link.
    Content,
    /// Its permission bits.
    Mode {
        /// Before.
        before: u32,
        /// Now.
        now: u32,
    },
    /// Its user and its group.
    Owner {
        /// Before.
        before: (u32, u32),
        /// Now.
        now: (u32, u32),
    },
    /// Its kind.
    Kind,
    /// Which names are links to one file.
    HardLinks,
    /// So many more files are different.
    Further {
        /// How many.
        count: u64,
    },
    /// Not known: the earlier record does not list its files.
    Unlisted,
}

/// The class of a failure as the record has it: a word that stays the same when names in the code change.
mod class {
    use rbuild_oci::FailureClass;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(class: &FailureClass, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match class {
            FailureClass::Input => "input",
            FailureClass::Environment => "environment",
            FailureClass::Internal => "internal",
        })
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<FailureClass, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "input" => Ok(FailureClass::Input),
            "environment" => Ok(FailureClass::Environment),
            "internal" => Ok(FailureClass::Internal),
            other => Err(D::Error::custom(format_args!("no class of failure: {other:?}"))),
        }
    }
}
