//! Turns failed requests, and answers other than success, into errors.

use crate::{
    Access, RegistryError, TlsProblem,
    host::name_of,
    pace::{Lag, Pace},
    resolver::UnknownHost,
};
use rbuild_oci::{Digest, Reference};
use reqwest::{Response, StatusCode, Url};
use serde::Deserialize;
use std::{error::Error, io, time::Duration};

const ANSWER_LIMIT: usize = 64 << 10;
/// Longest message of a server that is shown, in bytes; a page of HTML would not help the reader.
const MESSAGE_LIMIT: usize = 300;

/// The subject of a request, which decides the message of its failure.
pub(crate) enum Subject<'a> {
    Manifest { reference: &'a Reference },
    Blob { reference: &'a Reference, digest: &'a Digest },
    Push { reference: &'a Reference },
    Login { domain: &'a str },
}

/// The error document of the distribution specification, with the fields that token servers use instead.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorDocument {
    errors: Vec<ErrorEntry>,
    details: String,
    message: String,
    error_description: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorEntry {
    code: String,
    message: String,
}

impl Subject<'_> {
    pub(crate) fn host(&self) -> &str {
        match self {
            Self::Manifest { reference } | Self::Blob { reference, .. } | Self::Push { reference } => {
                reference.domain()
            }
            Self::Login { domain } => domain,
        }
    }

    fn denied(&self, server: String) -> RegistryError {
        let host = self.host().to_owned();
        let (reference, access) = match self {
            Self::Login { .. } => return RegistryError::Unauthorized { host, server },
            Self::Manifest { reference } | Self::Blob { reference, .. } => (reference, Access::Pull),
            Self::Push { reference } => (reference, Access::Push),
        };
        RegistryError::AccessDenied { access, repository: reference.familiar_repository(), host, server }
    }
}

/// The error for `response`, whose status means that the request about `subject` failed.
pub(crate) async fn of_answer(response: Response, subject: &Subject<'_>) -> RegistryError {
    let status = response.status();
    // the body only adds an explanation: without it the status is enough
    let body = read_limited(response, ANSWER_LIMIT, subject.host()).await.unwrap_or_default();
    let (code, message) = explained(&body);
    match (status, subject) {
        (StatusCode::NOT_FOUND, Subject::Manifest { reference }) => {
            RegistryError::NotFound { reference: reference.to_string() }
        }
        (StatusCode::NOT_FOUND, Subject::Blob { reference, digest }) => {
            RegistryError::BlobNotFound { repository: reference.familiar_repository(), digest: **digest }
        }
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => subject.denied(message),
        _ => {
            RegistryError::Server { host: subject.host().to_owned(), status: status.as_u16(), code, message }
        }
    }
}

/// The error for a request to `url` that got no answer.
pub(crate) fn of_request(url: &Url, error: reqwest::Error) -> RegistryError {
    let host = name_of(url);
    // the only scheme whose failed handshake says that the other side does not speak it
    let tls = match url.scheme() {
        "https" => find::<rustls::Error>(&error).map(TlsProblem::of).or_else(|| alert(&error)),
        _ => None,
    };
    if tls.is_none() && is_unknown(&error) {
        return RegistryError::UnknownHost { host };
    }
    let refused = is_refused(&error);
    // URLs of redirects contain signatures, which must not be shown
    let source = Box::new(error.without_url());
    if let Some(problem) = tls {
        RegistryError::Tls { host, problem, source }
    } else if refused {
        RegistryError::Refused { host, source }
    } else {
        RegistryError::Connection { host, source }
    }
}

/// The error for a transfer from `url` that does not go on.
pub(crate) fn of_lag(url: &Url, lag: Lag) -> RegistryError {
    let host = name_of(url);
    match lag {
        Lag::Broken(error) => of_request(url, error),
        Lag::Silent { seconds } => RegistryError::Stalled { host, seconds },
        Lag::Slow { bytes, seconds } => RegistryError::Slow { host, bytes, seconds },
    }
}

/// The alert by which a server ends a connection after the handshake, of which the HTTP client keeps nothing but the text.
fn alert(error: &reqwest::Error) -> Option<TlsProblem> {
    let text = find::<io::Error>(error)?.to_string();
    let alert = text.strip_prefix("received fatal alert: ")?;
    Some(match alert {
        "BadCertificate" | "CertificateRequired" => TlsProblem::WantsCertificate,
        _ => TlsProblem::Other,
    })
}

/// The error for an answer that breaks the protocol.
pub(crate) fn protocol(domain: &str, problem: &str) -> RegistryError {
    RegistryError::Protocol { host: domain.to_owned(), problem: problem.to_owned() }
}

/// True if the other side speaks TLS but the handshake failed.
pub(crate) fn is_tls(error: &reqwest::Error) -> bool {
    match find::<rustls::Error>(error) {
        // the other side speaks plain HTTP, which rustls reports as an invalid message
        Some(rustls::Error::InvalidMessage(_)) | None => false,
        Some(_) => true,
    }
}

/// True if no name server knows the host.
pub(crate) fn is_unknown(error: &reqwest::Error) -> bool {
    find::<UnknownHost>(error).is_some()
}

pub(crate) fn is_refused(error: &reqwest::Error) -> bool {
    find::<io::Error>(error).is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// The first `T` in the chain of causes. The search looks inside `io::Error`, because its `source` skips the wrapped
/// error.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        let inner = error.downcast_ref::<io::Error>().and_then(|error| error.get_ref());
        next = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// The body of `response`, which must not be longer than `limit` bytes.
pub(crate) async fn read_limited(
    mut response: Response,
    limit: usize,
    domain: &str,
) -> Result<Vec<u8>, RegistryError> {
    const STALL: Duration = Duration::from_secs(60);
    let mut pace = Pace::new(STALL);
    let mut bytes = Vec::with_capacity(response.content_length().unwrap_or(0).min(limit as u64) as usize);
    loop {
        let next = pace.next(&mut response).await;
        let Some(chunk) = next.map_err(|lag| of_lag(response.url(), lag))? else { return Ok(bytes) };
        if bytes.len() + chunk.len() > limit {
            let subject = response.url().path().to_owned();
            return Err(RegistryError::TooLarge { host: domain.to_owned(), subject, limit: limit as u64 });
        }
        bytes.extend_from_slice(&chunk);
    }
}

/// Code and message of an error answer. A short text that is not HTML is its own message.
fn explained(body: &[u8]) -> (String, String) {
    let document: ErrorDocument = serde_json::from_slice(body).unwrap_or_default();
    if let Some(entry) = document.errors.into_iter().next() {
        return (entry.code, shortened(&entry.message));
    }
    let texts = [document.details, document.error_description, document.message];
    if let Some(text) = texts.into_iter().find(|text| !text.is_empty()) {
        return (String::new(), shortened(&text));
    }
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    let readable = !text.starts_with(['<', '{']) && text.len() <= MESSAGE_LIMIT;
    (String::new(), if readable { shortened(text) } else { String::new() })
}

/// The text on one line and without control characters, because a terminal would obey them.
fn shortened(text: &str) -> String {
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    clean.take(MESSAGE_LIMIT).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_explanations_are_found() {
        let json = br#"{"errors":[{"code":"MANIFEST_INVALID","message":"manifest invalid","detail":{}}]}"#;
        assert_eq!(explained(json), ("MANIFEST_INVALID".to_owned(), "manifest invalid".to_owned()));
        assert_eq!(explained(br#"{"details":"incorrect username"}"#).1, "incorrect username");
        assert_eq!(explained(b"<html>no</html>").1, "");
        assert_eq!(explained(b"try\x1b[31m later\n").1, "try [31m later");
    }
}
