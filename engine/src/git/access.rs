//! What one build reaches repositories with: programs, proxies, logins and agents.

use super::GitError;
use crate::guest::{
    secrets::Secrets,
    ssh::{Agents, SshKeys},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rbuild_cache::{Cancel, ScratchDir, Store};
use rbuild_registry::{CertificateFiles, Client, Surroundings};
use std::{collections::BTreeMap, fs, path::Path, sync::Arc, time::Duration};

/// Where programs are when the caller says nothing.
const PROGRAMS: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where systems keep the authorities that they trust.
const SYSTEM_AUTHORITIES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// What one build reaches repositories with. Cheap to clone.
#[derive(Clone)]
pub(crate) struct GitAccess {
    store: Store,
    client: Client,
    secrets: Secrets,
    agents: Arc<Agents>,
    cancel: Cancel,
}

impl GitAccess {
    pub(crate) fn new(
        store: &Store,
        client: &Client,
        (secrets, ssh): (&Secrets, &BTreeMap<String, SshKeys>),
        cancel: &Cancel,
    ) -> Self {
        Self {
            store: store.clone(),
            client: client.clone(),
            secrets: secrets.clone(),
            agents: Arc::new(Agents::new(ssh.clone())),
            cancel: cancel.clone(),
        }
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    pub(super) fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    pub(super) fn is_canceled(&self) -> bool {
        self.cancel.is_canceled()
    }

    /// The longest time for which a server may send nothing.
    pub(super) fn stall(&self) -> Duration {
        self.client.stall_limit()
    }

    /// What programs are found and reach servers with.
    ///
    /// # Errors
    /// When the configuration that says it cannot be read.
    pub(super) fn surroundings(&self) -> Result<Vec<(&'static str, &str)>, GitError> {
        let Surroundings { program_path, proxies } = self.client.surroundings()?;
        let path = if program_path.is_empty() { PROGRAMS } else { program_path };
        Ok(proxies.variables().into_iter().chain([("PATH", path)]).collect())
    }

    /// The settings that send the login for `remote` to its host alone: git takes the settings of the address that it was given
    /// along when the server redirects it, so that it must not follow.
    pub(super) fn logins(&self, remote: &str) -> Vec<(String, String)> {
        let Some((scheme @ ("http" | "https"), host)) = scheme_and_host(remote) else { return Vec::new() };
        let header = self.secret("GIT_AUTH_HEADER", host);
        let token = self.secret("GIT_AUTH_TOKEN", host);
        let basic = |token| format!("basic {}", STANDARD.encode(format!("x-access-token:{token}")));
        let Some(value) = header.or_else(|| token.map(basic)) else { return Vec::new() };
        let setting = |name| format!("http.{scheme}://{host}/.{name}");
        vec![
            (setting("extraHeader"), format!("Authorization: {value}")),
            (setting("followRedirects"), "false".to_owned()),
        ]
    }

    /// Adds to `settings` the certificates that are configured for the host of `remote`, as for registries and files of the web.
    /// What the settings name is there as long as the result.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(super) fn add_certificates(
        &self,
        remote: &str,
        settings: &mut Vec<(String, String)>,
    ) -> Result<Option<ScratchDir>, GitError> {
        let Some(("https", host)) = scheme_and_host(remote) else { return Ok(None) };
        let CertificateFiles { authorities, client } = self.client.certificate_files(remote)?;
        let mut set = |name: &str, path: &Path| {
            settings.push((format!("http.https://{host}/.{name}"), path.display().to_string()));
        };
        if let Some((certificate, key)) = &client {
            set("sslCert", certificate);
            set("sslKey", key);
        }
        if authorities.is_empty() {
            return Ok(None);
        }
        // git trusts one file alone
        let scratch = self.store.scratch_dir()?;
        let (bundle, mut text) = (scratch.path().join("authorities"), Vec::new());
        for path in &authorities {
            text.extend(fs::read(path).map_err(GitError::Files)?);
            text.push(b'\n');
        }
        let known = SYSTEM_AUTHORITIES.iter().find_map(|path| fs::read(path).ok());
        text.extend(known.unwrap_or_default());
        fs::write(&bundle, text).map_err(GitError::Files)?;
        set("sslCAInfo", &bundle);
        Ok(Some(scratch))
    }

    /// The secret `id` for `host`, or for every one.
    fn secret(&self, id: &str, host: &str) -> Option<String> {
        let secret = self.secrets.get(&format!("{id}.{host}")).or_else(|| self.secrets.get(id))?;
        Some(String::from_utf8_lossy(secret.expose()).trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// The command for `ssh://`: the agent of `--ssh default` or none, and no file of this machine but the keys of hosts
    /// that were met before, which the store has.
    ///
    /// # Errors
    /// When the agent cannot be started.
    pub(super) fn ssh_command(&self) -> Result<String, GitError> {
        let agent = self.agents.socket("default")?;
        let quoted = |path: &Path| format!("'{}'", path.display().to_string().replace('\'', "'\\''"));
        let agent = agent.as_deref().map_or_else(|| "none".to_owned(), quoted);
        let known = quoted(&self.store.root().join("sources/known_hosts"));
        let seconds = self.stall().as_secs();
        Ok(format!(
            "ssh -F /dev/null -o BatchMode=yes -o IdentityFile=none -o IdentityAgent={agent} \
             -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile={known} -o GlobalKnownHostsFile=/dev/null \
             -o ConnectTimeout={seconds} -o LogLevel=ERROR"
        ))
    }

    /// `message` without logins.
    pub(super) fn masked(&self, message: &str) -> String {
        let secrets = self.secrets.iter().filter(|(id, _)| id.starts_with("GIT_AUTH_"));
        let values = secrets.map(|(_, value)| String::from_utf8_lossy(value.expose()).trim().to_owned());
        let message = values
            .filter(|value| value.len() > 3)
            .fold(message.to_owned(), |text, value| text.replace(&value, "****"));
        message.split(' ').map(crate::urls::without_login).collect::<Vec<_>>().join(" ")
    }
}

/// The scheme of the URL `remote`, and its host with the port if one is written; `None` for what is no URL.
pub(super) fn scheme_and_host(remote: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = remote.split_once("://")?;
    let authority = &rest[..rest.find('/').unwrap_or(rest.len())];
    Some((scheme, authority.rsplit_once('@').map_or(authority, |(_, host)| host)))
}
