//! Objects of a bucket, read and written within limits of time and memory.

use super::{Addressing, AzureContainer, BucketFailure, BucketPlace, BucketService, S3Bucket};
use bytes::Bytes;
use object_store::{
    BackoffConfig, ClientOptions, Error as ServiceError, GetResult, ObjectMeta, ObjectStore,
    ObjectStoreExt as _, PutPayload, RetryConfig, WriteMultipart,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    azure::{AzureConfigKey, MicrosoftAzureBuilder},
    path::Path as ObjectPath,
};
use rbuild_oci::Descriptor;
use std::{
    fs::File,
    io::{self, Read},
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{task::spawn_blocking, time::timeout};

/// The time after which a service from which nothing comes is given up.
const STALL: Duration = Duration::from_secs(30);

/// The time for one request, a part of a blob included.
const REQUEST: Duration = Duration::from_secs(300);

/// The time for finding a host and its answer.
const CONNECT: Duration = Duration::from_secs(10);

/// The time for which a failed request is tried again.
const RETRIES: Duration = Duration::from_secs(20);

/// The length of a part, in bytes; blobs up to it are sent in one.
const PART: u64 = 8 << 20;

/// Parts of a blob at most: S3 takes 10,000.
const PARTS: u64 = 9_000;

/// A bucket as one build sees it.
pub(super) struct Bucket<'a> {
    place: &'a BucketPlace,
    objects: Arc<dyn ObjectStore>,
}

type Answer<T> = Result<T, BucketFailure>;

impl<'a> Bucket<'a> {
    /// Nothing is asked yet.
    pub(super) fn new(place: &'a BucketPlace) -> Answer<Self> {
        let objects = match &place.service {
            BucketService::S3(bucket) => s3(bucket),
            BucketService::Azure(container) => azure(container),
        };
        Ok(Self { place, objects: objects.map_err(|error| BucketFailure::of(&error))? })
    }

    /// The bytes of a document.
    pub(super) async fn document(&self, name: &str, limit: u64) -> Answer<Vec<u8>> {
        let found = answer(self.objects.get(&path(name)?)).await?;
        let size = found.meta.size;
        if size > limit {
            return Err(BucketFailure::TooLong { size, limit });
        }
        let mut bytes = Vec::with_capacity(size as usize);
        pieces(found, size, |piece| bytes.extend_from_slice(&piece)).await?;
        Ok(bytes)
    }

    /// Writes a document.
    pub(super) async fn put(&self, name: &str, bytes: Vec<u8>) -> Answer<()> {
        answer(self.objects.put(&path(name)?, PutPayload::from(bytes))).await.map(drop)
    }

    /// True if it has the blob, and not for so long that it should be written again.
    pub(super) async fn has_fresh(&self, blob: &Descriptor, now: SystemTime) -> Answer<bool> {
        let Some(found) = self.find(blob).await? else { return Ok(false) };
        let age = now.duration_since(found.last_modified.into()).unwrap_or_default();
        Ok(age < self.place.touch_refresh)
    }

    /// True if it has the blob.
    pub(super) async fn has(&self, blob: &Descriptor) -> Answer<bool> {
        Ok(self.find(blob).await?.is_some())
    }

    async fn find(&self, blob: &Descriptor) -> Answer<Option<ObjectMeta>> {
        match answer(self.objects.head(&path(&self.place.blob(&blob.digest))?)).await {
            Ok(found) => Ok(Some(found).filter(|found| found.size == blob.size)),
            Err(BucketFailure::Missing) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads the blob, and gives its pieces to `take` while they come. Its length is checked, its digest is not.
    pub(super) async fn fetch(
        &self,
        blob: &Descriptor,
        mut take: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Answer<io::Result<()>> {
        let name = path(&self.place.blob(&blob.digest))?;
        let found = timeout(STALL, answer(self.objects.get(&name))).await;
        let found = found.map_err(|_| BucketFailure::Stalled(STALL.as_secs()))??;
        if found.meta.size != blob.size {
            return Err(BucketFailure::Length { expected: blob.size, found: found.meta.size });
        }
        let mut taken = Ok(());
        pieces(found, blob.size, |piece| {
            if taken.is_ok() {
                taken = take(&piece);
            }
        })
        .await?;
        Ok(taken)
    }

    /// Writes the blob that `file` has. A large one goes in parts, of which some are under way at a time.
    pub(super) async fn send(&self, blob: &Descriptor, mut file: File) -> Answer<()> {
        let name = path(&self.place.blob(&blob.digest))?;
        let part = PART.max(blob.size.div_ceil(PARTS));
        if blob.size <= part {
            let (bytes, _) = read_part(file, part).await?;
            return answer(self.objects.put(&name, PutPayload::from(bytes))).await.map(drop);
        }
        let upload = answer(self.objects.put_multipart(&name)).await?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, part as usize);
        loop {
            let has_room = upload.wait_for_capacity(self.place.upload_parallelism.max(1)).await;
            let read = match has_room {
                Ok(()) => read_part(file, part).await,
                Err(error) => Err(BucketFailure::of(&error)),
            };
            match read {
                Ok((bytes, _)) if bytes.is_empty() => break,
                Ok((bytes, rest)) => {
                    upload.put(bytes);
                    file = rest;
                }
                Err(error) => {
                    // parts that stay cost money until a rule removes them
                    let _ = timeout(STALL, upload.abort()).await;
                    return Err(error);
                }
            }
        }
        answer(upload.finish()).await.map(drop)
    }
}

/// What the service says to one question.
async fn answer<T>(asked: impl Future<Output = Result<T, ServiceError>>) -> Answer<T> {
    asked.await.map_err(|error| BucketFailure::of(&error))
}

/// Gives the pieces of an object, which has `size` bytes, to `take`.
async fn pieces(found: GetResult, size: u64, mut take: impl FnMut(Bytes)) -> Answer<()> {
    use futures_util::StreamExt as _;
    let mut stream = found.into_stream();
    let mut received = 0;
    loop {
        let piece =
            timeout(STALL, stream.next()).await.map_err(|_| BucketFailure::Stalled(STALL.as_secs()))?;
        let Some(piece) = piece else { break };
        let piece = piece.map_err(|error| BucketFailure::of(&error))?;
        received += piece.len() as u64;
        if received > size {
            return Err(BucketFailure::Length { expected: size, found: received });
        }
        take(piece);
    }
    if received != size {
        return Err(BucketFailure::Length { expected: size, found: received });
    }
    Ok(())
}

/// The next part of a file, which is returned with it; empty at its end.
async fn read_part(mut file: File, length: u64) -> Answer<(Bytes, File)> {
    let reading = spawn_blocking(move || {
        let mut bytes = Vec::with_capacity(length as usize);
        (&mut file).take(length).read_to_end(&mut bytes).map(|_| (Bytes::from(bytes), file))
    });
    let unreadable =
        |error: &dyn std::fmt::Display| BucketFailure::Refused(format!("cannot read the blob: {error}"));
    reading.await.map_err(|error| unreadable(&error))?.map_err(|error| unreadable(&error))
}

fn path(name: &str) -> Answer<ObjectPath> {
    let name = name.trim_start_matches('/');
    ObjectPath::parse(name)
        .map_err(|error| BucketFailure::Refused(format!("no object can have the name {name:?}: {error}")))
}

fn retries() -> RetryConfig {
    let backoff = BackoffConfig { max_backoff: Duration::from_secs(3), ..BackoffConfig::default() };
    RetryConfig { backoff, max_retries: 4, retry_timeout: RETRIES }
}

fn options(endpoint: Option<&str>) -> ClientOptions {
    let is_plain = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
    ClientOptions::new().with_allow_http(is_plain).with_timeout(REQUEST).with_connect_timeout(CONNECT)
}

fn s3(bucket: &S3Bucket) -> Result<Arc<dyn ObjectStore>, ServiceError> {
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&bucket.bucket)
        .with_region(&bucket.region)
        .with_virtual_hosted_style_request(bucket.addressing == Addressing::Host)
        .with_retry(retries());
    if let Some(endpoint) = &bucket.endpoint {
        // with the bucket's name in the host's, the address that the library wants has both
        let whole = match (bucket.addressing, endpoint.split_once("://")) {
            (Addressing::Host, Some((scheme, host))) => format!("{scheme}://{}.{host}", bucket.bucket),
            (Addressing::Host, None) | (Addressing::Path, _) => endpoint.clone(),
        };
        builder = builder.with_endpoint(whole);
    }
    for (name, value) in &bucket.login {
        if let Ok(key) = name.parse::<AmazonS3ConfigKey>() {
            builder = builder.with_config(key, value.expose());
        }
    }
    Ok(Arc::new(builder.with_client_options(options(bucket.endpoint.as_deref())).build()?))
}

fn azure(container: &AzureContainer) -> Result<Arc<dyn ObjectStore>, ServiceError> {
    let mut builder = MicrosoftAzureBuilder::new()
        .with_account(&container.account)
        .with_container_name(&container.container)
        .with_endpoint(container.endpoint.trim_end_matches('/').to_owned())
        .with_retry(retries());
    for (name, value) in &container.login {
        if let Ok(key) = name.parse::<AzureConfigKey>() {
            builder = builder.with_config(key, value.expose());
        }
    }
    Ok(Arc::new(builder.with_client_options(options(Some(&container.endpoint))).build()?))
}
