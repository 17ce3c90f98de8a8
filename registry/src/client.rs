//! The client, and the requests that concern a registry as a whole.

use crate::{
    Access, ClientOptions, RegistryError,
    auth::Authenticator,
    connector::Connector,
    failure::{self, Subject},
    request::{Call, RequestScope, Target},
    transport::Transport,
    trust::Trust,
};
use rbuild_oci::Reference;
use reqwest::{Method, Response, StatusCode};
use std::sync::Arc;

/// Speaks to registries. Cheap to make and to clone; connections and tokens are shared by all clones.
#[derive(Clone)]
pub struct Client {
    pub(crate) transport: Arc<Transport>,
}

impl Client {
    /// Makes a client. It reads and connects nothing before its first request.
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

    /// Checks that the registry `domain` answers and accepts this client's login for it, as `docker login` does.
    ///
    /// # Errors
    /// [`RegistryError::Unauthorized`] when the registry refuses the login, or wants one and the client has none; any
    /// failure to reach it.
    pub async fn check_login(&self, domain: &str) -> Result<(), RegistryError> {
        let call = Call::new(Method::GET, Target::Path("v2/".to_owned()), RequestScope::registry());
        let response = self.transport.send(domain, &call).await?;
        match response.status() {
            StatusCode::OK => Ok(()),
            _ => Err(failure::of_answer(response, &Subject::Login { domain }).await),
        }
    }

    /// A request without body for `target` below the repository of `reference`, such as `manifests/latest`.
    pub(crate) fn call(method: Method, reference: &Reference, access: Access, target: &str) -> Call {
        let target = Target::Path(format!("v2/{}/{target}", reference.path()));
        Call::new(method, target, RequestScope::of(reference, access))
    }

    pub(crate) async fn send(&self, reference: &Reference, call: &Call) -> Result<Response, RegistryError> {
        self.transport.send(reference.domain(), call).await
    }

    /// Sends `call` without retries, for a request whose failure does not matter.
    pub(crate) async fn send_once(
        &self,
        reference: &Reference,
        call: &Call,
    ) -> Result<Response, RegistryError> {
        self.transport.authorised(reference.domain(), call).await
    }
}
