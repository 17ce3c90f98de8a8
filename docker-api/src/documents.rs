//! Small documents: the version, and what `--metadata-file` holds.

use rbuild::{ImageId, ImageName, Platform};
use serde::Serialize;

/// The answer of `version`. There is no daemon: client and server, which scripts ask for, are the same program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Version {
    /// rbuild.
    pub client: VersionOfSide,
    /// rbuild.
    pub server: VersionOfSide,
}

/// One side of a [`Version`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct VersionOfSide {
    /// Its version.
    pub version: String,
    /// GOOS.
    pub os: String,
    /// GOARCH.
    pub arch: String,
}

impl Version {
    /// That of rbuild `version` on `host`.
    #[must_use]
    pub fn new(version: &str, host: &Platform) -> Self {
        let side = VersionOfSide {
            version: version.to_owned(),
            os: host.os.clone(),
            arch: host.architecture.clone(),
        };
        Self { client: side.clone(), server: side }
    }
}

/// The document that `docker buildx build --metadata-file` writes for a local image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BuildMetadata {
    /// The image's id.
    #[serde(rename = "containerimage.config.digest")]
    pub config_digest: String,
    /// The image's id as well: the store keeps no manifest of it.
    #[serde(rename = "containerimage.digest")]
    pub digest: String,
    /// Its names, with commas between.
    #[serde(rename = "image.name", skip_serializing_if = "String::is_empty")]
    pub name: String,
}

impl BuildMetadata {
    /// That of a build which made `image` and gave it `names`.
    #[must_use]
    pub fn new(image: &ImageId, names: &[ImageName]) -> Self {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let digest = image.to_string();
        Self { config_digest: digest.clone(), digest, name: names.join(",") }
    }
}
