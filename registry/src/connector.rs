//! HTTP clients, made when first needed and shared by all hosts with the same trust, and the endpoints of registries.
//!
//! Reading the system's certificates takes milliseconds, so plain HTTP and loopback never do it.

use crate::{
    Protection, Proxies, RegistryError,
    auth_scheme::AuthScheme,
    endpoint::Endpoint,
    failure,
    host::{self, is_loopback, name_of},
    resolver::Resolver,
    trust::{Tls, Trust},
};
use reqwest::{ClientBuilder, NoProxy, Proxy, StatusCode, Url, redirect};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{sync::OnceCell, time};

const USER_AGENT: &str = concat!("rbuild/", env!("CARGO_PKG_VERSION"));
const CONNECT_LIMIT: Duration = Duration::from_secs(15);
/// Longest wait for an answer in TLS from a host that may speak plain HTTP.
const PROBE_LIMIT: Duration = Duration::from_secs(5);
/// HTTP/2 windows wide enough for fast and distant registries: rate × round trip time.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

pub(crate) struct Connector {
    pub(crate) trust: Trust,
    proxies: Proxies,
    clients: Mutex<HashMap<ClientKey, reqwest::Client>>,
    endpoints: Mutex<HashMap<String, Arc<OnceCell<Arc<Endpoint>>>>>,
}

/// Hosts with the same key share connections' settings.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum ClientKey {
    /// The system's authorities.
    System,
    /// No verification, for plain HTTP and for hosts that the user declared insecure.
    Unverified,
    /// No verification and no proxy, for this machine itself.
    Loopback,
    /// Authorities or a client certificate that only this host has.
    Host(String),
}

impl Connector {
    pub(crate) fn new(trust: Trust, proxies: Proxies) -> Self {
        Self { trust, proxies, clients: Mutex::default(), endpoints: Mutex::default() }
    }

    /// The endpoint of registry `domain`. The first call finds out how the registry is reached.
    pub(crate) async fn endpoint(&self, domain: &str) -> Result<Arc<Endpoint>, RegistryError> {
        let cell = {
            let mut endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(endpoints.entry(domain.to_owned()).or_default())
        };
        cell.get_or_try_init(|| self.open(domain)).await.cloned()
    }

    /// The client for requests to `url`.
    pub(crate) fn http(&self, url: &Url) -> Result<reqwest::Client, RegistryError> {
        if url.scheme() == "http" {
            let key = if is_loopback(url) { ClientKey::Loopback } else { ClientKey::Unverified };
            return self.client(key, url, |builder| builder.tls_built_in_root_certs(false));
        }
        let trust = self.trust.load(url)?;
        let own = !trust.roots.is_empty() || trust.identity.is_some();
        // As in Docker, a registry on this machine may show any certificate, because it may also speak plain HTTP. But if
        // the user gave it an authority, its certificate has to be signed by that one.
        let skip = trust.tls == Tls::SkipVerifyOrPlainHttp || (is_loopback(url) && trust.roots.is_empty());
        let key = match (own, skip) {
            (true, _) => ClientKey::Host(name_of(url)),
            (false, true) if is_loopback(url) => ClientKey::Loopback,
            (false, true) => ClientKey::Unverified,
            (false, false) => ClientKey::System,
        };
        self.client(key, url, |mut builder| {
            if skip || is_loopback(url) {
                builder = builder.tls_built_in_root_certs(false);
            }
            if skip {
                builder = builder.danger_accept_invalid_certs(true);
            }
            builder = trust.roots.into_iter().fold(builder, ClientBuilder::add_root_certificate);
            trust.identity.into_iter().fold(builder, ClientBuilder::identity)
        })
    }

    /// The client for the token server at `realm` of the registry `endpoint`. As in Docker, the registry's authorities
    /// hold for its token server too; its lack of verification holds only where it is the same host.
    pub(crate) fn for_realm(
        &self,
        endpoint: &Endpoint,
        realm: &Url,
    ) -> Result<reqwest::Client, RegistryError> {
        let base = endpoint.base();
        let verified =
            base.scheme() == "https" && !is_loopback(base) && self.trust.tls_for(base) == Tls::Verify;
        if realm.scheme() == "https" && (verified || base.host_str() == realm.host_str()) {
            Ok(endpoint.http().clone())
        } else {
            self.http(realm)
        }
    }

    /// The protection of connections to `url`.
    pub(crate) fn protection(&self, url: &Url) -> Result<Protection, RegistryError> {
        if url.scheme() == "http" {
            return Ok(Protection::PlainHttp);
        }
        let trust = self.trust.load(url)?;
        let unchecked =
            trust.tls == Tls::SkipVerifyOrPlainHttp || (is_loopback(url) && trust.roots.is_empty());
        Ok(if unchecked { Protection::Unchecked } else { Protection::Checked })
    }

    /// True if a redirect from TLS to plain HTTP at `url` is acceptable.
    pub(crate) fn may_be_plain(&self, url: &Url) -> bool {
        is_loopback(url) || self.trust.tls_for(url) == Tls::SkipVerifyOrPlainHttp
    }

    /// Finds out whether `domain` speaks TLS. This costs a request only for hosts that may speak plain HTTP.
    async fn open(&self, domain: &str) -> Result<Arc<Endpoint>, RegistryError> {
        let https = host::base_url("https", domain)?;
        let http = self.http(&https)?;
        if !self.may_be_plain(&https) {
            return Ok(Arc::new(Endpoint::new(domain, https, http)));
        }
        let mut ping = https.clone();
        ping.set_path("/v2/");
        match time::timeout(PROBE_LIMIT, http.get(ping).send()).await {
            Ok(Ok(response)) => {
                let endpoint = Endpoint::new(domain, https, http);
                if response.status() == StatusCode::UNAUTHORIZED {
                    endpoint.learn(AuthScheme::of_challenges(response.headers(), domain)?);
                }
                return Ok(Arc::new(endpoint));
            }
            // after the handshake it is certain that the other side speaks TLS
            Ok(Err(error)) if failure::is_tls(&error) || !error.is_connect() => {
                return Err(failure::of_request(&https, error));
            }
            Ok(Err(error)) if failure::is_unknown(&error) => {
                return Err(failure::of_request(&https, error));
            }
            // the same port would refuse plain HTTP too
            Ok(Err(error)) if failure::is_refused(&error) && https.port().is_some() => {
                return Err(failure::of_request(&https, error));
            }
            Ok(Err(_)) | Err(_) => {}
        }
        let plain = host::base_url("http", domain)?;
        let http = self.http(&plain)?;
        Ok(Arc::new(Endpoint::new(domain, plain, http)))
    }

    fn client(
        &self,
        key: ClientKey,
        url: &Url,
        trust: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> Result<reqwest::Client, RegistryError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let failed =
            |error: reqwest::Error| RegistryError::Setup { host: name_of(url), source: Box::new(error) };
        let builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .redirect(redirect::Policy::none())
            .referer(false)
            .connect_timeout(CONNECT_LIMIT)
            .dns_resolver(Arc::new(Resolver))
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(CONNECTION_WINDOW)
            // the program reads the environment's proxies and passes them as options
            .no_proxy();
        let builder = if is_loopback(url) { builder } else { self.proxied(builder).map_err(failed)? };
        let client = trust(builder).build().map_err(failed)?;
        clients.insert(key, client.clone());
        Ok(client)
    }

    fn proxied(&self, mut builder: ClientBuilder) -> Result<ClientBuilder, reqwest::Error> {
        let except = NoProxy::from_string(&self.proxies.except);
        if !self.proxies.http.is_empty() {
            builder = builder.proxy(Proxy::http(self.proxies.http.expose())?.no_proxy(except.clone()));
        }
        if !self.proxies.https.is_empty() {
            builder = builder.proxy(Proxy::https(self.proxies.https.expose())?.no_proxy(except));
        }
        Ok(builder)
    }
}
