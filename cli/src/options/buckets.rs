//! Caches in buckets: `type=s3` and `type=azblob`, whose attributes and variables are BuildKit's.

use super::cache_attributes::Attributes;
use crate::{environment::Environment, error::UsageError};
use rbuild::{Addressing, AzureContainer, BucketPlace, BucketService, S3Bucket, Secret};
use rbuild_docker_api::go_seconds;
use std::time::Duration;

/// The name of a cache in a bucket when none is given.
const DEFAULT_NAME: &str = "buildkit";

/// Variables that say how one logs in at S3, besides keys.
const S3_LOGINS: [&str; 7] = [
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_ENDPOINT_URL_STS",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
];

/// Variables that say how one logs in at Azure, besides keys.
const AZURE_LOGINS: [&str; 4] =
    ["AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_TENANT_ID", "AZURE_FEDERATED_TOKEN_FILE"];

/// The bucket of a cache of type `s3`.
///
/// # Errors
/// [`UsageError`] in Docker's words.
pub(super) fn s3(asked: &mut Attributes, environment: &Environment) -> Result<BucketPlace, UsageError> {
    let mut needed = |name: &str, variables: &[&str]| {
        let given = filled(asked, name);
        let given =
            given.or_else(|| variables.iter().find_map(|name| environment.filled(name)).map(str::to_owned));
        let missing = format!("{name} (${}) not set for s3 cache", variables[0]);
        given.ok_or_else(|| UsageError::in_build(missing))
    };
    let bucket = needed("bucket", &["AWS_BUCKET"])?;
    let region = needed("region", &["AWS_REGION", "AWS_DEFAULT_REGION"])?;
    let endpoint = needed("endpoint_url", &["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]).ok();
    let path = asked.switch("use_path_style")?.unwrap_or(false);
    // nothing is asked for in another coding
    asked.switch("disable_accept_encoding")?;
    let service = BucketService::S3(S3Bucket {
        bucket,
        region,
        endpoint,
        addressing: if path { Addressing::Path } else { Addressing::Host },
        login: s3_login(asked, environment)?,
    });
    Ok(BucketPlace {
        service,
        prefix: asked.take("prefix").unwrap_or_default(),
        blobs_prefix: filled(asked, "blobs_prefix").unwrap_or_else(|| "blobs/".to_owned()),
        manifests_prefix: filled(asked, "manifests_prefix").unwrap_or_else(|| "manifests/".to_owned()),
        names: names(asked),
        touch_refresh: touch_refresh(asked)?,
        upload_parallelism: upload_parallelism(asked)?,
    })
}

/// The container of a cache of type `azblob`.
///
/// # Errors
/// [`UsageError`] in Docker's words.
pub(super) fn azure(asked: &mut Attributes, environment: &Environment) -> Result<BucketPlace, UsageError> {
    let mut given = |name: &str, variable: &str| {
        filled(asked, name).or_else(|| environment.filled(variable).map(str::to_owned))
    };
    let url = given("account_url", "BUILDKIT_AZURE_STORAGE_ACCOUNT_URL").ok_or_else(|| {
        UsageError::in_build("unable to retrieve account url (account_url) for azblob cache")
    })?;
    let account = given("account_name", "BUILDKIT_AZURE_STORAGE_ACCOUNT_NAME");
    let container = given("container", "BUILDKIT_AZURE_STORAGE_CONTAINER");
    let key = given("secret_access_key", "BUILDKIT_AZURE_STORAGE_SECRET_ACCESS_KEY");
    let host = url.split_once("://").map_or(url.as_str(), |(_, host)| host);
    let of_host = host.split(['.', '/', ':']).next().unwrap_or_default().to_owned();
    let key = key.map(|key| ("azure_storage_account_key".to_owned(), Secret::new(key)));
    let others = AZURE_LOGINS.iter().filter_map(|name| variable(environment, name));
    let service = BucketService::Azure(AzureContainer {
        container: container.unwrap_or_else(|| "buildkit-cache".to_owned()),
        account: account.unwrap_or(of_host),
        login: key.into_iter().chain(others).collect(),
        endpoint: url,
    });
    let mut folder = |name: &str, default: &str| {
        let given = filled(asked, name).unwrap_or_else(|| default.to_owned());
        let trimmed = given.trim_matches('/');
        if trimmed.is_empty() { String::new() } else { format!("{trimmed}/") }
    };
    Ok(BucketPlace {
        service,
        prefix: folder("prefix", ""),
        blobs_prefix: folder("blobs_prefix", "blobs"),
        manifests_prefix: folder("manifests_prefix", "manifests"),
        names: names(asked),
        touch_refresh: Duration::MAX,
        upload_parallelism: upload_parallelism(asked)?,
    })
}

/// The keys that were given, or those of the environment, or what else it says of the login.
fn s3_login(asked: &mut Attributes, environment: &Environment) -> Result<Vec<(String, Secret)>, UsageError> {
    let names = ["access_key_id", "secret_access_key", "session_token"];
    let given: Vec<_> = names
        .iter()
        .filter_map(|name| Some((format!("aws_{name}"), Secret::new(filled(asked, name)?))))
        .collect();
    match given.len() {
        0 => {}
        1 => {
            return Err(UsageError::in_build(
                "s3 cache: access_key_id and secret_access_key are given together",
            ));
        }
        _ => return Ok(given),
    }
    let keys = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];
    Ok(keys.iter().chain(&S3_LOGINS).filter_map(|name| variable(environment, name)).collect())
}

fn variable(environment: &Environment, name: &str) -> Option<(String, Secret)> {
    Some((name.to_ascii_lowercase(), Secret::new(environment.filled(name)?)))
}

fn filled(asked: &mut Attributes, name: &str) -> Option<String> {
    asked.take(name).filter(|value| !value.is_empty())
}

fn names(asked: &mut Attributes) -> Vec<String> {
    let names = filled(asked, "name").unwrap_or_else(|| DEFAULT_NAME.to_owned());
    names.split(';').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn touch_refresh(asked: &mut Attributes) -> Result<Duration, UsageError> {
    let Some(text) = filled(asked, "touch_refresh") else { return Ok(Duration::from_secs(24 * 3600)) };
    let seconds = go_seconds(&text).and_then(|seconds| u64::try_from(seconds).ok());
    let invalid = || UsageError::in_build(format!("invalid touch_refresh {text:?}: give a time like 24h"));
    seconds.map(Duration::from_secs).ok_or_else(invalid)
}

fn upload_parallelism(asked: &mut Attributes) -> Result<usize, UsageError> {
    let Some(text) = filled(asked, "upload_parallelism") else { return Ok(4) };
    let number = text.parse().ok().filter(|number| (1..=64).contains(number));
    number.ok_or_else(|| {
        UsageError::in_build(format!("upload_parallelism must be a number from 1 to 64, not {text:?}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{environment::User, options::cache_attributes::entries};

    fn read(text: &str, variables: &[(&str, &str)]) -> Result<BucketPlace, String> {
        let environment = Environment::of(variables, User::Root);
        let mut asked = entries(&[text.to_owned()]).unwrap().remove(0);
        let place = match asked.kind.as_str() {
            "s3" => s3(&mut asked, &environment),
            _ => azure(&mut asked, &environment),
        };
        place.and_then(|place| asked.finish().map(|()| place)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_bucket_has_buildkit_s_defaults_and_its_login_is_never_shown() {
        let text = "type=s3,bucket=b,region=r,access_key_id=AKIA,secret_access_key=hunter2";
        let place = read(text, &[("AWS_SESSION_TOKEN", "of other keys")]).unwrap();
        let BucketService::S3(bucket) = &place.service else { panic!("{place:?}") };
        assert_eq!((bucket.login.len(), bucket.addressing), (2, Addressing::Host));
        assert_eq!((place.blobs_prefix.as_str(), place.manifests_prefix.as_str()), ("blobs/", "manifests/"));
        assert_eq!((place.names.len(), place.touch_refresh.as_secs()), (1, 86_400));
        let shown = format!("{place:?} {place} {}", place.location());
        assert!(!shown.contains("hunter2") && !shown.contains("AKIA"), "{shown}");
    }

    #[test]
    fn the_environment_fills_what_is_not_given() {
        let variables = [
            ("AWS_BUCKET", "b"),
            ("AWS_REGION", "r"),
            ("AWS_ACCESS_KEY_ID", "k"),
            ("AWS_SECRET_ACCESS_KEY", "s"),
            ("AWS_ENDPOINT_URL", "http://user:word@127.0.0.1:9/"),
        ];
        let place =
            read("type=s3,name=a;b,prefix=p/,use_path_style=true,touch_refresh=1h", &variables).unwrap();
        assert_eq!(place.to_string(), "s3://127.0.0.1:9/b/p/:a;b");
        assert_eq!(
            (place.location().as_str(), place.touch_refresh.as_secs()),
            ("s3://127.0.0.1:9/b/p/blobs/", 3600)
        );
        let place =
            read("type=azblob,account_url=https://acc.blob.core.windows.net,prefix=/x/", &[]).unwrap();
        assert_eq!(place.location(), "azblob://acc.blob.core.windows.net/buildkit-cache/x/blobs/");
    }

    #[test]
    fn mistakes_are_named() {
        for (text, message) in [
            ("type=s3,region=r", "bucket ($AWS_BUCKET) not set for s3 cache"),
            ("type=s3,bucket=b", "region ($AWS_REGION) not set for s3 cache"),
            ("type=s3,bucket=b,region=r,access_key_id=a", "are given together"),
            ("type=s3,bucket=b,region=r,touch_refresh=soon", "invalid touch_refresh \"soon\""),
            ("type=s3,bucket=b,region=r,upload_parallelism=0", "from 1 to 64"),
            ("type=s3,bucket=b,region=r,colour=red", "cache type s3 has no attribute colour"),
            ("type=azblob", "account_url"),
        ] {
            let error = read(text, &[]).unwrap_err();
            assert!(error.contains(message), "{text}: {error}");
        }
    }
}
