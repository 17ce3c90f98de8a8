//! Manifests and indexes, which are small enough to be read and written whole.

use crate::{
    Access, Client, RegistryError,
    failure::{self, Subject, protocol, read_limited},
    request::{Call, RequestScope},
};
use bytes::Bytes;
use rbuild_oci::{Digest, MediaType, Reference};
use reqwest::{
    Method, Response, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue},
};
use serde::Deserialize;

/// The longest manifest or index that is read, in bytes. Registries have the same limit.
pub const MANIFEST_LIMIT: u64 = 4 << 20;

const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";
const DIGEST_HEADER: &str = "docker-content-digest";

/// A manifest or index, whose digest was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedManifest {
    /// The digest of `bytes`.
    pub digest: Digest,
    /// The media type of the document.
    pub media_type: MediaType,
    /// The document.
    pub bytes: Bytes,
}

/// The digest, type and size of the document that a reference points at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestHead {
    /// The digest of the document, as the registry states it.
    pub digest: Digest,
    /// The media type of the document.
    pub media_type: MediaType,
    /// The length of the document in bytes.
    pub size: u64,
}

impl Client {
    /// Fetches the manifest or index of `reference`, by its digest if it has one, else by its tag, from the first of its
    /// mirrors and its registry that has it.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`], [`RegistryError::AccessDenied`]; [`RegistryError::DigestMismatch`] when the document
    /// is not what was asked for, [`RegistryError::TooLarge`] beyond [`MANIFEST_LIMIT`]; any failure of the connection.
    pub async fn fetch_manifest(&self, reference: &Reference) -> Result<FetchedManifest, RegistryError> {
        let mut places = self.places(reference)?;
        loop {
            match self.towards(&places).fetch_manifest_at(places.first()).await {
                Ok(fetched) => return Ok(fetched),
                Err(error) => places.pass_over(self, error)?,
            }
        }
    }

    /// Fetches the manifest or index of `reference` from its registry, whatever its mirrors.
    pub(crate) async fn fetch_manifest_at(
        &self,
        reference: &Reference,
    ) -> Result<FetchedManifest, RegistryError> {
        let call = manifest_call(Method::GET, reference);
        let response = self.send(reference, &call).await?;
        if response.status() != StatusCode::OK {
            return Err(failure::of_answer(response, &Subject::Manifest { reference }).await);
        }
        let stated = stated_digest(response.headers());
        let stated_type = stated_type(response.headers());
        let bytes = read_limited(response, MANIFEST_LIMIT as usize, reference.domain()).await?;
        let digest = Digest::of(&bytes);
        if let Some(expected) = reference.digest().copied().or(stated).filter(|expected| *expected != digest)
        {
            return Err(mismatch(reference, expected, digest));
        }
        let media_type = document_type(&bytes, stated_type);
        Ok(FetchedManifest { digest, media_type, bytes: bytes.into() })
    }

    /// Asks what `reference` points at in the registry itself, where something is going to be pushed, with a HEAD request
    /// where the registry answers it well enough.
    ///
    /// # Errors
    /// As [`Self::fetch_manifest`].
    pub async fn head_manifest(&self, reference: &Reference) -> Result<ManifestHead, RegistryError> {
        let mut call = manifest_call(Method::HEAD, reference);
        // one token serves for the push too
        call.scope = RequestScope::of(reference, Access::Push);
        let response = self.send(reference, &call).await?;
        if let Some(head) = head(&response) {
            return match reference.digest() {
                Some(expected) if *expected != head.digest => {
                    Err(mismatch(reference, *expected, head.digest))
                }
                Some(_) | None => Ok(head),
            };
        }
        match response.status() {
            // GET instead: some registries refuse HEAD or leave out the headers, and a failed HEAD has no body to explain
            // it
            StatusCode::OK | StatusCode::METHOD_NOT_ALLOWED | StatusCode::BAD_REQUEST => {
                let fetched = self.fetch_manifest_at(reference).await?;
                let size = fetched.bytes.len() as u64;
                Ok(ManifestHead { digest: fetched.digest, media_type: fetched.media_type, size })
            }
            _ => Err(failure::of_answer(response, &Subject::Manifest { reference }).await),
        }
    }

    /// Stores `bytes` under the tag of `reference`, or under its digest if it has no tag. The registry must already have
    /// the blobs and manifests that the document names.
    ///
    /// # Errors
    /// [`RegistryError::AccessDenied`]; [`RegistryError::Server`] with the registry's reason, such as a missing blob;
    /// [`RegistryError::DigestMismatch`] when the registry received other bytes.
    pub async fn put_manifest(
        &self,
        reference: &Reference,
        media_type: &MediaType,
        bytes: Bytes,
    ) -> Result<Digest, RegistryError> {
        let digest = Digest::of(&bytes);
        let name = reference.tag().map_or_else(|| digest.to_string(), str::to_owned);
        let mut call = Self::call(Method::PUT, reference, Access::Push, &format!("manifests/{name}"));
        let unusable =
            |_| protocol(reference.domain(), "the manifest's media type is not a valid header value");
        call.headers.insert(CONTENT_TYPE, HeaderValue::from_str(media_type.as_str()).map_err(unusable)?);
        call.body = bytes;
        let response = self.send(reference, &call).await?;
        if !response.status().is_success() {
            return Err(failure::of_answer(response, &Subject::Push { reference }).await);
        }
        match stated_digest(response.headers()) {
            Some(stated) if stated != digest => Err(mismatch(reference, digest, stated)),
            Some(_) | None => Ok(digest),
        }
    }
}

fn manifest_call(method: Method, reference: &Reference) -> Call {
    let name = match (reference.digest(), reference.tag()) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.unwrap_or("latest").to_owned(),
    };
    let mut call = Client::call(method, reference, Access::Pull, &format!("manifests/{name}"));
    call.headers.insert(ACCEPT, HeaderValue::from_static(ACCEPTED));
    call
}

fn head(response: &Response) -> Option<ManifestHead> {
    if response.status() != StatusCode::OK {
        return None;
    }
    let headers = response.headers();
    // not `Response::content_length`, which is that of the body; an answer to HEAD has none
    let size = headers.get(reqwest::header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()?;
    let media_type = stated_type(headers)?;
    Some(ManifestHead { digest: stated_digest(headers)?, media_type, size })
}

/// The digest that the registry states. `None` if it states none, or one of another algorithm than SHA-256.
fn stated_digest(headers: &HeaderMap) -> Option<Digest> {
    headers.get(DIGEST_HEADER)?.to_str().ok()?.parse().ok()
}

/// The `Content-Type`, unless it is a general one for JSON or text.
fn stated_type(headers: &HeaderMap) -> Option<MediaType> {
    let text = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let name = text.split(';').next().unwrap_or(text).trim();
    (name.starts_with("application/vnd.")).then(|| MediaType::from(name))
}

/// The media type that the document states of itself, else the one that the registry stated, else the one that its fields
/// imply.
fn document_type(bytes: &[u8], stated: Option<MediaType>) -> MediaType {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Shape {
        media_type: Option<String>,
        manifests: Option<serde::de::IgnoredAny>,
    }
    let shape: Shape = serde_json::from_slice(bytes).unwrap_or_default();
    match (shape.media_type, stated, shape.manifests) {
        (Some(name), _, _) => name.as_str().into(),
        (None, Some(stated), _) => stated,
        (None, None, Some(_)) => MediaType::OciIndex,
        (None, None, None) => MediaType::OciManifest,
    }
}

fn mismatch(reference: &Reference, expected: Digest, found: Digest) -> RegistryError {
    RegistryError::DigestMismatch {
        host: reference.domain().to_owned(),
        repository: reference.familiar_repository(),
        expected,
        found,
    }
}
