//! Files from anywhere on the web, as ADD takes them: plain GET with redirects and retries, no login.

use crate::{
    Client, RegistryError,
    failure::{self, Subject, protocol},
    host::name_of,
    retry,
    transport::{location, may_pass, not_followed},
};
use bytes::Bytes;
use reqwest::{
    Response, StatusCode, Url,
    header::{
        CONTENT_DISPOSITION, ETAG, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
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
    Changed(Download),
}

/// A file being received. Its length is checked if the server announced it. A caller that knows the digest checks that.
pub struct Download {
    response: Response,
    stall: time::Duration,
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
        let mut retries = 0;
        loop {
            let (delay, reason) = match self.follow(&url, earlier).await {
                Ok(response) if retry::is_transient(response.status()) => {
                    match self.retry.delay_after(retries, response.headers()) {
                        Some(delay) => (delay, format!("{} answered {}", name_of(&url), response.status())),
                        None => return Err(refused(response).await),
                    }
                }
                Ok(response) if response.status() == StatusCode::NOT_MODIFIED => {
                    return Ok(Revalidated::Unchanged);
                }
                Ok(response) if response.status() == StatusCode::OK => {
                    let stall = self.transport.stall;
                    return Ok(Revalidated::Changed(Download { response, stall }));
                }
                Ok(response) => return Err(refused(response).await),
                Err(error) => match self.retry.delay(retries) {
                    Some(delay) if may_pass(&error) => (delay, error.to_string()),
                    Some(_) | None => return Err(error),
                },
            };
            self.wait(delay, || reason).await;
            retries += 1;
        }
    }

    async fn follow(&self, url: &Url, earlier: &Validators) -> Result<Response, RegistryError> {
        let mut url = url.clone();
        for _ in 0..=REDIRECT_LIMIT {
            let mut request = self.transport.connector.http(&url)?.get(url.clone());
            for (name, value) in [(IF_NONE_MATCH, &earlier.etag), (IF_MODIFIED_SINCE, &earlier.last_modified)]
            {
                if let Some(value) = value.as_ref().and_then(|value| HeaderValue::from_str(value).ok()) {
                    request = request.header(name, value);
                }
            }
            let stall = self.transport.stall;
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
    /// Returns the next bytes, and `None` after the last.
    ///
    /// # Errors
    /// [`RegistryError::Connection`] when the connection breaks, [`RegistryError::Stalled`] when nothing comes.
    pub async fn next_chunk(&mut self) -> Result<Option<Bytes>, RegistryError> {
        let url = self.response.url().clone();
        let stalled = |_| RegistryError::Stalled { host: name_of(&url), seconds: self.stall.as_secs() };
        let chunk = time::timeout(self.stall, self.response.chunk()).await.map_err(stalled)?;
        chunk.map_err(|error| failure::of_request(&url, error))
    }

    /// The length the server announced.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// The validators to send with the next request for this file.
    #[must_use]
    pub fn validators(&self) -> Validators {
        Validators { etag: self.header(&ETAG), last_modified: self.header(&LAST_MODIFIED) }
    }

    /// `Content-Disposition`, which may name the file.
    #[must_use]
    pub fn content_disposition(&self) -> Option<String> {
        self.header(&CONTENT_DISPOSITION)
    }

    /// The path of the URL the file came from in the end, still percent-encoded.
    #[must_use]
    pub fn final_path(&self) -> &str {
        self.response.url().path()
    }

    fn header(&self, name: &HeaderName) -> Option<String> {
        self.response.headers().get(name)?.to_str().ok().map(str::to_owned)
    }
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
