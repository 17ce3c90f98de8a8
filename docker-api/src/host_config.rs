//! What a container is given of the host, as Docker's JSON has it.

use rbuild::{Container, PrivilegeOptions};
use serde::Serialize;

/// The settings of a container that are not its image's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct HostConfig {
    /// Capabilities beside the usual ones.
    pub cap_add: Option<Vec<String>>,
    /// Usual capabilities that it does not have.
    pub cap_drop: Option<Vec<String>>,
    /// Every capability, no filter of system calls, nothing of the kernel hidden.
    pub privileged: bool,
    /// `--security-opt`s.
    pub security_opt: Option<Vec<String>>,
}

impl From<&Container> for HostConfig {
    fn from(container: &Container) -> Self {
        let usual = PrivilegeOptions::default();
        let privileges = container.settings.as_ref().map_or(&usual, |settings| &settings.privileges);
        let some = |words: &Vec<String>| (!words.is_empty()).then(|| words.clone());
        Self {
            cap_add: some(&privileges.cap_add),
            cap_drop: some(&privileges.cap_drop),
            privileged: privileges.privileged,
            security_opt: some(&privileges.security),
        }
    }
}
