//! Uploads of blobs (distribution specification, "Pushing blobs").
//!
//! A blob whose digest is known is sent in one PUT. A blob that is still being made is sent in one PATCH, and its digest
//! after it. [`crate::upload_session`] goes on where a broken one has stopped.

use crate::{
    Access, BlobBody, Client, RegistryError,
    failure::{self, Subject, protocol},
    request::{Call, RequestScope, Target, Timeout},
    transport::location,
    upload_session::{Delivered, Known, Session, UploadNotes},
};
use rbuild_oci::{Descriptor, Digest, Reference};
use reqwest::{Method, Response, StatusCode, Url};
use tokio::sync::oneshot;

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
    At(Session<'static>),
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
            UploadStart::At(session) => {
                // the registry has opened an upload instead
                self.give_up(reference, session.location).await;
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
        let session = self.open_session(reference).await?;
        self.give_up(reference, session.location).await;
        Ok(())
    }

    /// Closes an upload. A failure is ignored, because uploads expire by themselves.
    async fn give_up(&self, reference: &Reference, location: Url) {
        let scope = RequestScope::of(reference, Access::Push);
        let call = Call::new(Method::DELETE, Target::Location(location), scope);
        let _ = self.send_once(reference, &call).await;
    }

    /// Sends a blob to the repository of `reference`. Each try calls `open` for the bytes from the beginning, and goes on
    /// with those that the registry does not have yet.
    ///
    /// # Errors
    /// [`RegistryError::AccessDenied`]; [`RegistryError::Body`] when the bytes cannot be read or are not as many as the
    /// descriptor says; [`RegistryError::Server`] when the registry finds another digest; any failure of the connection.
    pub async fn upload_blob(
        &self,
        reference: &Reference,
        upload: BlobUpload<'_>,
        open: impl FnMut() -> BlobBody,
    ) -> Result<UploadOutcome, RegistryError> {
        let BlobUpload { descriptor: Descriptor { digest, size, .. }, mount_from } = upload;
        let session = match self.begin(reference, mount_from.map(|from| (digest, from))).await? {
            UploadStart::Mounted => return Ok(UploadOutcome::Mounted),
            UploadStart::At(session) => session,
        };
        let mut open = open;
        self.send_blob(reference, (digest, *size), session, &mut open).await?;
        Ok(UploadOutcome::Uploaded)
    }

    /// The same with a blob that no other repository has, going on with an earlier upload of it if the registry knows that
    /// still.
    ///
    /// # Errors
    /// As [`Self::upload_blob`].
    pub async fn upload_noted_blob(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        notes: UploadNotes<'_>,
        open: impl FnMut() -> BlobBody,
    ) -> Result<(), RegistryError> {
        let (blob, mut open) = ((&descriptor.digest, descriptor.size), open);
        if let Some(session) = self.take_up(reference, notes).await {
            let has_begun = session.has_begun();
            match self.send_blob(reference, blob, session, &mut open).await {
                Err(error) if has_begun && is_refusal(&error) => {}
                sent => return sent,
            }
        }
        let session = self.open_session(reference).await?.noted(notes);
        self.send_blob(reference, blob, session, &mut open).await
    }

    async fn send_blob(
        &self,
        reference: &Reference,
        (digest, size): (&Digest, u64),
        session: Session<'_>,
        open: &mut impl FnMut() -> BlobBody,
    ) -> Result<(), RegistryError> {
        match self.deliver(reference, Known::All(digest, size), session, open).await? {
            Delivered::Committed => Ok(()),
            Delivered::Open { location, .. } => self.commit(reference, location, digest).await,
        }
    }

    /// Sends a blob to the repository of `reference` while it is being made. Each try calls `open` for the bytes, the same
    /// from the beginning. After the last byte the maker sends the digest through the channel, or gives up the upload by
    /// dropping the sending end. Returns the number of bytes.
    ///
    /// # Errors
    /// As [`Self::upload_blob`], and [`RegistryError::Abandoned`].
    pub async fn upload_stream(
        &self,
        reference: &Reference,
        mut open: impl FnMut() -> (BlobBody, oneshot::Receiver<Digest>),
    ) -> Result<u64, RegistryError> {
        let session = self.open_session(reference).await?;
        self.send_stream(reference, session, &mut open).await
    }

    /// The same, going on with an earlier upload of these bytes if the registry knows that still.
    ///
    /// # Errors
    /// As [`Self::upload_stream`].
    pub async fn upload_noted_stream(
        &self,
        reference: &Reference,
        notes: UploadNotes<'_>,
        mut open: impl FnMut() -> (BlobBody, oneshot::Receiver<Digest>),
    ) -> Result<u64, RegistryError> {
        if let Some(session) = self.take_up(reference, notes).await {
            let has_begun = session.has_begun();
            match self.send_stream(reference, session, &mut open).await {
                // the bytes that were sent then may have been others, made by another version
                Err(error) if has_begun && is_refusal(&error) => {}
                sent => return sent,
            }
        }
        let session = self.open_session(reference).await?.noted(notes);
        self.send_stream(reference, session, &mut open).await
    }

    async fn send_stream(
        &self,
        reference: &Reference,
        session: Session<'_>,
        open: &mut impl FnMut() -> (BlobBody, oneshot::Receiver<Digest>),
    ) -> Result<u64, RegistryError> {
        let mut stated = None;
        let mut open = || {
            let (body, digest) = open();
            stated = Some(digest);
            body
        };
        let delivered = self.deliver(reference, Known::Nothing, session, &mut open).await?;
        let abandoned = || RegistryError::Abandoned { repository: reference.familiar_repository() };
        let (Delivered::Open { location, size }, Some(digest)) = (delivered, stated) else {
            return Err(abandoned());
        };
        let digest = digest.await.map_err(|_| abandoned())?;
        self.commit(reference, location, &digest).await.map(|()| size)
    }

    /// Finishes an upload after its last byte. If an answer is lost, the next try finds the upload unknown; the call then
    /// succeeds if the repository has the blob.
    async fn commit(
        &self,
        reference: &Reference,
        location: Url,
        digest: &Digest,
    ) -> Result<(), RegistryError> {
        let mut location = location;
        location.query_pairs_mut().append_pair("digest", &digest.to_string());
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

    /// Opens an upload.
    pub(crate) async fn open_session(
        &self,
        reference: &Reference,
    ) -> Result<Session<'static>, RegistryError> {
        match self.begin(reference, None).await? {
            UploadStart::At(session) => Ok(session),
            UploadStart::Mounted => Err(protocol(reference.domain(), "a mount that was not asked for")),
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
            StatusCode::ACCEPTED => {
                let location = self.upload_location(reference, &response).await?;
                Ok(UploadStart::At(Session::new(location, &response)))
            }
            _ => Err(failure::of_answer(response, &Subject::Push { reference }).await),
        }
    }

    /// The location that the registry gives for the next request of an upload. A registry behind a proxy that ends TLS
    /// may give a plain one; its own host is always reached with the protection that it had before.
    pub(crate) async fn upload_location(
        &self,
        reference: &Reference,
        response: &Response,
    ) -> Result<Url, RegistryError> {
        let domain = reference.domain();
        let url = location(response).ok_or_else(|| protocol(domain, "an upload without a location"))?;
        self.protected(reference, url).await
    }

    /// The location `url` with the protection that the registry's own host has.
    pub(crate) async fn protected(&self, reference: &Reference, url: Url) -> Result<Url, RegistryError> {
        let domain = reference.domain();
        let endpoint = self.transport.configured()?.connector.endpoint(domain).await?;
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
}

/// True if the registry has answered that it does not take what was sent.
fn is_refusal(error: &RegistryError) -> bool {
    matches!(error, RegistryError::Server { status: 400..=499, .. })
}
