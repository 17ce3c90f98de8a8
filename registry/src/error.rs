//! Failures between rbuild and a registry.

use crate::TlsProblem;
use rbuild_oci::{Digest, FailureClass};
use std::{fmt, io, path::PathBuf, sync::Arc};

/// The lower-level error behind a [`RegistryError`]; only its text is meant for use.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The kind of access to a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading manifests and blobs.
    Pull,
    /// Writing them.
    Push,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pull => "pull",
            Self::Push => "push",
        })
    }
}

/// The reason why the options of a client could not be read: the error of their reader, for every request that needs them.
#[derive(Clone, Debug)]
pub struct UnreadOptions(pub(crate) Arc<Cause>);

impl fmt::Display for UnreadOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for UnreadOptions {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// A failed request to a registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The options of the client could not be read.
    #[error(transparent)]
    Configuration(UnreadOptions),
    /// The repository or the tag or digest in it does not exist.
    #[error("failed to resolve reference {reference:?}: not found")]
    NotFound {
        /// The full reference.
        reference: String,
    },
    /// The registry has no such blob.
    #[error("blob {digest} not found in {repository}")]
    BlobNotFound {
        /// Domain and path.
        repository: String,
        /// The blob.
        digest: Digest,
    },
    /// The registry refuses this repository to these credentials, or hides whether it exists.
    #[error(
        "{access} access denied for {repository}, repository does not exist or may require authorization: \
         denied or not logged in{}",
        shown(server)
    )]
    AccessDenied {
        /// The access that was refused.
        access: Access,
        /// Domain and path.
        repository: String,
        /// The registry's domain.
        host: String,
        /// The server's explanation; may be empty.
        server: String,
    },
    /// The registry or its token server refuses the login.
    #[error("{host} refused the login: user name or password wrong or missing{}", shown(server))]
    Unauthorized {
        /// The registry's domain.
        host: String,
        /// The server's explanation; may be empty.
        server: String,
    },
    /// The registry wants credentials sent to a token server over an unprotected connection.
    #[error("{host} names the token server {realm}, to which credentials cannot be sent without TLS")]
    InsecureRealm {
        /// The registry's domain.
        host: String,
        /// The token server.
        realm: String,
    },
    /// The registry answered 401 without a challenge that can be met.
    #[error("{host} asks for authentication in a way that is not understood: {challenge:?}")]
    Challenge {
        /// The registry's domain.
        host: String,
        /// The `WWW-Authenticate` header.
        challenge: String,
    },
    /// The TLS handshake failed, most often because the certificate is not trusted.
    #[error("no trusted TLS connection to {host}: {}", problem.advice(host))]
    Tls {
        /// Host, with its port if one was given.
        host: String,
        /// The kind of failure.
        problem: TlsProblem,
        /// The error of rustls.
        #[source]
        source: Cause,
    },
    /// No process listens on the registry's port.
    #[error("connection to {host} refused")]
    Refused {
        /// Host, with its port if one was given.
        host: String,
        /// The system's error.
        #[source]
        source: Cause,
    },
    /// No connection, or one that broke and stayed broken after the retries.
    #[error("request to {host} failed")]
    Connection {
        /// Host, with its port if one was given.
        host: String,
        /// The last failure.
        #[source]
        source: Cause,
    },
    /// No name server knows the host.
    #[error("no such host: {host}")]
    UnknownHost {
        /// Host, with its port if one was given.
        host: String,
    },
    /// No byte moved for longer than the stall limit.
    #[error("transfer with {host} stalled for {seconds} seconds")]
    Stalled {
        /// Host, with its port if one was given.
        host: String,
        /// The stall limit in seconds.
        seconds: u64,
    },
    /// Bytes come, but so few that the transfer would not end.
    #[error("transfer with {host} is too slow: {bytes} bytes in {seconds} seconds")]
    Slow {
        /// Host, with its port if one was given.
        host: String,
        /// The bytes that came.
        bytes: u64,
        /// In this many seconds.
        seconds: u64,
    },
    /// Any other answer that is not success.
    #[error("{host} answered {status}{}{}", shown(code), shown(message))]
    Server {
        /// The registry's domain.
        host: String,
        /// HTTP status.
        status: u16,
        /// The distribution error code, such as `MANIFEST_INVALID`; may be empty.
        code: String,
        /// The server's message; may be empty.
        message: String,
    },
    /// An answer that the protocol does not allow.
    #[error("{host} answered against the protocol: {problem}")]
    Protocol {
        /// The registry's domain.
        host: String,
        /// The violation.
        problem: String,
    },
    /// The content is not what its digest says.
    #[error("{host} sent content with digest {found} for {expected} of {repository}")]
    DigestMismatch {
        /// The registry's domain.
        host: String,
        /// Domain and path.
        repository: String,
        /// The digest that was requested.
        expected: Digest,
        /// The digest of the received content.
        found: Digest,
    },
    /// The content ended before the size its descriptor states, or the server states another size.
    #[error("{host} sent {found} bytes for {digest}, whose size is {expected}")]
    SizeMismatch {
        /// The registry's domain.
        host: String,
        /// The blob.
        digest: Digest,
        /// Bytes stated by the descriptor.
        expected: u64,
        /// Bytes sent or announced.
        found: u64,
    },
    /// More bytes than stated or allowed.
    #[error("{host} sent more than {limit} bytes for {subject}")]
    TooLarge {
        /// The registry's domain.
        host: String,
        /// The blob or reference.
        subject: String,
        /// Bytes allowed.
        limit: u64,
    },
    /// The bytes to upload could not be read.
    #[error("cannot read the content to upload to {repository}")]
    Body {
        /// Domain and path.
        repository: String,
        /// The reader's error.
        #[source]
        source: io::Error,
    },
    /// The sender of a streamed upload ended without stating a digest.
    #[error("upload to {repository} was given up by its sender")]
    Abandoned {
        /// Domain and path.
        repository: String,
    },
    /// No URL can be made of a reference's domain.
    #[error("{host:?} is not a registry address")]
    Address {
        /// The domain as written.
        host: String,
    },
    /// A file with the configuration of registries that cannot be understood.
    #[error("cannot use {}: {problem}", path.display())]
    Registries {
        /// The file.
        path: PathBuf,
        /// What is wrong in it, with its place.
        problem: String,
    },
    /// A repository that the machine's configuration closes.
    #[error("{repository} is blocked by {}", path.display())]
    Blocked {
        /// Domain and path.
        repository: String,
        /// The file that blocks it.
        path: PathBuf,
    },
    /// A credentials file that is not docker's `config.json` or containers' `auth.json`.
    #[error("cannot understand the registry credentials file")]
    CredentialsFile {
        /// The reader's error.
        #[source]
        source: Cause,
    },
    /// An entry of `auths` whose `auth` is not base64 of `user:password`.
    #[error("the credentials stored for {server} are damaged: log in again")]
    CredentialsEntry {
        /// The entry's key.
        server: String,
    },
    /// A credential helper that cannot be run or fails.
    #[error("credential helper {program} failed for {server}")]
    Helper {
        /// `docker-credential-…`.
        program: String,
        /// The server it was asked for.
        server: String,
        /// The cause.
        #[source]
        source: Cause,
    },
    /// A file of `certs.d` that cannot be read, or is not a certificate or key.
    #[error("cannot use certificate file {}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Cause,
    },
    /// The HTTP client cannot be made, for instance because a proxy address is malformed.
    #[error("cannot set up connections to {host}")]
    Setup {
        /// Host, with its port if one was given.
        host: String,
        /// The cause.
        #[source]
        source: Cause,
    },
}

impl RegistryError {
    /// The class of the failure. The user has to act on content that the registry does not have, does not give to these
    /// credentials, or has in a damaged form. The environment is at fault when a registry cannot be reached, fails or
    /// breaks the protocol, and when helpers, certificates or proxies fail, because they belong to the machine.
    #[must_use]
    pub fn class(&self) -> FailureClass {
        match self {
            Self::NotFound { .. }
            | Self::BlobNotFound { .. }
            | Self::AccessDenied { .. }
            | Self::Unauthorized { .. }
            | Self::InsecureRealm { .. }
            | Self::DigestMismatch { .. }
            | Self::SizeMismatch { .. }
            | Self::TooLarge { .. }
            | Self::Address { .. }
            | Self::Blocked { .. }
            | Self::Registries { .. }
            | Self::CredentialsFile { .. }
            | Self::Configuration(_)
            | Self::CredentialsEntry { .. } => FailureClass::Input,
            Self::Challenge { .. }
            | Self::Tls { .. }
            | Self::Refused { .. }
            | Self::Connection { .. }
            | Self::UnknownHost { .. }
            | Self::Stalled { .. }
            | Self::Slow { .. }
            | Self::Server { .. }
            | Self::Protocol { .. }
            | Self::Helper { .. }
            | Self::Certificate { .. }
            | Self::Setup { .. } => FailureClass::Environment,
            // the uploaded bytes come from the store, which is on this machine
            Self::Body { source, .. } => FailureClass::of_io(source, FailureClass::Internal),
            Self::Abandoned { .. } => FailureClass::Internal,
        }
    }
}

/// `: text`, or nothing for an empty text.
fn shown(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> String {
        "r.example".to_owned()
    }

    fn cause() -> Cause {
        "a cause".into()
    }

    fn body(number: i32) -> RegistryError {
        RegistryError::Body { repository: host(), source: io::Error::from_raw_os_error(number) }
    }

    #[test]
    fn what_a_registry_has_or_refuses_is_the_user_s() {
        let (expected, found) = (Digest::of(b"a"), Digest::of(b"b"));
        let (repository, server) = (host(), String::new());
        for error in [
            RegistryError::NotFound { reference: host() },
            RegistryError::BlobNotFound { repository: host(), digest: expected },
            RegistryError::AccessDenied {
                access: Access::Pull,
                repository: host(),
                host: host(),
                server: server.clone(),
            },
            RegistryError::Unauthorized { host: host(), server },
            RegistryError::InsecureRealm { host: host(), realm: host() },
            RegistryError::DigestMismatch { host: host(), repository, expected, found },
            RegistryError::SizeMismatch { host: host(), digest: expected, expected: 1, found: 2 },
            RegistryError::TooLarge { host: host(), subject: host(), limit: 1 },
            RegistryError::Address { host: host() },
            RegistryError::Registries { path: "r.conf".into(), problem: host() },
            RegistryError::Blocked { repository: host(), path: "r.conf".into() },
            RegistryError::CredentialsFile { source: cause() },
            RegistryError::CredentialsEntry { server: host() },
        ] {
            assert_eq!(error.class(), FailureClass::Input, "{error}");
        }
    }

    #[test]
    fn what_the_network_or_the_machine_does_is_the_environment_s() {
        let (code, message) = (String::new(), String::new());
        for error in [
            RegistryError::Challenge { host: host(), challenge: "Odd".to_owned() },
            RegistryError::Tls { host: host(), problem: TlsProblem::Other, source: cause() },
            RegistryError::Refused { host: host(), source: cause() },
            RegistryError::Connection { host: host(), source: cause() },
            RegistryError::UnknownHost { host: host() },
            RegistryError::Stalled { host: host(), seconds: 1 },
            RegistryError::Slow { host: host(), bytes: 1, seconds: 1 },
            RegistryError::Server { host: host(), status: 500, code, message },
            RegistryError::Protocol { host: host(), problem: "odd".to_owned() },
            RegistryError::Helper { program: "p".to_owned(), server: host(), source: cause() },
            RegistryError::Certificate { path: "ca.crt".into(), source: cause() },
            RegistryError::Setup { host: host(), source: cause() },
            // EIO and EACCES
            body(5),
            body(13),
        ] {
            assert_eq!(error.class(), FailureClass::Environment, "{error}");
        }
    }

    #[test]
    fn an_upload_without_its_bytes_is_a_mistake_of_rbuild() {
        // EINVAL
        for error in [body(22), RegistryError::Abandoned { repository: host() }] {
            assert_eq!(error.class(), FailureClass::Internal, "{error}");
        }
    }
}
