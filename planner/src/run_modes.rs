//! The modes of a RUN: its network and its security.

use crate::PlanErrorKind;

/// Network of a RUN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Network {
    /// The builder's default.
    Default,
    /// Loopback only.
    None,
    /// The host's.
    Host,
}

/// Security mode of a RUN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Security {
    /// Default capabilities and seccomp.
    Sandbox,
    /// Everything allowed.
    Insecure,
}

/// `--network`'s value.
pub(crate) fn parse_network(mode: &str) -> Result<Network, PlanErrorKind> {
    match mode {
        "default" => Ok(Network::Default),
        "none" => Ok(Network::None),
        "host" => Ok(Network::Host),
        other => Err(PlanErrorKind::NetworkMode(other.to_owned())),
    }
}

/// True if `--security` accepts this value.
pub(crate) fn is_security(mode: &str) -> bool {
    matches!(mode, "sandbox" | "insecure")
}
