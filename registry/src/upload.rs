//! Uploads of blobs (distribution specification, "Pushing blobs").
//!
//! A blob whose digest is known is sent in one PUT, which can start over when it fails. A blob that is still being made
//! is sent in one PATCH, and its digest after it. That cannot start over, because the sender would have to make it again.

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
    /// The blob's digest and size.
    pub descriptor: &'a Descriptor,
    /// The path of another repository of the same registry that may have the blob, so that its bytes need not be sent.
    pub mount_from: Option<&'a str>,
}

/// The way in which a blob came into the repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadOutcome {
    /// The registry took it from another repository.
    Mounted,
    /// Its bytes were sent.
    Uploaded,
}

/// The registry's answer to the request to take a blob from another of its repositories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountOutcome {
    /// The registry took the blob.
    Mounted,
    /// The registry did not, because the other repository lacks the blob or may not be read, or it cannot mount at all.
    Refused,
}

/// The answer to the request for an upload.
enum UploadStart {
    Mounted,
    At(Url),
}

impl Client {
    /// Asks whether the repository of `reference` has the blob.
    ///
    /// # Errors
    /// [`RegistryError::AccessDenied`], any failure of the connection.
    pub async fn blob_exists(&self, reference: &Reference, digest: &Digest) -> Result<bool, RegistryError> {
        // the scope includes pushing, so that one token serves for the upload too
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
            UploadStart::Mounted => Ok(MountOutcome::Mounted),
            UploadStart::At(location) => {
                // the registry has opened an upload instead
                self.give_up(reference, location).await;
                Ok(MountOutcome::Refused)
            }
        }
    }

    /// Asks whether the registry lets this client push to the repository of `reference`, by opening an upload and closing
    /// it again. Nothing is stored.
    ///
    /// # Errors
    /// [`RegistryError::AccessDenied`] or [`RegistryError::Unauthorized`] when it does not; any failure of the connection.
    pub async fn check_push(&self, reference: &Reference) -> Result<(), RegistryError> {
        if let UploadStart::At(location) = self.begin(reference, None).await? {
            self.give_up(reference, location).await;
        }
        Ok(())
    }

    /// Closes an upload. A failure is ignored, because uploads expire by themselves.
    async fn give_up(&self, reference: &Reference, location: Url) {
        let scope = RequestScope::of(reference, Access::Push);
        let call = Call::new(Method::DELETE, Target::Location(location), scope);
        let _ = self.send_once(reference, &call).await;
    }

    /// Sends a blob to the repository of `reference`. Each try calls `open` for the bytes from the beginning.
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
                UploadStart::Mounted => return Ok(UploadOutcome::Mounted),
                UploadStart::At(location) => location,
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

    /// Sends a blob to the repository of `reference` while it is being made. After its last byte the maker sends the
    /// digest through `digest`, or gives up the upload by dropping the sending end. Returns the number of bytes sent.
    ///
    /// # Errors
    /// As [`Self::upload_blob`], and [`RegistryError::Abandoned`]. A broken connection is final.
    pub async fn upload_stream(
        &self,
        reference: &Reference,
        body: BlobBody,
        digest: oneshot::Receiver<Digest>,
    ) -> Result<u64, RegistryError> {
        let UploadStart::At(location) = self.begin(reference, None).await? else {
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

    /// Finishes an upload after its last byte. If an answer is lost, the next try finds the upload unknown; the call then
    /// succeeds if the repository has the blob.
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
    ) -> Result<UploadStart, RegistryError> {
        let mut call = Self::call(Method::POST, reference, Access::Push, "blobs/uploads/");
        if let (Some((digest, from)), Target::Path(path)) = (mount, &mut call.target) {
            // digest and path consist of characters that need no escapes in a query
            path.push_str(&format!("?mount={digest}&from={from}"));
            call.scope.scopes = call.scope.scopes.and_pull(from);
        }
        let response = self.send(reference, &call).await?;
        match response.status() {
            StatusCode::CREATED if mount.is_some() => Ok(UploadStart::Mounted),
            StatusCode::ACCEPTED => Ok(UploadStart::At(self.upload_location(reference, &response).await?)),
            _ => Err(failure::of_answer(response, &Subject::Push { reference }).await),
        }
    }

    /// The location that the registry gives for the next request of an upload. A registry behind a proxy that ends TLS
    /// may give a plain one; its own host is always reached with the protection that it had before.
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

    /// Sends `body` with `request`, without retries.
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

    /// Returns an error when the network has taken no bytes for too long. Time spent waiting for the producer does not
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

/// True if a new upload session may succeed where the old one failed, because the failure was transient, the token
/// expired while the bytes were sent, or the registry lost the session.
fn starts_over(status: StatusCode) -> bool {
    retry::is_transient(status)
        || matches!(
            status,
            StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND | StatusCode::RANGE_NOT_SATISFIABLE
        )
}
