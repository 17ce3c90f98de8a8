//! Rights of a Dockerfile.

/// A right that a Dockerfile may be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entitlement {
    /// `network.host`: `RUN --network=host`.
    NetworkHost,
    /// `security.insecure`: `RUN --security=insecure`.
    SecurityInsecure,
}

impl Entitlement {
    /// All that there are.
    pub const ALL: [Self; 2] = [Self::NetworkHost, Self::SecurityInsecure];

    /// Its name in `--allow`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NetworkHost => "network.host",
            Self::SecurityInsecure => "security.insecure",
        }
    }
}
