//! The OCI distribution protocol: fetches manifests and blobs from registries and sends them there, with authentication,
//! trust, redirects, retries and resumption.
//!
//! Invariants: a body is checked against its digest and size while it streams; credentials and tokens go to the registry
//! they are for, and to the token server it names, and nowhere else; nothing is connected or read before the first
//! request needs it; the environment is never read. Other crates decide where blobs are kept and what an image is, and
//! find the configuration files. Retries happen here and in no other crate.

#![forbid(unsafe_code)]

mod advice;
mod auth;
mod auth_scheme;
mod blob;
mod body;
mod certificate_files;
mod challenge;
mod client;
mod connector;
mod credentials;
mod download;
mod endpoint;
mod error;
mod failure;
mod helper;
mod host;
mod login;
mod manifest;
mod notice;
mod options;
mod outgoing;
mod pace;
mod places;
mod pulse;
mod reach;
mod registries;
mod request;
mod resolver;
mod retry;
mod scope;
mod search;
mod secret;
mod tags;
mod tls_problem;
mod token;
mod transport;
mod trust;
mod upload;
mod upload_session;

pub use blob::{BlobStart, BlobStream};
pub use body::BlobBody;
pub use certificate_files::CertificateFiles;
pub use challenge::{Challenge, parse_challenges};
pub use client::Client;
pub use credentials::{Credentials, Login, LoginOrigin};
pub use download::{Download, Piece, Revalidated, Validators};
pub use error::{Access, Cause, RegistryError};
pub use helper::CredentialHelper;
pub use manifest::{FetchedManifest, MANIFEST_LIMIT, ManifestHead};
pub use notice::{Listener, Notice};
pub use options::{ClientOptions, Proxies, Surroundings};
pub use pulse::Pulse;
pub use reach::Reached;
pub use registries::Registries;
pub use retry::RetryPolicy;
pub use search::FoundRepository;
pub use secret::Secret;
pub use tls_problem::TlsProblem;
pub use trust::{Protection, Tls};
pub use upload::{BlobUpload, MountOutcome, UploadOutcome};
pub use upload_session::UploadNotes;
