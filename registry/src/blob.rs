//! Downloads of blobs: a stream of chunks that is checked while it passes and resumes after a broken connection.
//!
//! A chunk may turn out to belong to a bad blob after it was handed out: only `Ok(None)` means that the whole blob is
//! good.

use crate::{
    Access, Client, RegistryError,
    failure::{self, Subject, protocol},
    pace::Pace,
    places::Places,
    retry::Attempts,
    transport::may_pass,
};
use bytes::Bytes;
use rbuild_oci::{Descriptor, Digest, Hasher, Reference};
use reqwest::{
    Method, Response, StatusCode,
    header::{CONTENT_RANGE, HeaderValue, RANGE},
};

/// The first byte of a download, and the side that checks the digest.
#[derive(Clone)]
pub enum BlobStart {
    /// From `offset`; the stream checks the digest. `hasher` has seen the `offset` bytes before.
    Checked {
        /// Number of bytes that the caller already has.
        offset: u64,
        /// The hash of these bytes.
        hasher: Hasher,
    },
    /// From `offset`; the stream checks only the size. The caller checks the digest, because it hashes the bytes anyway.
    SizeOnly {
        /// Number of bytes that the caller already has.
        offset: u64,
    },
}

/// A blob being received.
pub struct BlobStream {
    client: Client,
    places: Places,
    digest: Digest,
    size: u64,
    /// Number of bytes before the next chunk.
    position: u64,
    /// `None` when the caller checks the digest, and after the end.
    hasher: Option<Hasher>,
    response: Option<Response>,
    pace: Pace,
    /// Number of bytes to drop from the running response, because they come before `position`.
    surplus: u64,
    attempts: Attempts,
}

impl Client {
    /// Fetches the blob of `descriptor` from its beginning, and checks its digest and size.
    ///
    /// # Errors
    /// [`RegistryError::BlobNotFound`], [`RegistryError::AccessDenied`], [`RegistryError::SizeMismatch`] when the
    /// registry announces another size, any failure of the connection.
    pub async fn fetch_blob(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
    ) -> Result<BlobStream, RegistryError> {
        self.fetch_blob_from(reference, descriptor, BlobStart::Checked { offset: 0, hasher: Hasher::new() })
            .await
    }

    /// Fetches a blob like [`Self::fetch_blob`], but resumes one that was received in part, or leaves the digest to the
    /// caller.
    ///
    /// # Errors
    /// As [`Self::fetch_blob`].
    pub async fn fetch_blob_from(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        start: BlobStart,
    ) -> Result<BlobStream, RegistryError> {
        let (position, hasher) = match start {
            BlobStart::Checked { offset, hasher } => (offset, Some(hasher)),
            BlobStart::SizeOnly { offset } => (offset, None),
        };
        let mut stream = BlobStream {
            client: self.clone(),
            places: self.places(reference)?,
            digest: descriptor.digest,
            size: descriptor.size,
            position,
            hasher,
            response: None,
            pace: Pace::new(self.stall),
            surplus: 0,
            attempts: Attempts::new(),
        };
        // all bytes are there, and HTTP has no range that starts at the end
        if position == 0 || position < stream.size {
            stream.open().await?;
        }
        Ok(stream)
    }
}

impl BlobStream {
    /// Returns the next bytes. Returns `None` after the last when the blob is whole and, unless the caller checks it, has
    /// its digest.
    ///
    /// # Errors
    /// [`RegistryError::TooLarge`], [`RegistryError::SizeMismatch`], [`RegistryError::DigestMismatch`] when the registry
    /// lies; [`RegistryError::Connection`] or [`RegistryError::Stalled`] when it breaks off again and again.
    pub async fn next_chunk(&mut self) -> Result<Option<Bytes>, RegistryError> {
        loop {
            let Some(response) = &mut self.response else { return self.finish().map(|()| None) };
            let failed = match self.pace.next(response).await {
                Ok(Some(chunk)) => match self.accept(chunk)? {
                    Some(chunk) => return Ok(Some(chunk)),
                    None => continue,
                },
                Ok(None) => {
                    self.response = None;
                    continue;
                }
                Err(lag) => failure::of_lag(response.url(), lag),
            };
            self.resume(failed).await?;
        }
    }

    /// Number of bytes received so far, with those before the start.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Counts and hashes the new part of `chunk`, and returns it.
    fn accept(&mut self, mut chunk: Bytes) -> Result<Option<Bytes>, RegistryError> {
        let dropped = self.surplus.min(chunk.len() as u64);
        self.surplus -= dropped;
        let chunk = chunk.split_off(dropped as usize);
        if chunk.is_empty() {
            return Ok(None);
        }
        self.position += chunk.len() as u64;
        if self.position > self.size {
            self.response = None;
            return Err(RegistryError::TooLarge {
                host: self.places.first().domain().to_owned(),
                subject: self.digest.to_string(),
                limit: self.size,
            });
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&chunk);
        }
        Ok(Some(chunk))
    }

    fn finish(&mut self) -> Result<(), RegistryError> {
        let host = || self.places.first().domain().to_owned();
        if self.position != self.size {
            return Err(self.wrong_size(self.position));
        }
        let Some(found) = self.hasher.take().map(Hasher::finish) else { return Ok(()) };
        if found == self.digest {
            return Ok(());
        }
        let repository = self.places.first().familiar_repository();
        Err(RegistryError::DigestMismatch { host: host(), repository, expected: self.digest, found })
    }

    /// Connects again after `failed`. The retry policy limits the tries that bring nothing.
    async fn resume(&mut self, failed: RegistryError) -> Result<(), RegistryError> {
        self.response = None;
        if self.position == self.size {
            // every byte is there; the server only did not end the body properly
            return Ok(());
        }
        let delay = self.attempts.next(&self.client.towards(&self.places).retry, self.position);
        match delay.filter(|_| may_pass(&failed)) {
            Some(delay) => self.client.wait(delay, || failed.to_string()).await,
            None => {
                self.places.pass_over(&self.client, failed)?;
                self.attempts = Attempts::new();
            }
        }
        self.open().await
    }

    /// Asks for the blob from `position` on, in the first place that has it.
    async fn open(&mut self) -> Result<(), RegistryError> {
        loop {
            match self.open_first().await {
                Ok(()) => return Ok(()),
                Err(error) => self.places.pass_over(&self.client, error)?,
            }
        }
    }

    async fn open_first(&mut self) -> Result<(), RegistryError> {
        let Self { places, digest, position, .. } = &*self;
        let reference = places.first();
        let mut call = Client::call(Method::GET, reference, Access::Pull, &format!("blobs/{digest}"));
        if *position > 0 {
            let range = HeaderValue::from_str(&format!("bytes={position}-")).expect("digits are header text");
            call.headers.insert(RANGE, range);
        }
        let client = self.client.towards(places);
        let mut response = client.send(reference, &call).await?;
        if *position > 0 && response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            // some servers know no ranges: all of it again, of which the beginning is dropped
            call.headers.remove(RANGE);
            response = client.send(reference, &call).await?;
        }
        let announced = response.content_length();
        self.surplus = match response.status() {
            StatusCode::OK => self.position,
            StatusCode::PARTIAL_CONTENT if range_start(&response) == Some(self.position) => 0,
            StatusCode::PARTIAL_CONTENT => {
                return Err(protocol(self.places.first().domain(), "a range that was not asked for"));
            }
            _ => {
                let subject = Subject::Blob { reference: self.places.first(), digest: &self.digest };
                return Err(failure::of_answer(response, &subject).await);
            }
        };
        // checked before anything is received, because content of another size cannot have the digest
        let total = announced.map(|rest| rest + self.position - self.surplus);
        if let Some(found) = total.filter(|total| *total != self.size) {
            return Err(self.wrong_size(found));
        }
        (self.response, self.pace) = (Some(response), Pace::new(self.client.stall));
        Ok(())
    }

    fn wrong_size(&self, found: u64) -> RegistryError {
        let host = self.places.first().domain().to_owned();
        RegistryError::SizeMismatch { host, digest: self.digest, expected: self.size, found }
    }
}

/// The first byte of `Content-Range: bytes first-last/total` (RFC 9110 §14.4).
pub(crate) fn range_start(response: &Response) -> Option<u64> {
    let range = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}
