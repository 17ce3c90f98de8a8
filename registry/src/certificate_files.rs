//! Certificates that are named one by one, wherever they are.

use std::path::PathBuf;

/// The files with the certificates of one host, wherever they are.
#[derive(Clone, Debug, Default)]
pub struct CertificateFiles {
    /// Authorities.
    pub authorities: Vec<PathBuf>,
    /// The client's own certificate, and its key, which may be in the same file.
    pub client: Option<(PathBuf, PathBuf)>,
}
