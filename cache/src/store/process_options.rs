//! What is asked for of the first process of a container and of its kernel, in the words of Docker's records.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Options of a container that are neither privileges nor limits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessOptions {
    /// `--group-add`s: groups beside the user's, by name or number.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// `--domainname`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// `--oom-score-adj`: how soon its processes are killed when the machine has no memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_score: Option<i32>,
    /// `--sysctl`s: parameters of its namespaces.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub kernel: BTreeMap<String, String>,
    /// `--annotation`s, which nothing looks at.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}
