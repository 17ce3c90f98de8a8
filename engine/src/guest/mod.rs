//! What commands of a RUN, and containers, get beside their root: mounts, secrets, agents, rights, devices, emulators.

pub(crate) mod devices;
pub(crate) mod emulators;
pub(crate) mod entitlement;
pub(crate) mod entitlements;
pub(crate) mod mask;
pub(crate) mod privileges;
pub(crate) mod run_mounts;
pub(crate) mod seccomp_profile;
pub(crate) mod secrets;
pub(crate) mod ssh;
