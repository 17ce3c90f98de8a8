//! Requests with everything around them: proof, redirects, retries, the stall limit.
//!
//! Invariants: `Authorization` goes only to the registry's own origin, however a redirect or upload location reads; a
//! request answered is never repeated unless the answer is transient or a 401 that a new proof may change.

use crate::{
    Access, RegistryError, RetryPolicy,
    auth::{self, Authenticator, Proof},
    connector::Connector,
    endpoint::Endpoint,
    failure,
    host::{name_of, same_origin},
    retry,
    scope::Scopes,
};
use bytes::Bytes;
use reqwest::{
    Body, Method, Request, Response, StatusCode, Url,
    header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION},
};
use std::{sync::Arc, time::Duration};
use tokio::time;

const REDIRECT_LIMIT: usize = 10;
/// Registries copy what they received before they answer, which takes its time for large blobs.
pub(crate) const COMMIT_LIMIT: Duration = Duration::from_secs(600);
/// A challenge, an old token, and a new one.
const REFUSAL_LIMIT: u32 = 3;

pub(crate) struct Transport {
    pub(crate) connector: Connector,
    pub(crate) auth: Authenticator,
    pub(crate) retry: RetryPolicy,
    /// How long a transfer may go without moving a byte.
    pub(crate) stall: Duration,
}

/// A request that can be repeated.
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) target: Target,
    pub(crate) headers: HeaderMap,
    /// Empty for none.
    pub(crate) body: Bytes,
    pub(crate) permit: Permit,
    pub(crate) patience: Patience,
}

/// How long the answer may take.
#[derive(Clone, Copy)]
pub(crate) enum Patience {
    /// As long as a transfer may stall.
    Usual,
    /// As long as a registry may need to put a large blob in its place.
    Commit,
}

/// Where a request goes.
#[derive(Clone)]
pub(crate) enum Target {
    /// Path and query below the registry's root, starting with `v2/`.
    Path(String),
    /// A location the registry gave.
    Location(Url),
}

/// What a request's proof has to allow.
#[derive(Clone)]
pub(crate) struct Permit {
    /// The repository, which may have a login of its own; empty for none.
    pub(crate) path: String,
    pub(crate) access: Access,
    pub(crate) scopes: Scopes,
}

impl Call {
    pub(crate) fn new(method: Method, target: Target, permit: Permit) -> Self {
        Self {
            method,
            target,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            permit,
            patience: Patience::Usual,
        }
    }
}

impl Transport {
    /// Sends `call` to the registry `domain` until it is answered. Any status but a transient one comes back as an answer;
    /// a transient one too when the retries are used up.
    pub(crate) async fn send(&self, domain: &str, call: &Call) -> Result<Response, RegistryError> {
        let mut retries = 0;
        loop {
            let delay = match self.authorised(domain, call).await {
                Ok(response) if retry::is_transient(response.status()) => {
                    match self.retry.delay_after(retries, response.headers()) {
                        Some(delay) => delay,
                        None => return Ok(response),
                    }
                }
                Ok(response) => return Ok(response),
                Err(error) => match self.retry.delay(retries) {
                    Some(delay) if may_pass(&error) => delay,
                    Some(_) | None => return Err(error),
                },
            };
            time::sleep(delay).await;
            retries += 1;
        }
    }

    /// Sends `call` with proof, learning from refusals which one is wanted.
    async fn authorised(&self, domain: &str, call: &Call) -> Result<Response, RegistryError> {
        let endpoint = self.connector.endpoint(domain).await?;
        let mut proof = self.auth.proof(&self.connector, &endpoint, &call.permit).await?;
        let mut refusals = 0;
        loop {
            let response = self.followed(&endpoint, call, &proof).await?;
            refusals += 1;
            let ours = same_origin(response.url(), endpoint.base());
            if response.status() != StatusCode::UNAUTHORIZED || !ours || refusals == REFUSAL_LIMIT {
                return Ok(response);
            }
            if proof != Proof::Anonymous && auth::is_final(response.headers()) {
                return Ok(response);
            }
            self.auth.refused(&endpoint, &call.permit, &proof, response.headers())?;
            let next = self.auth.proof(&self.connector, &endpoint, &call.permit).await?;
            // a proof that was refused is not offered twice
            if next == proof {
                return Ok(response);
            }
            proof = next;
        }
    }

    /// Sends `call` and follows redirects.
    async fn followed(
        &self,
        endpoint: &Endpoint,
        call: &Call,
        proof: &Proof,
    ) -> Result<Response, RegistryError> {
        let mut url = resolve(endpoint, &call.target)?;
        for _ in 0..=REDIRECT_LIMIT {
            let mut request = Request::new(call.method.clone(), url.clone());
            request.headers_mut().clone_from(&call.headers);
            if !call.body.is_empty() {
                *request.body_mut() = Some(Body::from(call.body.clone()));
            }
            let sent = self.exchange(endpoint, request, proof);
            let limit = match call.patience {
                Patience::Usual => self.stall,
                Patience::Commit => self.stall.max(COMMIT_LIMIT),
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

    /// One request, one answer. The proof is added if the request goes to the registry itself.
    pub(crate) async fn exchange(
        &self,
        endpoint: &Endpoint,
        mut request: Request,
        proof: &Proof,
    ) -> Result<Response, RegistryError> {
        let url = request.url().clone();
        let ours = same_origin(&url, endpoint.base());
        let http = if ours { endpoint.http().clone() } else { self.connector.http(&url)? };
        if let (true, Proof::Header(secret)) = (ours, proof) {
            let unusable = |_| protocol(endpoint.domain(), "the login or token is no header value");
            let mut value = HeaderValue::from_str(secret.expose()).map_err(unusable)?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        http.execute(request).await.map_err(|error| failure::of_request(&url, error))
    }

    /// Where `response` sends us, if it does.
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
            _ => Err(protocol(domain, &format!("a redirect to {} leaves TLS", name_of(&next)))),
        }
    }

    /// The endpoint of `domain` and the proof `permit` takes there, for requests that cannot be repeated.
    pub(crate) async fn ready(
        &self,
        domain: &str,
        permit: &Permit,
    ) -> Result<(Arc<Endpoint>, Proof), RegistryError> {
        let endpoint = self.connector.endpoint(domain).await?;
        let proof = self.auth.proof(&self.connector, &endpoint, permit).await?;
        Ok((endpoint, proof))
    }
}

/// The body of `response`, which must not be longer than `limit` bytes.
pub(crate) async fn read_limited(
    mut response: Response,
    limit: usize,
    domain: &str,
) -> Result<Vec<u8>, RegistryError> {
    const STALL: Duration = Duration::from_secs(60);
    let url = response.url().clone();
    let stalled = || RegistryError::Stalled { host: name_of(&url), seconds: STALL.as_secs() };
    let mut bytes = Vec::with_capacity(response.content_length().unwrap_or(0).min(limit as u64) as usize);
    loop {
        let chunk = time::timeout(STALL, response.chunk()).await.map_err(|_| stalled())?;
        let Some(chunk) = chunk.map_err(|error| failure::of_request(&url, error))? else { return Ok(bytes) };
        if bytes.len() + chunk.len() > limit {
            let subject = url.path().to_owned();
            return Err(RegistryError::TooLarge { host: domain.to_owned(), subject, limit: limit as u64 });
        }
        bytes.extend_from_slice(&chunk);
    }
}

/// Whether the failure may be gone at the next try.
pub(crate) fn may_pass(error: &RegistryError) -> bool {
    match error {
        RegistryError::Connection { .. } | RegistryError::Stalled { .. } => true,
        // on this machine a port does not open by waiting
        RegistryError::Refused { host, .. } => !is_local(host),
        // of a token server; the registry's own come as answers
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

pub(crate) fn protocol(domain: &str, problem: &str) -> RegistryError {
    RegistryError::Protocol { host: domain.to_owned(), problem: problem.to_owned() }
}

pub(crate) fn resolve(endpoint: &Endpoint, target: &Target) -> Result<Url, RegistryError> {
    match target {
        Target::Path(path) => {
            endpoint.base().join(path).map_err(|_| protocol(endpoint.domain(), "the request makes no URL"))
        }
        Target::Location(url) => Ok(url.clone()),
    }
}
