//! The options of a client.

use crate::{Credentials, Registries, RetryPolicy, Secret, Tls};
use std::{path::PathBuf, time::Duration};

/// Everything that a [`crate::Client`] is given. The default trusts the system's authorities and has no logins.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Logins for registries.
    pub credentials: Credentials,
    /// The directories with credential helpers, in the form of `PATH`.
    pub helper_path: String,
    /// Directories in the form of `/etc/docker/certs.d`. The first that knows a host counts.
    pub certificate_directories: Vec<PathBuf>,
    /// The protection that all registries must have.
    pub tls: Tls,
    /// Mirrors, moved and blocked repositories, and hosts that get [`Tls::SkipVerifyOrPlainHttp`] in any case.
    pub registries: Registries,
    /// The proxies for hosts other than this machine.
    pub proxies: Proxies,
    /// The retries of failed requests and broken downloads.
    pub retry: RetryPolicy,
    /// The longest time that a transfer may take without moving a byte.
    pub stall_limit: Duration,
}

/// What other programs are given that reach servers for a client.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The directories of programs, in the form of `PATH`.
    pub program_path: String,
    /// The proxies.
    pub proxies: Proxies,
}

/// Proxies in the form of the customary environment variables, empty for none. Requests to this machine use no proxy. The
/// addresses are secret because they may contain a login.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    /// The proxy for plain HTTP, as in `HTTP_PROXY`.
    pub http: Secret,
    /// The proxy for TLS, as in `HTTPS_PROXY`.
    pub https: Secret,
    /// The hosts that are reached without a proxy, as in `NO_PROXY`.
    pub except: String,
}

impl Proxies {
    /// The environment variables by which other programs know these proxies. Their values are secret.
    #[must_use]
    pub fn variables(&self) -> Vec<(&'static str, &str)> {
        let all = [
            ("http_proxy", self.http.expose()),
            ("https_proxy", self.https.expose()),
            ("no_proxy", self.except.as_str()),
        ];
        all.into_iter().filter(|(_, value)| !value.is_empty()).collect()
    }

    /// These proxies, or `fallback` when these are none. They are not mixed, because the exceptions belong to the proxies.
    #[must_use]
    pub fn or(self, fallback: Self) -> Self {
        if self.http.is_empty() && self.https.is_empty() { fallback } else { self }
    }
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            credentials: Credentials::none(),
            helper_path: String::new(),
            certificate_directories: Vec::new(),
            tls: Tls::default(),
            registries: Registries::none(),
            proxies: Proxies::default(),
            retry: RetryPolicy::default(),
            stall_limit: Duration::from_secs(60),
        }
    }
}
