//! `/etc/hosts` and `/etc/resolv.conf` as every RUN of a build sees them, and its scripts; each written once a build. A
//! container has its own, and `/etc/hostname`.

use crate::ExecutorError;
use rbuild_cache::{ScratchDir, Store, create_private_file};
use rbuild_oci::Digest;
use rbuild_sys::sandbox::Network;
use std::{
    collections::BTreeSet,
    fs::{self, Permissions},
    io::Write,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

/// Name servers that stand in when the host has only loopback ones and the container cannot reach those.
const PUBLIC_NAME_SERVERS: &str = "nameserver 8.8.8.8\nnameserver 8.8.4.4\n";
/// Where a step's own network has a name server, if the host's are on loopback (RFC 3927).
pub(crate) const FORWARDED_NAME_SERVER: &str = "169.254.1.1";
/// Where systemd-resolved keeps the real servers behind its stub at 127.0.0.53.
const SYSTEMD_RESOLVED: &str = "/run/systemd/resolve/resolv.conf";

/// The files, made when the first RUN needs them and removed with the value.
#[derive(Debug)]
pub struct HostFiles {
    store: Store,
    add_hosts: Vec<(String, String)>,
    made: Mutex<Option<Made>>,
}

/// The directory, and the names of the files that are in it whole.
#[derive(Debug)]
struct Made {
    directory: ScratchDir,
    files: BTreeSet<String>,
}

impl HostFiles {
    /// Files with a line for each of `add_hosts` (host, address). Nothing is written yet.
    #[must_use]
    pub fn new(store: &Store, add_hosts: &[(String, String)]) -> Self {
        Self { store: store.clone(), add_hosts: add_hosts.to_vec(), made: Mutex::new(None) }
    }

    /// The hosts file for a container called `hostname`.
    ///
    /// # Errors
    /// An I/O error when it cannot be written.
    pub fn hosts(&self, hostname: &str) -> Result<PathBuf, ExecutorError> {
        let mut text =
            format!("127.0.0.1\tlocalhost {hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n");
        for (host, address) in &self.add_hosts {
            text.push_str(&format!("{address}\t{host}\n"));
        }
        self.write(&format!("hosts-{hostname}"), &text, 0o644)
    }

    /// The file `/etc/hostname` of a container called `hostname`.
    ///
    /// # Errors
    /// An I/O error when it cannot be written.
    pub(crate) fn hostname(&self, hostname: &str) -> Result<PathBuf, ExecutorError> {
        self.write("hostname", &format!("{hostname}\n"), 0o644)
    }

    /// The resolver configuration for a container on `network`.
    ///
    /// # Errors
    /// An I/O error when it cannot be written.
    pub(crate) fn resolv_conf(&self, network: Network<'_>) -> Result<PathBuf, ExecutorError> {
        let own = resolv_conf();
        let (name, text) = match network {
            // the host's network reaches the host's loopback servers too
            Network::Host => ("resolv.conf", own),
            Network::None => ("resolv.conf-none", without_loopback(&own, PUBLIC_NAME_SERVERS)),
            Network::Joined(_) => {
                let forwarded = format!("nameserver {FORWARDED_NAME_SERVER}\n");
                ("resolv.conf-own", without_loopback(&own, &forwarded))
            }
        };
        self.write(name, &text, 0o644)
    }

    /// A here-document script, executable.
    ///
    /// # Errors
    /// An I/O error when it cannot be written.
    pub(crate) fn script(&self, body: &str) -> Result<PathBuf, ExecutorError> {
        self.write(&format!("script-{}", Digest::of(body.as_bytes()).hex()), body, 0o755)
    }

    /// Writes a file once; steps that start together wait for each other here, since a file that is being mounted must
    /// not be replaced. The mode does not depend on the user's umask: a command may run as another user.
    fn write(&self, name: &str, text: &str, mode: u32) -> Result<PathBuf, ExecutorError> {
        let mut guard = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let made = match &mut *guard {
            Some(made) => made,
            empty => empty.insert(Made { directory: self.store.scratch_dir()?, files: BTreeSet::new() }),
        };
        let path = made.directory.path().join(name);
        if !made.files.contains(name) {
            create_private_file(&path)
                .and_then(|mut file| {
                    file.write_all(text.as_bytes())?;
                    file.set_permissions(Permissions::from_mode(mode))
                })
                .map_err(|source| {
                    ExecutorError::system("write", path.as_os_str().as_encoded_bytes(), source)
                })?;
            made.files.insert(name.to_owned());
        }
        Ok(path)
    }
}

fn resolv_conf() -> String {
    fs::read_to_string("/etc/resolv.conf").unwrap_or_default()
}

/// True if the host's name servers cannot be reached from another network.
pub(crate) fn has_only_loopback_name_servers() -> bool {
    !without_loopback(&resolv_conf(), "").contains("nameserver")
}

/// `text` without name servers on loopback, or with `instead` when no other is in it; the stub of systemd-resolved is replaced by
/// what it asks.
fn without_loopback(text: &str, instead: &str) -> String {
    let text = if text.contains("127.0.0.53") {
        fs::read_to_string(SYSTEMD_RESOLVED).unwrap_or_else(|_| text.to_owned())
    } else {
        text.to_owned()
    };
    let loopback = |line: &str| {
        let server = line.trim_start().strip_prefix("nameserver").map(str::trim);
        server.is_some_and(|server| server.starts_with("127.") || server == "::1")
    };
    let mut kept: String =
        text.lines().filter(|line| !loopback(line)).flat_map(|line| [line, "\n"]).collect();
    if !kept.contains("nameserver") {
        kept.push_str(instead);
    }
    kept
}
