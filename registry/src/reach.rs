//! Questions about a registry as such: how it is reached, with which login, and what one may do there.

use crate::{
    Client, RegistryError,
    auth::Authorization,
    credentials::LoginOrigin,
    failure::{protocol, read_limited},
    host::name_of,
    trust::Protection,
};
use rbuild_oci::{Digest, Reference};
use reqwest::{Method, Request, StatusCode};
use tokio::time;

/// How a registry is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Scheme, host and port.
    pub address: String,
    /// The protection of the connection.
    pub protection: Protection,
}

impl Client {
    /// Connects to the registry `domain` and sees that it speaks the protocol, without a login.
    ///
    /// # Errors
    /// Any failure of the connection; [`RegistryError::Protocol`] when the other side is no registry.
    pub async fn reach(&self, domain: &str) -> Result<Reached, RegistryError> {
        let transport = self.transport.configured()?;
        let endpoint = transport.connector.endpoint(domain).await?;
        let mut url = endpoint.base().clone();
        url.set_path("/v2/");
        let request = Request::new(Method::GET, url.clone());
        let limit = self.stall;
        let stalled = |_| RegistryError::Stalled { host: name_of(&url), seconds: limit.as_secs() };
        let sent = transport.exchange(&endpoint, request, &Authorization::Anonymous);
        let response = time::timeout(limit, sent).await.map_err(stalled)??;
        let status = response.status();
        // a short answer is read so that its connection can be used again
        let _ = read_limited(response, 64 << 10, domain).await;
        if !matches!(status, StatusCode::OK | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(protocol(domain, &format!("{status} for /v2/, which every registry has")));
        }
        let protection = transport.connector.protection(endpoint.base())?;
        Ok(Reached { address: endpoint.base().as_str().trim_end_matches('/').to_owned(), protection })
    }

    /// Where the login for the repository of `reference` comes from; `None` without one.
    #[must_use]
    pub fn login_origin(&self, reference: &Reference) -> Option<LoginOrigin> {
        self.transport.configured().ok()?.auth.origin(reference.domain(), reference.path())
    }

    /// Asks whether this client may pull `place` itself, without its mirrors; the digest of what is there.
    ///
    /// # Errors
    /// As [`Client::fetch_manifest`].
    pub async fn check_pull(&self, place: &Reference) -> Result<Digest, RegistryError> {
        Ok(self.fetch_manifest_at(place).await?.digest)
    }
}
