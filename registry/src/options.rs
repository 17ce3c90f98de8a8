//! What a client is made of.

use crate::{Credentials, RetryPolicy, Secret, Tls};
use std::{path::PathBuf, time::Duration};

/// What a [`crate::Client`] knows from outside. The default trusts the system's authorities and has no logins.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Logins.
    pub credentials: Credentials,
    /// Where credential helpers are looked for, in the form of `PATH`.
    pub helper_path: String,
    /// Directories in the form of `/etc/docker/certs.d`, first one first.
    pub certificate_directories: Vec<PathBuf>,
    /// The protection wanted for all registries.
    pub tls: Tls,
    /// Registries (`host` or `host:port`) that get [`Tls::SkipVerifyOrPlainHttp`] in any case.
    pub insecure_hosts: Vec<String>,
    /// Proxies.
    pub proxies: Proxies,
    /// Retries of requests, and of the rest of a broken download.
    pub retry: RetryPolicy,
    /// How long a transfer may go without moving a byte.
    pub stall_limit: Duration,
}

/// Proxies in the form of the customary environment variables; empty for none. Loopback is never proxied. The addresses
/// are secret because they may have a login in them.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    /// `HTTP_PROXY`.
    pub http: Secret,
    /// `HTTPS_PROXY`.
    pub https: Secret,
    /// `NO_PROXY`.
    pub except: String,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            credentials: Credentials::none(),
            helper_path: String::new(),
            certificate_directories: Vec::new(),
            tls: Tls::default(),
            insecure_hosts: Vec::new(),
            proxies: Proxies::default(),
            retry: RetryPolicy::default(),
            stall_limit: Duration::from_secs(60),
        }
    }
}
