//! Blobs going out (distribution specification, "Pushing blobs").
//!
//! A blob whose digest is known goes in one PUT, and can be started over when it fails. One that is made on the fly goes in
//! one PATCH, whose end brings the digest, and cannot: its sender would have to make it again.

use crate::{
    Access, BlobBody, Client, RegistryError,
    auth::Authorization,
    body::{Outgoing, Progress},
    endpoint::Endpoint,
    failure::{self, Subject, protocol},
    host::{name_of, same_origin},
    request::{Call, RequestScope, Target, Timeout},
    retry,
    transport::{COMMIT_LIMIT, location, may_pass},
};
use rbuild_oci::{Descriptor, Digest, Reference};
use reqwest::{
    Body, Method, Request, Response, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderValue},
};
use std::sync::Arc;
use tokio::{sync::oneshot, time};

const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// A blob to upload whose digest is known.
#[derive(Clone, Copy, Debug)]
pub struct BlobUpload<'a> {
    /// Digest and size.
    pub descriptor: &'a Descriptor,
    /// Path of another repository of the same registry that may have it, so that no byte need be sent.
    pub mount_from: Option<&'a str>,
}

/// How a blob came to be in the repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadOutcome {
    /// The registry took it from another repository.
    Mounted,
    /// Its bytes were sent.
    Uploaded,
}

/// Whether a registry took a blob from another of its repositories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountOutcome {
    /// It did.
    Mounted,
    /// It did not: the other repository does not have it, may not be read, or the registry cannot mount.
    Refused,
}

/// What came of asking for an upload.
enum Begun {
    Mounted,
    At(Url),
}

impl Client {
    /// Whether the repository of `reference` has the blob.
    ///
    /// # Errors
    /// [`RegistryError::AccessDenied`], any failure of the connection.
    pub async fn blob_exists(&self, reference: &Reference, digest: &Digest) -> Result<bool, RegistryError> {
        // asked with the right to push, so that the token serves for the upload too
        let call = Self::call(Method::HEAD, reference, Access::Push, &format!("blobs/{digest}"));
        let response = self.send(reference, &call).await?;
        match response.status() {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(failure::of_answer(response, &Subject::Push { reference }).await),
        }
    }

    /// Asks the registry to take blob `digest` from its repository `from` into that of `reference`.
    ///
    /// # Errors
    /// [`RegistryError::AccessDenied`], any failure of the connection.
    pub async fn mount_blob(
        &self,
        reference: &Reference,
        digest: &Digest,
        from: &str,
    ) -> Result<MountOutcome, RegistryError> {
        match self.begin(reference, Some((digest, from))).await? {
            Begun::Mounted => Ok(MountOutcome::Mounted),
            Begun::At(location) => {
                // The registry has opened an upload instead. It would expire by itself, so a failure here is none.
                let scope = RequestScope::of(reference, Access::Push);
                let call = Call::new(Method::DELETE, Target::Location(location), scope);
                let _ = self.send(reference, &call).await;
                Ok(MountOutcome::Refused)
            }
        }
    }

    /// Brings a blob into the repository of `reference`. `open` gives its bytes from the beginning, once for each try.
    ///
    /// # Errors
    /// [`RegistryError::AccessDenied`]; [`RegistryError::Body`] when the bytes cannot be read or are not as many as the
    /// descriptor says; [`RegistryError::Server`] when the registry finds another digest; any failure of the connection.
    pub async fn upload_blob(
        &self,
        reference: &Reference,
        upload: BlobUpload<'_>,
        mut open: impl FnMut() -> BlobBody,
    ) -> Result<UploadOutcome, RegistryError> {
        let BlobUpload { descriptor, mount_from } = upload;
        let mut mount = mount_from.map(|from| (&descriptor.digest, from));
        let mut retries = 0;
        loop {
            let mut location = match self.begin(reference, mount.take()).await? {
                Begun::Mounted => return Ok(UploadOutcome::Mounted),
                Begun::At(location) => location,
            };
            location.query_pairs_mut().append_pair("digest", &descriptor.digest.to_string());
            let (body, progress) = Outgoing::new(open(), Some(descriptor.size));
            let sent = self.transfer(reference, Request::new(Method::PUT, location), body, &progress).await;
            let (failed, delay) = match sent {
                Ok(response) if response.status().is_success() => return Ok(UploadOutcome::Uploaded),
                Ok(response) => {
                    let delay = self.transport.retry.delay_after(retries, response.headers());
                    let delay = delay.filter(|_| starts_over(response.status()));
                    (failure::of_answer(response, &Subject::Push { reference }).await, delay)
                }
                Err(error) => {
                    let delay = self.transport.retry.delay(retries).filter(|_| may_pass(&error));
                    (error, delay)
                }
            };
            let Some(delay) = delay else { return Err(failed) };
            time::sleep(delay).await;
            retries += 1;
        }
    }

    /// Brings a blob into the repository of `reference` while it is being made. After its last byte its maker states the
    /// digest through `digest`; dropping the sending end instead gives the upload up. Returns the bytes sent.
    ///
    /// # Errors
    /// As [`Self::upload_blob`], and [`RegistryError::Abandoned`]. A broken connection is final.
    pub async fn upload_stream(
        &self,
        reference: &Reference,
        body: BlobBody,
        digest: oneshot::Receiver<Digest>,
    ) -> Result<u64, RegistryError> {
        let Begun::At(location) = self.begin(reference, None).await? else {
            return Err(protocol(reference.domain(), "a mount that was not asked for"));
        };
        let (body, progress) = Outgoing::new(body, None);
        let patch = Request::new(Method::PATCH, location);
        let response = self.transfer(reference, patch, body, &progress).await?;
        if !response.status().is_success() {
            return Err(failure::of_answer(response, &Subject::Push { reference }).await);
        }
        let mut location = self.upload_location(reference, &response).await?;
        let abandoned = |_| RegistryError::Abandoned { repository: reference.familiar_repository() };
        let digest = digest.await.map_err(abandoned)?;
        location.query_pairs_mut().append_pair("digest", &digest.to_string());
        self.commit(reference, location, &digest).await.map(|()| progress.sent())
    }

    /// Ends an upload whose bytes are all there. An answer may get lost and the upload be unknown at the next try, so
    /// what counts in the end is whether the blob is there.
    async fn commit(
        &self,
        reference: &Reference,
        location: Url,
        digest: &Digest,
    ) -> Result<(), RegistryError> {
        let scope = RequestScope::of(reference, Access::Push);
        let mut call = Call::new(Method::PUT, Target::Location(location), scope);
        call.timeout = Timeout::Commit;
        let failed = match self.send(reference, &call).await {
            Ok(response) if response.status().is_success() => return Ok(()),
            Ok(response) => failure::of_answer(response, &Subject::Push { reference }).await,
            Err(error) => error,
        };
        match self.blob_exists(reference, digest).await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(failed),
        }
    }

    /// Opens an upload, or mounts the blob from another repository if that is possible.
    async fn begin(
        &self,
        reference: &Reference,
        mount: Option<(&Digest, &str)>,
    ) -> Result<Begun, RegistryError> {
        let mut call = Self::call(Method::POST, reference, Access::Push, "blobs/uploads/");
        if let (Some((digest, from)), Target::Path(path)) = (mount, &mut call.target) {
            // both are made of characters that stand for themselves in a query
            path.push_str(&format!("?mount={digest}&from={from}"));
            call.scope.scopes = call.scope.scopes.and_pull(from);
        }
        let response = self.send(reference, &call).await?;
        match response.status() {
            StatusCode::CREATED if mount.is_some() => Ok(Begun::Mounted),
            StatusCode::ACCEPTED => Ok(Begun::At(self.upload_location(reference, &response).await?)),
            _ => Err(failure::of_answer(response, &Subject::Push { reference }).await),
        }
    }

    /// Where the registry wants the next request of an upload. One behind a proxy that ends TLS may not know that it is
    /// reached by TLS; its own host is never spoken to with less than before.
    async fn upload_location(
        &self,
        reference: &Reference,
        response: &Response,
    ) -> Result<Url, RegistryError> {
        let domain = reference.domain();
        let url = location(response).ok_or_else(|| protocol(domain, "an upload without a location"))?;
        let endpoint = self.transport.connector.endpoint(domain).await?;
        let base = endpoint.base();
        if base.scheme() != "https" || url.scheme() != "http" {
            return Ok(url);
        }
        if url.host_str() != base.host_str() {
            return Err(protocol(domain, "an upload location without TLS"));
        }
        let mut upgraded = base.clone();
        upgraded.set_path(url.path());
        upgraded.set_query(url.query());
        Ok(upgraded)
    }

    /// Sends `body` with `request`, once.
    async fn transfer(
        &self,
        reference: &Reference,
        mut request: Request,
        body: Outgoing,
        progress: &Arc<Progress>,
    ) -> Result<Response, RegistryError> {
        let scope = RequestScope::of(reference, Access::Push);
        let (endpoint, authorization): (Arc<Endpoint>, Authorization) =
            self.transport.ready(reference.domain(), &scope).await?;
        let url = request.url().clone();
        request.headers_mut().insert(CONTENT_TYPE, OCTETS);
        *request.body_mut() = Some(Body::wrap(body));
        let sending = self.transport.exchange(&endpoint, request, &authorization);
        let result = tokio::select! {
            result = sending => result,
            error = self.stalled(progress, &url) => Err(error),
        };
        if let Some(source) = progress.take_error() {
            return Err(RegistryError::Body { repository: reference.familiar_repository(), source });
        }
        let response = result?;
        if response.status() == StatusCode::UNAUTHORIZED && same_origin(&url, endpoint.base()) {
            self.transport.auth.refused(&endpoint, &scope, &authorization, response.headers())?;
        }
        Ok(response)
    }

    /// Ends, with the error to give, when the network takes no more bytes for too long. Waiting for the producer does not
    /// count.
    async fn stalled(&self, progress: &Progress, url: &Url) -> RegistryError {
        let limit = self.transport.stall;
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

/// Whether a new upload session may succeed where the old one failed: the trouble was transient, the token had become
/// too old while the bytes were sent, or the registry lost the session.
fn starts_over(status: StatusCode) -> bool {
    retry::is_transient(status)
        || matches!(
            status,
            StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND | StatusCode::RANGE_NOT_SATISFIABLE
        )
}
