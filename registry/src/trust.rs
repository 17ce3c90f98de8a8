//! The trusted certificates of each host, in the directories that Docker and containers use:
//! `certs.d/<host[:port]>/*.crt` are authorities, `*.cert` with `*.key` is the client's own certificate.

use crate::{Cause, Registries, RegistryError, certificate_files::CertificateFiles, host};
use reqwest::{Certificate, Identity, Url};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The protection that connections to a registry must have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tls {
    /// TLS with a trusted certificate. Registries on this machine itself may speak plain HTTP.
    #[default]
    Verify,
    /// TLS with any certificate, or else plain HTTP (docker's `insecure-registries`).
    SkipVerifyOrPlainHttp,
}

/// The protection of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// TLS with a certificate that was checked.
    Checked,
    /// TLS with any certificate.
    Unchecked,
    /// None.
    PlainHttp,
}

/// The rules of trust for all hosts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trust {
    pub(crate) tls: Tls,
    pub(crate) registries: Arc<Registries>,
    pub(crate) certificate_directories: Vec<PathBuf>,
}

/// The trust in one host.
#[derive(Default)]
pub(crate) struct HostTrust {
    pub(crate) tls: Tls,
    pub(crate) roots: Vec<Certificate>,
    pub(crate) identity: Option<Identity>,
}

impl Trust {
    /// The protection that connections to `url` must have.
    pub(crate) fn tls_for(&self, url: &Url) -> Tls {
        if self.registries.is_insecure(url) { Tls::SkipVerifyOrPlainHttp } else { self.tls }
    }

    /// Reads the trust for `url` from the first certificate directory that has the host, and what is configured for it
    /// elsewhere.
    pub(crate) fn load(&self, url: &Url) -> Result<HostTrust, RegistryError> {
        let mut trust = HostTrust { tls: self.tls_for(url), ..HostTrust::default() };
        let files = self.files(url)?;
        files.authorities.iter().try_for_each(|path| trust.add_authority(path))?;
        if let Some((certificate, key)) = &files.client {
            trust.add_client(certificate, key)?;
        }
        Ok(trust)
    }

    /// The files with the certificates for `url`.
    pub(crate) fn files(&self, url: &Url) -> Result<CertificateFiles, RegistryError> {
        let mut files = CertificateFiles::default();
        for directory in &self.certificate_directories {
            let directory = directory.join(host::name_of(url));
            let mut names: Vec<PathBuf> = match fs::read_dir(&directory) {
                Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())).collect(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(unusable(&directory, error)),
            };
            names.sort();
            for path in names {
                match path.extension().and_then(|extension| extension.to_str()) {
                    Some("crt") => files.authorities.push(path),
                    Some("cert") => files.client = Some((path.clone(), path.with_extension("key"))),
                    // keys are read with their certificate; all other files are ignored
                    Some(_) | None => {}
                }
            }
            break;
        }
        for configured in self.registries.certificates(&host::name_of(url)) {
            files.authorities.extend(configured.authorities.iter().cloned());
            files.client = configured.client.clone().or(files.client.take());
        }
        Ok(files)
    }
}

impl HostTrust {
    fn add_authority(&mut self, path: &Path) -> Result<(), RegistryError> {
        let roots = Certificate::from_pem_bundle(&read(path)?).map_err(|error| unusable(path, error))?;
        if roots.is_empty() {
            return Err(unusable(path, "no certificate in it"));
        }
        self.roots.extend(roots);
        Ok(())
    }

    fn add_client(&mut self, certificate: &Path, key: &Path) -> Result<(), RegistryError> {
        let mut pem = read(certificate)?;
        pem.push(b'\n');
        if key != certificate {
            pem.extend(read(key)?);
        }
        self.identity = Some(Identity::from_pem(&pem).map_err(|error| unusable(certificate, error))?);
        Ok(())
    }
}

fn read(path: &Path) -> Result<Vec<u8>, RegistryError> {
    fs::read(path).map_err(|error| unusable(path, error))
}

fn unusable(path: &Path, source: impl Into<Cause>) -> RegistryError {
    RegistryError::Certificate { path: path.to_owned(), source: source.into() }
}
