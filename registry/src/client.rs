//! The client, and the requests that concern a registry as a whole.

use crate::{
    Access, Cause, CertificateFiles, ClientOptions, RegistryError, RetryPolicy, Surroundings,
    auth::Authenticator,
    connector::Connector,
    error::UnreadOptions,
    failure::{self, Subject},
    notice::Listener,
    pulse::Pulse,
    request::{Call, RequestScope, Target},
    retry,
    transport::{Transport, may_pass},
    trust::Trust,
};
use rbuild_oci::Reference;
use reqwest::{Method, Response, StatusCode, Url};
use std::{
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};
use tokio::time;

/// Speaks to registries. Cheap to make and to clone; connections and tokens are shared by all clones.
#[derive(Clone)]
pub struct Client {
    pub(crate) transport: Arc<DeferredTransport>,
    pub(crate) listener: Listener,
    pub(crate) pulse: Pulse,
    pub(crate) retry: RetryPolicy,
    /// The longest time that a transfer may take without moving a byte.
    pub(crate) stall: Duration,
}

/// The transport with its options, which are read for the first request.
pub(crate) struct DeferredTransport(LazyLock<Result<Transport, UnreadOptions>, ReadTransport>);

type ReadTransport = Box<dyn FnOnce() -> Result<Transport, UnreadOptions> + Send>;

impl DeferredTransport {
    /// The transport.
    pub(crate) fn configured(&self) -> Result<&Transport, RegistryError> {
        self.0.as_ref().map_err(|unread| RegistryError::Configuration(unread.clone()))
    }
}

impl Client {
    /// Makes a client. It reads and connects nothing before its first request.
    #[must_use]
    pub fn new(options: ClientOptions) -> Self {
        let (retry, stall) = (options.retry, options.stall_limit);
        let transport = DeferredTransport(LazyLock::new(Box::new(|| Ok(transport(options)))));
        Self {
            transport: Arc::new(transport),
            listener: Listener::ignore(),
            pulse: Pulse::default(),
            retry,
            stall,
        }
    }

    /// Makes a client whose options are read when its first request needs them, because most commands send none. Retries and
    /// limits are the usual ones. When the options cannot be read, each request fails with that.
    #[must_use]
    pub fn deferred(read: impl FnOnce() -> Result<ClientOptions, Cause> + Send + 'static) -> Self {
        let read = || read().map(transport).map_err(|cause| UnreadOptions(Arc::new(cause)));
        let transport = LazyLock::new(Box::new(read) as ReadTransport);
        let ClientOptions { retry, stall_limit: stall, .. } = ClientOptions::default();
        let transport = Arc::new(DeferredTransport(transport));
        Self { transport, listener: Listener::ignore(), pulse: Pulse::default(), retry, stall }
    }

    /// The longest time that a transfer may take without moving a byte.
    #[must_use]
    pub fn stall_limit(&self) -> Duration {
        self.stall
    }

    /// What other programs that reach servers for this client are to use.
    ///
    /// # Errors
    /// [`RegistryError::Configuration`] when the options cannot be read.
    pub fn surroundings(&self) -> Result<&Surroundings, RegistryError> {
        Ok(&self.transport.configured()?.surroundings)
    }

    /// The certificates with which other programs are to reach `url` for this client; none for what is no URL.
    ///
    /// # Errors
    /// [`RegistryError::Configuration`] when the options cannot be read, [`RegistryError::Certificate`] for a directory that cannot.
    pub fn certificate_files(&self, url: &str) -> Result<CertificateFiles, RegistryError> {
        let Ok(url) = Url::parse(url) else { return Ok(CertificateFiles::default()) };
        self.transport.configured()?.connector.trust.files(&url)
    }

    /// The same client, which tells `listener` why it waits.
    #[must_use]
    pub fn heard_by(&self, listener: Listener) -> Self {
        Self { listener, ..self.clone() }
    }

    /// The same client, which counts in `pulse` what it sends and is answered.
    #[must_use]
    pub fn counted_in(&self, pulse: &Pulse) -> Self {
        Self { pulse: pulse.clone(), ..self.clone() }
    }

    /// Checks that the registry `domain` answers and accepts this client's login for it, as `docker login` does.
    ///
    /// # Errors
    /// [`RegistryError::Unauthorized`] when the registry refuses the login, or wants one and the client has none; any
    /// failure to reach it.
    pub async fn check_login(&self, domain: &str) -> Result<(), RegistryError> {
        let call = Call::new(Method::GET, Target::Path("v2/".to_owned()), RequestScope::registry());
        let response = self.send_to(domain, &call).await?;
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
        if call.scope.access == Access::Push {
            self.transport.configured()?.registries.check(reference)?;
        }
        self.send_to(reference.domain(), call).await
    }

    /// Sends `call` to the registry `domain` until it gets an answer that is not transient, or the retries are used up.
    /// An answer may have any status.
    pub(crate) async fn send_to(&self, domain: &str, call: &Call) -> Result<Response, RegistryError> {
        let policy = &self.retry;
        let mut retries = 0;
        loop {
            let answer = self.transport.configured()?.authorised(domain, call).await;
            if answer.is_ok() {
                self.pulse.answered();
            }
            let (delay, reason) = match answer {
                Ok(response) if retry::is_transient(response.status()) => {
                    match policy.delay_after(retries, response.headers()) {
                        Some(delay) => (delay, format!("{domain} answered {}", response.status())),
                        None => return Ok(response),
                    }
                }
                Ok(response) => return Ok(response),
                Err(error) => match policy.delay(retries) {
                    Some(delay) if may_pass(&error) => (delay, error.to_string()),
                    Some(_) | None => return Err(error),
                },
            };
            self.wait(delay, || reason).await;
            retries += 1;
        }
    }

    /// Waits before the next try, and says why if that takes long.
    pub(crate) async fn wait(&self, delay: Duration, reason: impl FnOnce() -> String) {
        self.listener.waiting(delay, reason);
        time::sleep(delay).await;
    }

    /// Sends `call` without retries, for a request whose failure does not matter.
    pub(crate) async fn send_once(
        &self,
        reference: &Reference,
        call: &Call,
    ) -> Result<Response, RegistryError> {
        self.transport.configured()?.authorised(reference.domain(), call).await
    }
}

fn transport(options: ClientOptions) -> Transport {
    let registries = Arc::new(options.registries);
    let trust = Trust {
        tls: options.tls,
        registries: Arc::clone(&registries),
        certificate_directories: options.certificate_directories,
    };
    let surroundings =
        Surroundings { program_path: options.helper_path.clone(), proxies: options.proxies.clone() };
    Transport {
        surroundings,
        connector: Connector::new(trust, options.proxies),
        auth: Authenticator::new(options.credentials, options.helper_path),
        registries,
        given_up: Mutex::default(),
        stall: options.stall_limit,
    }
}
