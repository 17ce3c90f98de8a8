//! Sends requests with everything around them but retries: authorization, redirects, the stall limit.
//!
//! Invariants: `Authorization` goes only to the registry's own origin, whatever a redirect or upload location says; an
//! answered request is repeated only if the answer is transient, or a 401 that a new authorization may change.

use crate::{
    Registries, RegistryError, Surroundings,
    auth::{self, Authenticator, Authorization},
    connector::Connector,
    endpoint::Endpoint,
    failure::{self, protocol},
    host::{name_of, same_origin},
    request::{Call, RequestScope, Target, Timeout},
    retry,
};
use reqwest::{
    Body, Method, Request, Response, StatusCode, Url,
    header::{AUTHORIZATION, HeaderValue, LOCATION},
};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time;

const REDIRECT_LIMIT: usize = 10;
/// The longest wait for the answer to a finished upload, because registries copy large blobs before they answer.
pub(crate) const COMMIT_LIMIT: Duration = Duration::from_secs(600);
/// The most refusals of one request: the challenge, an expired token, and a new token.
const REFUSAL_LIMIT: u32 = 3;

pub(crate) struct Transport {
    /// For other programs.
    pub(crate) surroundings: Surroundings,
    pub(crate) connector: Connector,
    pub(crate) auth: Authenticator,
    pub(crate) registries: Arc<Registries>,
    /// The mirrors that failed, which are not asked again.
    pub(crate) given_up: Mutex<HashSet<String>>,
    /// The longest time that a transfer may take without moving a byte.
    pub(crate) stall: Duration,
}

impl Transport {
    /// Sends `call` with authorization, and learns from refusals which one the registry wants.
    pub(crate) async fn authorised(&self, domain: &str, call: &Call) -> Result<Response, RegistryError> {
        let endpoint = self.connector.endpoint(domain).await?;
        let mut authorization = self.auth.authorization(&self.connector, &endpoint, &call.scope).await?;
        let mut refusals = 0;
        loop {
            let response = self.followed(&endpoint, call, &authorization).await?;
            refusals += 1;
            let ours = same_origin(response.url(), endpoint.base());
            let status = response.status();
            let refused = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
            if !refused || !ours || refusals == REFUSAL_LIMIT {
                return Ok(response);
            }
            let known = authorization != Authorization::Anonymous;
            let is_final = status == StatusCode::FORBIDDEN || (known && auth::is_final(response.headers()));
            if status == StatusCode::UNAUTHORIZED {
                self.auth.refused(&endpoint, &call.scope, &authorization, response.headers())?;
            }
            let mut next = authorization.clone();
            if !is_final {
                next = self.auth.authorization(&self.connector, &endpoint, &call.scope).await?;
            }
            // the registry has just refused this one: only a credential helper may know a better login by now
            if next == authorization {
                if !known || !self.auth.renew_login(&endpoint, &call.scope).await? {
                    return Ok(response);
                }
                next = self.auth.authorization(&self.connector, &endpoint, &call.scope).await?;
            }
            authorization = next;
        }
    }

    /// Sends `call` and follows redirects.
    async fn followed(
        &self,
        endpoint: &Endpoint,
        call: &Call,
        authorization: &Authorization,
    ) -> Result<Response, RegistryError> {
        let mut url = resolve(endpoint, &call.target)?;
        for _ in 0..=REDIRECT_LIMIT {
            let mut request = Request::new(call.method.clone(), url.clone());
            request.headers_mut().clone_from(&call.headers);
            if !call.body.is_empty() {
                *request.body_mut() = Some(Body::from(call.body.clone()));
            }
            let sent = self.exchange(endpoint, request, authorization);
            let limit = match call.timeout {
                Timeout::Usual => self.stall,
                Timeout::Commit => self.stall.max(COMMIT_LIMIT),
            };
            let stalled = |_| RegistryError::Stalled { host: name_of(&url), seconds: limit.as_secs() };
            let response = time::timeout(limit, sent).await.map_err(stalled)??;
            match self.redirected(&response, call, endpoint.domain())? {
                Some(next) => url = next,
                None => return Ok(response),
            }
        }
        Err(protocol(endpoint.domain(), "too many redirects"))
    }

    /// Sends one request and returns its answer. The authorization is added only if the request goes to the registry
    /// itself.
    pub(crate) async fn exchange(
        &self,
        endpoint: &Endpoint,
        mut request: Request,
        authorization: &Authorization,
    ) -> Result<Response, RegistryError> {
        let url = request.url().clone();
        let ours = same_origin(&url, endpoint.base());
        let http = if ours { endpoint.http().clone() } else { self.connector.http(&url)? };
        if let (true, Authorization::Header(secret)) = (ours, authorization) {
            let unusable = |_| protocol(endpoint.domain(), "the login or token is not a valid header value");
            let mut value = HeaderValue::from_str(secret.expose()).map_err(unusable)?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        http.execute(request).await.map_err(|error| failure::of_request(&url, error))
    }

    /// The target of `response`, if it is a redirect.
    fn redirected(
        &self,
        response: &Response,
        call: &Call,
        domain: &str,
    ) -> Result<Option<Url>, RegistryError> {
        let reads = call.method == Method::GET || call.method == Method::HEAD;
        let moves = match response.status().as_u16() {
            301..=303 => reads,
            307 | 308 => true,
            _ => false,
        };
        if !moves {
            return Ok(None);
        }
        let from = response.url();
        let next = location(response).ok_or_else(|| protocol(domain, "a redirect without a location"))?;
        match (from.scheme(), next.scheme()) {
            (_, "https") | ("http", "http") => Ok(Some(next)),
            ("https", "http") if self.connector.may_be_plain(&next) => Ok(Some(next)),
            (_, "http") => Err(protocol(domain, &format!("a redirect to {} leaves TLS", name_of(&next)))),
            (_, scheme) => Err(protocol(domain, &not_followed(scheme))),
        }
    }

    /// True if the mirror `domain` failed before.
    pub(crate) fn is_given_up(&self, domain: &str) -> bool {
        self.given_up.lock().unwrap_or_else(PoisonError::into_inner).contains(domain)
    }

    pub(crate) fn give_up_on(&self, domain: &str) {
        self.given_up.lock().unwrap_or_else(PoisonError::into_inner).insert(domain.to_owned());
    }

    /// The endpoint of `domain` and the authorization for `scope`, for a request that cannot be sent twice.
    pub(crate) async fn ready(
        &self,
        domain: &str,
        scope: &RequestScope,
    ) -> Result<(Arc<Endpoint>, Authorization), RegistryError> {
        let endpoint = self.connector.endpoint(domain).await?;
        let authorization = self.auth.authorization(&self.connector, &endpoint, scope).await?;
        Ok((endpoint, authorization))
    }
}

/// True if the next try may succeed.
pub(crate) fn may_pass(error: &RegistryError) -> bool {
    match error {
        RegistryError::Connection { .. } | RegistryError::Stalled { .. } => true,
        // waiting does not open a port of this machine
        RegistryError::Refused { host, .. } => !is_local(host),
        // the failure of a token server; those of the registry itself come as answers
        RegistryError::Server { status, .. } => StatusCode::from_u16(*status).is_ok_and(retry::is_transient),
        _ => false,
    }
}

fn is_local(host: &str) -> bool {
    crate::host::base_url("http", host).is_ok_and(|url| crate::host::is_loopback(&url))
}

/// The `Location` of `response`, resolved against the request's URL.
pub(crate) fn location(response: &Response) -> Option<Url> {
    response.url().join(response.headers().get(LOCATION)?.to_str().ok()?).ok()
}

/// What is wrong with a redirect of this scheme. The rest of its target says nothing that the registry's owner needs.
pub(crate) fn not_followed(scheme: &str) -> String {
    format!("a redirect to {scheme}:, where only https: and http: are followed")
}

pub(crate) fn resolve(endpoint: &Endpoint, target: &Target) -> Result<Url, RegistryError> {
    match target {
        Target::Path(path) => {
            endpoint.base().join(path).map_err(|_| protocol(endpoint.domain(), "the request makes no URL"))
        }
        Target::Location(url) => Ok(url.clone()),
    }
}
