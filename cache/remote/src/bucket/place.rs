//! Where a cache in a bucket is, and how one gets there.

use rbuild_registry::Secret;
use std::{fmt, time::Duration};

/// A cache in a bucket: what it is called there and what the objects are called that it is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketPlace {
    /// The service and the bucket.
    pub service: BucketService,
    /// The beginning of all names.
    pub prefix: String,
    /// What follows it in the names of blobs.
    pub blobs_prefix: String,
    /// What follows it in the names of descriptions.
    pub manifests_prefix: String,
    /// The names of the cache: all are written, the first one is read.
    pub names: Vec<String>,
    /// The age from which on a blob is written again, so that rules which remove old objects do not take it.
    pub touch_refresh: Duration,
    /// Parts of a blob under way at a time.
    pub upload_parallelism: usize,
}

/// A service that has buckets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BucketService {
    /// Amazon S3, or a server that speaks its protocol.
    S3(S3Bucket),
    /// Azure Blob Storage.
    Azure(AzureContainer),
}

/// A bucket of S3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Bucket {
    /// Its name.
    pub bucket: String,
    /// Its region.
    pub region: String,
    /// The address of the server, if it is not Amazon's.
    pub endpoint: Option<String>,
    /// Where the name of the bucket is in an address.
    pub addressing: Addressing,
    /// Keys and other settings of the login, by the names of the AWS SDKs' environment variables in lower case.
    pub login: Vec<(String, Secret)>,
}

/// The place of a bucket's name in the addresses of its objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Addressing {
    /// In the name of the host.
    #[default]
    Host,
    /// In the path (`use_path_style=true`).
    Path,
}

/// A container of Azure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AzureContainer {
    /// Its name.
    pub container: String,
    /// The account.
    pub account: String,
    /// The address of the account.
    pub endpoint: String,
    /// Keys and other settings of the login, by the names of Azure's environment variables in lower case.
    pub login: Vec<(String, Secret)>,
}

impl BucketPlace {
    /// The place of its blobs, as layers that are there name it. It has no login.
    #[must_use]
    pub fn location(&self) -> String {
        format!("{}{}{}", self.service, self.prefix, self.blobs_prefix)
    }

    /// The name of the object of a blob.
    pub(super) fn blob(&self, digest: &rbuild_oci::Digest) -> String {
        format!("{}{}{digest}", self.prefix, self.blobs_prefix)
    }

    /// The name of the object of a description.
    pub(super) fn description(&self, name: &str) -> String {
        format!("{}{}{name}", self.prefix, self.manifests_prefix)
    }
}

impl fmt::Display for BucketPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}:{}", self.service, self.prefix, self.names.join(";"))
    }
}

impl fmt::Display for BucketService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, endpoint, name) = match self {
            Self::S3(S3Bucket { endpoint, bucket, .. }) => ("s3", endpoint.as_deref(), bucket),
            Self::Azure(AzureContainer { endpoint, container, .. }) => {
                ("azblob", Some(endpoint.as_str()), container)
            }
        };
        // an address may have a login
        let host = endpoint.map(|endpoint| endpoint.rsplit_once("://").map_or(endpoint, |(_, rest)| rest));
        let host =
            host.map(|host| host.rsplit_once('@').map_or(host, |(_, host)| host).trim_end_matches('/'));
        write!(f, "{scheme}://")?;
        host.into_iter().try_for_each(|host| write!(f, "{host}/"))?;
        write!(f, "{name}/")
    }
}
