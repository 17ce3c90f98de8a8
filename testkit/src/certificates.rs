//! Throw-away certificates, made with the `openssl` program.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// An authority and a server certificate it signed, as files.
pub(crate) struct Certificates {
    pub(crate) authority: PathBuf,
    pub(crate) server: PathBuf,
    pub(crate) key: PathBuf,
}

impl Certificates {
    /// New ones below `directory`, good for `localhost` and `addresses`; `None` without `openssl`.
    pub(crate) fn create(directory: &Path, addresses: &[&str]) -> Option<Self> {
        let path = |name: &str| directory.join(name).display().to_string();
        let (authority, authority_key) = (path("authority.pem"), path("authority.key"));
        let (server, key, request, extensions) =
            (path("server.pem"), path("server.key"), path("server.csr"), path("server.ext"));
        let names: String = addresses.iter().map(|address| format!(",IP:{address}")).collect();
        fs::write(&extensions, format!("subjectAltName=DNS:localhost{names}\n")).ok()?;
        let new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        let root = ["req", "-x509", "-days", "2", "-subj", "/CN=rbuild test authority"];
        openssl(&[&root[..], &new_key, &["-keyout", &authority_key, "-out", &authority]].concat())?;
        let ask = ["req", "-subj", "/CN=rbuild test server"];
        openssl(&[&ask[..], &new_key, &["-keyout", &key, "-out", &request]].concat())?;
        let sign = ["x509", "-req", "-days", "2", "-CAcreateserial", "-extfile", &extensions];
        let files = ["-in", &request, "-CA", &authority, "-CAkey", &authority_key, "-out", &server];
        openssl(&[&sign[..], &files].concat())?;
        Some(Self { authority: authority.into(), server: server.into(), key: key.into() })
    }
}

/// Runs `openssl`; `None` when it is missing or fails.
pub(crate) fn openssl(arguments: &[&str]) -> Option<()> {
    let status =
        Command::new("openssl").args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status().ok()?;
    status.success().then_some(())
}
