//! Rights of a Dockerfile.

/// A right that a Dockerfile may be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entitlement {
    /// `network.host`: `RUN --network=host`.
    NetworkHost,
    /// `security.insecure`: `RUN --security=insecure`.
    SecurityInsecure,
    /// `device`: `RUN --device`.
    Device,
}

impl Entitlement {
    /// All that there are.
    pub const ALL: [Self; 3] = [Self::NetworkHost, Self::SecurityInsecure, Self::Device];

    /// Its name in `--allow`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NetworkHost => "network.host",
            Self::SecurityInsecure => "security.insecure",
            Self::Device => "device",
        }
    }
}
