//! The way in: what a client is made of, and the requests that concern a registry as a whole.

use crate::{
    Access, Credentials, RegistryError, RetryPolicy, Secret, Tls,
    auth::Authenticator,
    connector::Connector,
    failure::{self, Subject},
    scope::Scopes,
    transport::{Call, Permit, Target, Transport},
    trust::Trust,
};
use rbuild_oci::Reference;
use reqwest::{Method, Response, StatusCode};
use std::{path::PathBuf, sync::Arc, time::Duration};

/// What a [`Client`] is told from outside. The default trusts the system's authorities and has no logins.
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

/// Speaks to registries. Cheap to make and to clone; connections and tokens are shared by all clones.
#[derive(Clone)]
pub struct Client {
    pub(crate) transport: Arc<Transport>,
}

impl Client {
    /// A client; nothing is read or connected yet.
    #[must_use]
    pub fn new(options: ClientOptions) -> Self {
        let trust = Trust {
            tls: options.tls,
            insecure_hosts: options.insecure_hosts,
            certificate_directories: options.certificate_directories,
        };
        let transport = Transport {
            connector: Connector::new(trust, options.proxies),
            auth: Authenticator::new(options.credentials, options.helper_path),
            retry: options.retry,
            stall: options.stall_limit,
        };
        Self { transport: Arc::new(transport) }
    }

    /// Makes sure that registry `domain` is there and takes this client's login for it, as `login` does.
    ///
    /// # Errors
    /// [`RegistryError::Unauthorized`] when it does not, or when it wants a login and there is none; any failure to
    /// reach it.
    pub async fn check_login(&self, domain: &str) -> Result<(), RegistryError> {
        let permit = Permit { path: String::new(), access: Access::Pull, scopes: Scopes::none() };
        let call = Call::new(Method::GET, Target::Path("v2/".to_owned()), permit);
        let response = self.transport.send(domain, &call).await?;
        match response.status() {
            StatusCode::OK => Ok(()),
            _ => Err(failure::of_answer(response, &Subject::Login { domain }).await),
        }
    }

    /// A request without body for `target` below the repository of `reference`, such as `manifests/latest`.
    pub(crate) fn call(method: Method, reference: &Reference, access: Access, target: &str) -> Call {
        let target = Target::Path(format!("v2/{}/{target}", reference.path()));
        Call::new(method, target, Self::permit(reference, access))
    }

    pub(crate) fn permit(reference: &Reference, access: Access) -> Permit {
        Permit { path: reference.path().to_owned(), access, scopes: Scopes::of(reference, access) }
    }

    pub(crate) async fn send(&self, reference: &Reference, call: &Call) -> Result<Response, RegistryError> {
        self.transport.send(reference.domain(), call).await
    }
}
