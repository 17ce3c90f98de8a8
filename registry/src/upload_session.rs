//! The way of one blob's bytes into an upload (distribution specification, "Pushing blobs").
//!
//! The first try sends everything in one request, which is what registries expect most. When it breaks, the registry is
//! asked how much it has (`Range`), and the rest follows from there, in parts if the size is known, so that each part that
//! arrives is a step forward. A registry that has lost the upload gets a new one.

use crate::{
    Access, BlobBody, Client, RegistryError, auth,
    failure::{self, Subject},
    host::{name_of, same_origin},
    outgoing::{Outgoing, Progress, Supply},
    request::{Call, RequestScope, Target},
    retry::{self, Attempts},
    transport::{COMMIT_LIMIT, may_pass},
};
use rbuild_oci::{Digest, Reference};
use reqwest::{
    Body, Method, Request, Response, StatusCode, Url,
    header::{CONTENT_RANGE, CONTENT_TYPE, HeaderValue, RANGE},
};
use std::time::Duration;
use tokio::time;

const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");
/// The length of one part after a broken upload, unless the registry wants longer ones.
const PART: u64 = 16 << 20;
/// The header in which a registry states the shortest part it takes.
const SHORTEST_PART: &str = "oci-chunk-min-length";

/// What is kept of an upload, so that another process can go on with it should this one end before.
#[derive(Clone, Copy)]
pub struct UploadNotes<'a> {
    /// The location that was noted of an earlier upload of the same bytes into the same repository.
    pub earlier: Option<&'a str>,
    /// Notes the location of the upload; called each time it changes.
    pub note: &'a (dyn Fn(&str) + Send + Sync),
}

/// An upload that the registry has opened.
pub(crate) struct Session<'a> {
    pub(crate) location: Url,
    /// The length of a part.
    part: u64,
    /// Number of bytes that the registry has.
    offset: u64,
    notes: Option<UploadNotes<'a>>,
}

/// What is known beforehand of a blob to send.
#[derive(Clone, Copy)]
pub(crate) enum Known<'a> {
    /// It is still being made.
    Nothing,
    /// Its digest and size.
    All(&'a Digest, u64),
}

/// How far the bytes got.
pub(crate) enum Delivered {
    /// The registry has the whole blob under its digest.
    Committed,
    /// All bytes are in the upload, which has to be finished.
    Open { location: Url, size: u64 },
}

/// Why the bytes did not get through.
struct Interrupted {
    error: RegistryError,
    /// The wait that the registry asks for; `None` when another try would change nothing.
    wait: Option<Duration>,
}

impl<'a> Session<'a> {
    /// The upload at `location`, with what the registry says of it in `response`.
    pub(crate) fn new(location: Url, response: &Response) -> Self {
        let shortest =
            response.headers().get(SHORTEST_PART).and_then(|value| value.to_str().ok()?.parse().ok());
        // a registry that wants longer parts than this does not want parts
        let part = PART.max(shortest.unwrap_or(0)).min(PART * 16);
        Self { location, part, offset: 0, notes: None }
    }

    /// The same, noted from now on.
    pub(crate) fn noted(self, notes: UploadNotes<'a>) -> Self {
        (notes.note)(self.location.as_str());
        Self { notes: Some(notes), ..self }
    }

    /// True if an earlier try has sent some of the bytes.
    pub(crate) fn has_begun(&self) -> bool {
        self.offset > 0
    }

    fn move_to(&mut self, location: Url) {
        if let Some(notes) = self.notes.filter(|_| self.location != location) {
            (notes.note)(location.as_str());
        }
        self.location = location;
    }
}

impl Known<'_> {
    fn size(self) -> Option<u64> {
        match self {
            Self::Nothing => None,
            Self::All(_, size) => Some(size),
        }
    }
}

impl Client {
    /// Sends the bytes that `open` gives, from the beginning each time it is called, through `session`.
    pub(crate) async fn deliver(
        &self,
        reference: &Reference,
        known: Known<'_>,
        mut session: Session<'_>,
        open: &mut impl FnMut() -> BlobBody,
    ) -> Result<Delivered, RegistryError> {
        let mut attempts = Attempts::new();
        let mut whole = session.offset == 0;
        loop {
            let supply = Supply::new(open(), (known.size(), session.offset), &self.pulse);
            let sent = if whole {
                self.send_whole(reference, known, &session, &supply).await
            } else {
                self.send_parts(reference, &mut session, &supply).await
            };
            let Interrupted { error, wait } = match sent {
                Ok(delivered) => return Ok(delivered),
                Err(interrupted) => interrupted,
            };
            let delay = attempts.next(&self.retry, session.offset);
            let (Some(delay), Some(asked)) = (delay, wait) else { return Err(error) };
            self.wait(delay.max(asked), || error.to_string()).await;
            self.refresh(reference, &mut session).await?;
            whole = session.offset == 0 && known.size().is_none_or(|size| size <= session.part);
        }
    }

    /// Sends all bytes in one request; a blob that is known is complete with it.
    async fn send_whole(
        &self,
        reference: &Reference,
        known: Known<'_>,
        session: &Session<'_>,
        supply: &Supply,
    ) -> Result<Delivered, Interrupted> {
        let mut location = session.location.clone();
        let method = match known {
            Known::Nothing => Method::PATCH,
            Known::All(digest, _) => {
                location.query_pairs_mut().append_pair("digest", &digest.to_string());
                Method::PUT
            }
        };
        let request = Request::new(method, location);
        let response = self.part(reference, request, supply.rest(), supply.progress()).await?;
        match known {
            Known::All(..) => Ok(Delivered::Committed),
            Known::Nothing => self.opened(reference, &response, supply).await,
        }
    }

    /// Sends the bytes that the registry does not have yet: in parts if the size is known, else in one request.
    async fn send_parts(
        &self,
        reference: &Reference,
        session: &mut Session<'_>,
        supply: &Supply,
    ) -> Result<Delivered, Interrupted> {
        let Some(size) = supply.size() else {
            let request = Request::new(Method::PATCH, session.location.clone());
            let response = self.part(reference, request, supply.rest(), supply.progress()).await?;
            return self.opened(reference, &response, supply).await;
        };
        while session.offset < size {
            let length = session.part.min(size - session.offset);
            let mut request = Request::new(Method::PATCH, session.location.clone());
            let range = format!("{}-{}", session.offset, session.offset + length - 1);
            let range = HeaderValue::from_str(&range).expect("digits are header text");
            request.headers_mut().insert(CONTENT_RANGE, range);
            let response = self.part(reference, request, supply.part(length), supply.progress()).await?;
            let location = self.upload_location(reference, &response).await;
            session.move_to(location.map_err(Interrupted::finally)?);
            session.offset += length;
        }
        Ok(Delivered::Open { location: session.location.clone(), size })
    }

    async fn opened(
        &self,
        reference: &Reference,
        response: &Response,
        supply: &Supply,
    ) -> Result<Delivered, Interrupted> {
        let location = self.upload_location(reference, response).await.map_err(Interrupted::finally)?;
        Ok(Delivered::Open { location, size: supply.progress().sent() })
    }

    /// The upload that `notes` tell of, if the registry can be asked and knows it still.
    pub(crate) async fn take_up<'a>(
        &self,
        reference: &Reference,
        notes: UploadNotes<'a>,
    ) -> Option<Session<'a>> {
        let location = Url::parse(notes.earlier?).ok()?;
        // the protection of the connection may be another than when it was noted
        let location = self.protected(reference, location).await.ok()?;
        let response = self.status_of(reference, &location).await.ok()?;
        if response.status() != StatusCode::NO_CONTENT {
            return None;
        }
        let location = self.upload_location(reference, &response).await.unwrap_or(location);
        let offset = received(&response);
        Some(Session { offset, ..Session::new(location, &response) }.noted(notes))
    }

    /// Asks how far an upload has come.
    async fn status_of(&self, reference: &Reference, location: &Url) -> Result<Response, RegistryError> {
        let scope = RequestScope::of(reference, Access::Push);
        self.send(reference, &Call::new(Method::GET, Target::Location(location.clone()), scope)).await
    }

    /// Asks how much of an interrupted upload has arrived. An upload that the registry does not know any more is replaced
    /// by a new one.
    async fn refresh(&self, reference: &Reference, session: &mut Session<'_>) -> Result<(), RegistryError> {
        let response = self.status_of(reference, &session.location).await?;
        if response.status() == StatusCode::NO_CONTENT {
            session.offset = received(&response);
            if let Ok(location) = self.upload_location(reference, &response).await {
                session.move_to(location);
            }
        } else {
            let fresh = self.open_session(reference).await?;
            session.offset = 0;
            session.move_to(fresh.location);
        }
        Ok(())
    }

    /// Sends one request with a part of the bytes, without retries.
    async fn part(
        &self,
        reference: &Reference,
        mut request: Request,
        body: Outgoing,
        progress: &Progress,
    ) -> Result<Response, Interrupted> {
        let scope = RequestScope::of(reference, Access::Push);
        let transport = self.transport.configured().map_err(Interrupted::by)?;
        let ready = transport.ready(reference.domain(), &scope).await;
        let (endpoint, authorization) = ready.map_err(Interrupted::by)?;
        let url = request.url().clone();
        request.headers_mut().insert(CONTENT_TYPE, OCTETS);
        *request.body_mut() = Some(Body::wrap(body));
        let sending = transport.exchange(&endpoint, request, &authorization);
        let result = tokio::select! {
            result = sending => result,
            error = self.stalled(progress, &url) => Err(error),
        };
        if let Some(source) = progress.take_error() {
            let repository = reference.familiar_repository();
            return Err(Interrupted::finally(RegistryError::Body { repository, source }));
        }
        let response = result.map_err(Interrupted::by)?;
        self.pulse.answered();
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let mut wait = starts_over(status).then(|| retry::asked_wait(response.headers()));
        if status == StatusCode::UNAUTHORIZED && same_origin(&url, endpoint.base()) {
            // the token expired on the way
            let learned = transport.auth.refused(&endpoint, &scope, &authorization, response.headers());
            learned.map_err(Interrupted::finally)?;
            wait = wait.filter(|_| !auth::is_final(response.headers()));
        }
        Err(Interrupted { error: failure::of_answer(response, &Subject::Push { reference }).await, wait })
    }

    /// Returns an error when the network has taken no bytes for too long. Time spent waiting for the producer does not
    /// count.
    async fn stalled(&self, progress: &Progress, url: &Url) -> RegistryError {
        let limit = self.stall;
        let mut seen = 0;
        loop {
            time::sleep(limit).await;
            if progress.is_ended() {
                time::sleep(COMMIT_LIMIT).await;
                return RegistryError::Stalled { host: name_of(url), seconds: COMMIT_LIMIT.as_secs() };
            }
            let asked = progress.asked();
            if asked == seen && !progress.waits_for_producer() {
                return RegistryError::Stalled { host: name_of(url), seconds: limit.as_secs() };
            }
            seen = asked;
        }
    }
}

impl Interrupted {
    fn finally(error: RegistryError) -> Self {
        Self { error, wait: None }
    }

    fn by(error: RegistryError) -> Self {
        let wait = may_pass(&error).then_some(Duration::ZERO);
        Self { error, wait }
    }
}

/// Number of bytes that the registry says it has, in `Range: 0-last`. It says `0-0` of an empty upload, so that one with a
/// single byte counts as empty; the registry then refuses the next part, and the upload starts over.
fn received(response: &Response) -> u64 {
    let range = response.headers().get(RANGE).and_then(|value| value.to_str().ok());
    let last =
        range.and_then(|range| range.trim_start_matches("bytes=").split_once('-')?.1.trim().parse().ok());
    last.map_or(0, |last: u64| if last == 0 { 0 } else { last + 1 })
}

/// True if another try may succeed where this one failed, because the failure was transient, the token expired while the
/// bytes were sent, or the registry lost the upload.
fn starts_over(status: StatusCode) -> bool {
    retry::is_transient(status)
        || matches!(
            status,
            StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND | StatusCode::RANGE_NOT_SATISFIABLE
        )
}
