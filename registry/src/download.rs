//! Files from anywhere on the web, as ADD takes them: plain GET with redirects and retries, no login.

use crate::{
    Client, RegistryError,
    blob::range_start,
    failure::{self, Subject, protocol},
    host::name_of,
    pace::Pace,
    retry::{self, Attempts},
    transport::{location, may_pass, not_followed},
};
use bytes::Bytes;
use reqwest::{
    Response, StatusCode, Url,
    header::{
        CONTENT_DISPOSITION, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH,
        IF_RANGE, LAST_MODIFIED, RANGE,
    },
};
use tokio::time;

const REDIRECT_LIMIT: usize = 10;

/// Validators of an earlier copy, by which the server can answer that the file is unchanged (RFC 9110 §13).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validators {
    /// `ETag`, as sent.
    pub etag: Option<String>,
    /// `Last-Modified`, as sent (RFC 9110 §5.6.7).
    pub last_modified: Option<String>,
}

/// The answer to a request with the validators of an earlier copy.
pub enum Revalidated {
    /// The earlier copy is still good.
    Unchanged,
    /// The file has changed, or there was no earlier copy; this is its content.
    Changed(Box<Download>),
}

/// A file being received. Its length is checked if the server announced it. A caller that knows the digest checks that.
pub struct Download {
    client: Client,
    /// The URL that was asked for, and the path of the one that redirects led to.
    url: Url,
    final_path: String,
    /// The response whose body is read now, and the bytes at its beginning that were received before.
    response: Response,
    pace: Pace,
    surplus: u64,
    received: u64,
    attempts: Attempts,
    length: Option<u64>,
    validators: Validators,
    disposition: Option<String>,
}

/// The next part of a download.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// More bytes.
    Bytes(Bytes),
    /// The connection broke, and the server cannot go on where it was: what follows is the file from its beginning.
    Restart,
}

impl Client {
    /// Fetches the file at `url`, unless it is still the one that `earlier` (empty for none) describes.
    ///
    /// # Errors
    /// [`RegistryError::Address`] when `url` is not an http(s) URL, [`RegistryError::Server`] for any status but success,
    /// any failure of the connection.
    pub async fn fetch_url(&self, url: &str, earlier: &Validators) -> Result<Revalidated, RegistryError> {
        let url = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        // the message does not repeat the text, because it may contain a login
        let url = url.ok_or_else(|| RegistryError::Address { host: "URL".to_owned() })?;
        let response = self.answer(&url, earlier, HeaderMap::new()).await?;
        match response.status() {
            StatusCode::NOT_MODIFIED => Ok(Revalidated::Unchanged),
            // a server that does not know conditions may still know its files
            StatusCode::OK if same_tag(&response, earlier) => Ok(Revalidated::Unchanged),
            StatusCode::OK => Ok(Revalidated::Changed(Box::new(Download::new(self, url, response)))),
            _ => Err(refused(response).await),
        }
    }

    /// The first answer to a GET that is not transient, whatever its status.
    async fn answer(
        &self,
        url: &Url,
        earlier: &Validators,
        headers: HeaderMap,
    ) -> Result<Response, RegistryError> {
        let mut retries = 0;
        loop {
            let (delay, reason) = match self.follow(url, earlier, &headers).await {
                Ok(response) if retry::is_transient(response.status()) => {
                    match self.retry.delay_after(retries, response.headers()) {
                        Some(delay) => (delay, format!("{} answered {}", name_of(url), response.status())),
                        None => return Err(refused(response).await),
                    }
                }
                Ok(response) => return Ok(response),
                Err(error) => match self.retry.delay(retries) {
                    Some(delay) if may_pass(&error) => (delay, error.to_string()),
                    Some(_) | None => return Err(error),
                },
            };
            self.wait(delay, || reason).await;
            retries += 1;
        }
    }

    async fn follow(
        &self,
        url: &Url,
        earlier: &Validators,
        headers: &HeaderMap,
    ) -> Result<Response, RegistryError> {
        let mut url = url.clone();
        for _ in 0..=REDIRECT_LIMIT {
            let transport = self.transport.configured()?;
            let mut request = transport.connector.http(&url)?.get(url.clone()).headers(headers.clone());
            for (name, value) in [(IF_NONE_MATCH, &earlier.etag), (IF_MODIFIED_SINCE, &earlier.last_modified)]
            {
                if let Some(value) = value.as_ref().and_then(|value| HeaderValue::from_str(value).ok()) {
                    request = request.header(name, value);
                }
            }
            let stall = self.stall;
            let stalled = |_| RegistryError::Stalled { host: name_of(&url), seconds: stall.as_secs() };
            let response = time::timeout(stall, request.send()).await.map_err(stalled)?;
            let response = response.map_err(|error| failure::of_request(&url, error))?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            let next = location(&response)
                .ok_or_else(|| protocol(&name_of(&url), "a redirect without a usable location"))?;
            if !matches!(next.scheme(), "http" | "https") {
                return Err(protocol(&name_of(&url), &not_followed(next.scheme())));
            }
            url = next;
        }
        Err(protocol(&name_of(&url), "too many redirects"))
    }
}

impl Download {
    fn new(client: &Client, url: Url, response: Response) -> Self {
        let header = |name: &HeaderName| header(&response, name);
        Self {
            client: client.clone(),
            url,
            final_path: response.url().path().to_owned(),
            pace: Pace::new(client.stall),
            surplus: 0,
            received: 0,
            attempts: Attempts::new(),
            length: response.content_length(),
            validators: Validators { etag: header(&ETAG), last_modified: header(&LAST_MODIFIED) },
            disposition: header(&CONTENT_DISPOSITION),
            response,
        }
    }

    /// Returns the next bytes, and `None` after the last. A connection that breaks is made again.
    ///
    /// # Errors
    /// [`RegistryError::Connection`] when it breaks again and again, [`RegistryError::Stalled`] when nothing comes,
    /// [`RegistryError::Slow`] when next to nothing does.
    pub async fn next_piece(&mut self) -> Result<Option<Piece>, RegistryError> {
        loop {
            let failed = match self.pace.next(&mut self.response).await {
                Ok(None) => return Ok(None),
                Ok(Some(mut chunk)) => {
                    let dropped = self.surplus.min(chunk.len() as u64);
                    self.surplus -= dropped;
                    let chunk = chunk.split_off(dropped as usize);
                    self.received += chunk.len() as u64;
                    if chunk.is_empty() {
                        continue;
                    }
                    return Ok(Some(Piece::Bytes(chunk)));
                }
                Err(lag) => failure::of_lag(self.response.url(), lag),
            };
            if self.length == Some(self.received) {
                // every byte is there; the server only did not end the body properly
                return Ok(None);
            }
            if let Some(restart) = self.resume(failed).await? {
                return Ok(Some(restart));
            }
        }
    }

    /// Connects again after `failed`, and goes on where the file was broken off if it is known to be the same file.
    async fn resume(&mut self, failed: RegistryError) -> Result<Option<Piece>, RegistryError> {
        let delay = self.attempts.next(&self.client.retry, self.received);
        let Some(delay) = delay.filter(|_| may_pass(&failed)) else { return Err(failed) };
        self.client.wait(delay, || failed.to_string()).await;
        let mut headers = HeaderMap::new();
        if let Some(validator) = self.validators.strong() {
            let range = HeaderValue::from_str(&format!("bytes={}-", self.received));
            headers.insert(RANGE, range.expect("digits are header text"));
            headers.insert(IF_RANGE, validator);
        }
        let ranged = headers.contains_key(RANGE);
        let mut response = self.client.answer(&self.url, &Validators::default(), headers).await?;
        if ranged && response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            // the server knows no ranges, or has a shorter file now: all of it again
            response = self.client.answer(&self.url, &Validators::default(), HeaderMap::new()).await?;
        }
        match response.status() {
            StatusCode::PARTIAL_CONTENT if range_start(&response) == Some(self.received) => {
                (self.response, self.pace) = (response, Pace::new(self.client.stall));
                Ok(None)
            }
            StatusCode::OK => {
                let received = self.received;
                let again = Self::new(&self.client, self.url.clone(), response);
                let same = self.validators.strong().is_some() && self.validators == again.validators;
                let attempts = std::mem::replace(&mut self.attempts, Attempts::new());
                *self = Self { attempts, ..again };
                if same {
                    (self.surplus, self.received) = (received, received);
                    return Ok(None);
                }
                Ok(Some(Piece::Restart))
            }
            StatusCode::PARTIAL_CONTENT => {
                Err(protocol(&name_of(response.url()), "a range that was not asked for"))
            }
            _ => Err(refused(response).await),
        }
    }

    /// The length the server announced.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        self.length
    }

    /// The validators to send with the next request for this file.
    #[must_use]
    pub fn validators(&self) -> &Validators {
        &self.validators
    }

    /// `Content-Disposition`, which may name the file.
    #[must_use]
    pub fn content_disposition(&self) -> Option<&str> {
        self.disposition.as_deref()
    }

    /// The path of the URL the file came from in the end, still percent-encoded.
    #[must_use]
    pub fn final_path(&self) -> &str {
        &self.final_path
    }
}

impl Validators {
    /// The one that proves that bytes are the same (RFC 9110 §13.1.5): a weak tag does not.
    fn strong(&self) -> Option<HeaderValue> {
        let etag = self.etag.as_ref().filter(|tag| !tag.starts_with("W/"));
        HeaderValue::from_str(etag.or(self.last_modified.as_ref())?).ok()
    }
}

/// True if the server gives the file the tag that it had before.
fn same_tag(response: &Response, earlier: &Validators) -> bool {
    earlier.etag.is_some() && header(response, &ETAG) == earlier.etag
}

fn header(response: &Response, name: &HeaderName) -> Option<String> {
    response.headers().get(name)?.to_str().ok().map(str::to_owned)
}

async fn refused(response: Response) -> RegistryError {
    let host = name_of(response.url());
    let status = response.status().as_u16();
    match failure::of_answer(response, &Subject::Login { domain: &host }).await {
        // logins are for registries, not for web servers
        RegistryError::Unauthorized { server, .. } => {
            RegistryError::Server { host, status, code: String::new(), message: server }
        }
        other => other,
    }
}
