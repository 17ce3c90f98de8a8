//! What a person can do about a failure whose message does not say it.

use crate::RegistryError;

impl RegistryError {
    /// What to look at first. `None` when the message says it, or when there is nothing that the person can do.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Refused { .. } => {
                Some("see that host and port are right, and that the registry is running")
            }
            Self::Connection { .. } => Some(
                "see that the name is right, that this machine reaches the network, and whether it needs a proxy \
                 (HTTPS_PROXY); a registry that ends connections at once may want a certificate of the client (certs.d)",
            ),
            Self::UnknownHost { .. } => {
                Some("see that the name is right, and whether this machine needs a proxy (HTTPS_PROXY)")
            }
            Self::Stalled { .. } | Self::Slow { .. } => {
                Some("the network or the registry is too slow: try again later")
            }
            Self::NotFound { .. } => Some(
                "see that repository and tag are right; a registry also says so of what it hides from this login",
            ),
            Self::AccessDenied { .. } => Some("or ask the owner of the repository for the right"),
            Self::Server { status: 429, .. } => Some("the registry limits requests: wait, or log in"),
            Self::Server { status: 500.., .. } => {
                Some("the registry itself fails: the log of the one who runs it says why")
            }
            Self::Protocol { .. } => {
                Some("see that this is a registry, and not a web page or the login page of a network")
            }
            Self::BlobNotFound { .. }
            | Self::Unauthorized { .. }
            | Self::InsecureRealm { .. }
            | Self::Challenge { .. }
            | Self::Tls { .. }
            | Self::Server { .. }
            | Self::DigestMismatch { .. }
            | Self::SizeMismatch { .. }
            | Self::TooLarge { .. }
            | Self::Body { .. }
            | Self::Abandoned { .. }
            | Self::Address { .. }
            | Self::Registries { .. }
            | Self::Blocked { .. }
            | Self::CredentialsFile { .. }
            | Self::CredentialsEntry { .. }
            | Self::Helper { .. }
            | Self::Certificate { .. }
            | Self::Setup { .. }
            | Self::Configuration(_) => None,
        }
    }
}
