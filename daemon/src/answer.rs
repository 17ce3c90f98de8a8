//! Answers of a daemon: documents within a limit, errors in its words, and the lines that tell how a load goes.

use crate::DaemonError;
use reqwest::Response;
use serde::{Deserialize, de::DeserializeOwned};
use std::time::Duration;
use tokio::time;

/// The longest document that is read, in bytes: a list of thousands of images has less.
const DOCUMENT_LIMIT: usize = 64 << 20;
/// The longest line of progress that is read, in bytes.
const LINE_LIMIT: usize = 1 << 20;
/// The longest message of a daemon that is shown, in bytes.
const MESSAGE_LIMIT: usize = 2000;
/// The longest wait for an answer, or for its next piece.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What an answer is about: the daemon and the request.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) address: &'a str,
    pub(crate) request: &'static str,
}

/// One line of a load's progress.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Line {
    stream: String,
    error: String,
    #[serde(rename = "errorDetail")]
    detail: Detail,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Detail {
    message: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Message {
    message: String,
}

impl Subject<'_> {
    pub(crate) fn stalled(&self) -> DaemonError {
        DaemonError::Stalled { address: self.address.to_owned(), seconds: PATIENCE.as_secs() }
    }

    pub(crate) fn nonsense(&self, problem: &dyn std::fmt::Display) -> DaemonError {
        let address = self.address.to_owned();
        DaemonError::Protocol { address, request: self.request, problem: problem.to_string() }
    }

    pub(crate) fn broken(&self, error: reqwest::Error) -> DaemonError {
        DaemonError::Connection { address: self.address.to_owned(), source: Box::new(error.without_url()) }
    }

    /// The document in `response`.
    pub(crate) async fn document<T: DeserializeOwned>(&self, response: Response) -> Result<T, DaemonError> {
        let bytes = self.bytes(response).await?;
        serde_json::from_slice(&bytes).map_err(|error| self.nonsense(&error))
    }

    /// The error that `response` is.
    pub(crate) async fn refusal(&self, response: Response) -> DaemonError {
        let status = response.status();
        // the body only adds an explanation: without it the status is enough
        let bytes = self.bytes(response).await.unwrap_or_default();
        let said: Message = serde_json::from_slice(&bytes).unwrap_or_default();
        let words = if said.message.is_empty() {
            status.canonical_reason().unwrap_or_default()
        } else {
            &said.message
        };
        DaemonError::Refused {
            address: self.address.to_owned(),
            request: self.request,
            status: status.as_u16(),
            message: shortened(words),
        }
    }

    async fn bytes(&self, mut response: Response) -> Result<Vec<u8>, DaemonError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.piece(&mut response, Some(PATIENCE)).await? {
            if bytes.len() + chunk.len() > DOCUMENT_LIMIT {
                return Err(self.nonsense(&format!("more than {DOCUMENT_LIMIT} bytes")));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    /// The next piece of a body; a load is waited for as long as it takes.
    async fn piece(
        &self,
        response: &mut Response,
        patience: Option<Duration>,
    ) -> Result<Option<bytes::Bytes>, DaemonError> {
        let chunk = match patience {
            Some(limit) => time::timeout(limit, response.chunk()).await.map_err(|_| self.stalled())?,
            None => response.chunk().await,
        };
        chunk.map_err(|error| self.broken(error))
    }

    /// Reads how a load goes until its end.
    ///
    /// # Errors
    /// [`DaemonError::Load`] with the daemon's words when one of the lines says that it failed.
    pub(crate) async fn loaded(&self, mut response: Response) -> Result<(), DaemonError> {
        let mut pending = Vec::new();
        while let Some(chunk) = self.piece(&mut response, None).await? {
            pending.extend_from_slice(&chunk);
            while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
                self.line(&pending[..end])?;
                pending.drain(..=end);
            }
            if pending.len() > LINE_LIMIT {
                return Err(self.nonsense(&format!("a line of more than {LINE_LIMIT} bytes")));
            }
        }
        self.line(&pending)
    }

    fn line(&self, bytes: &[u8]) -> Result<(), DaemonError> {
        if bytes.trim_ascii().is_empty() {
            return Ok(());
        }
        let line: Line = serde_json::from_slice(bytes).map_err(|error| self.nonsense(&error))?;
        // docker's containerd store tells of an image that it has and cannot run as if it were progress
        let unpacking = line.stream.starts_with("Error unpacking");
        let said = [&line.error, &line.detail.message].into_iter().find(|text| !text.is_empty());
        match said.or(unpacking.then_some(&line.stream)) {
            None => Ok(()),
            Some(words) => {
                Err(DaemonError::Load { address: self.address.to_owned(), message: shortened(words.trim()) })
            }
        }
    }
}

/// The beginning of a foreign text.
fn shortened(text: &str) -> String {
    let end = (0..=text.len().min(MESSAGE_LIMIT)).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text[..end].to_owned()
}
