//! What is asked for of the privileges of processes, in the words of Docker's records.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Privileges of a container, or of each RUN of a build, as they were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PrivilegeOptions {
    /// Every capability, no filter of system calls, nothing of the kernel hidden.
    #[serde(skip_serializing_if = "is_false")]
    pub privileged: bool,
    /// Capabilities beside the usual ones, `CAP_…` or `ALL`, sorted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cap_add: Vec<String>,
    /// Usual capabilities that are left out, `CAP_…` or `ALL`, sorted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cap_drop: Vec<String>,
    /// `--security-opt`s; of a seccomp profile the document itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub security: Vec<String>,
    /// `--device`s.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<String>,
    /// The directories with descriptions of devices; none for the usual ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub device_descriptions: Vec<PathBuf>,
}

impl PrivilegeOptions {
    /// With the capabilities called `add` and `drop` in whatever form: what is added is not dropped, and `ALL` stands alone.
    #[must_use]
    pub fn with_capabilities(self, add: &[String], drop: &[String]) -> Self {
        let (cap_add, mut cap_drop) = (normal(add), normal(drop));
        cap_drop.retain(|name| !cap_add.contains(name));
        Self { cap_add, cap_drop, ..self }
    }
}

fn normal(names: &[String]) -> Vec<String> {
    let words = names.iter().flat_map(|list| list.split(',')).map(|name| name.trim().to_ascii_uppercase());
    let mut named: Vec<String> = words
        .filter(|name| !name.is_empty())
        .map(|name| if name == "ALL" || name.starts_with("CAP_") { name } else { format!("CAP_{name}") })
        .collect();
    if named.iter().any(|name| name == "ALL") {
        named.retain(|name| name == "ALL");
    }
    named.sort_unstable();
    named.dedup();
    named
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_form_and_what_is_added_is_not_dropped() {
        let read = |add: &[&str], drop: &[&str]| {
            let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
            let read = PrivilegeOptions::default().with_capabilities(&owned(add), &owned(drop));
            (read.cap_add.join(" "), read.cap_drop.join(" "))
        };
        let pair = |add: &str, drop: &str| (add.to_owned(), drop.to_owned());
        assert_eq!(
            read(&["sys_admin", "Cap_Kill,net_raw"], &["kill", "chown"]),
            pair("CAP_KILL CAP_NET_RAW CAP_SYS_ADMIN", "CAP_CHOWN")
        );
        assert_eq!(read(&["all", "KILL"], &["ALL", "chown"]), pair("ALL", ""));
        assert_eq!(read(&[], &["chown", "All"]), pair("", "ALL"));
    }
}
