//! Small documents: the version, and what `--metadata-file` holds.

use rbuild::{BuildId, BuiltTarget, Descriptor, ImageName, Platform};
use serde::Serialize;
use serde_json::Value;

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
    /// The version of an API, which nothing has here.
    #[serde(rename = "APIVersion")]
    pub api_version: &'static str,
    /// The commit that it was made of, which it does not know.
    pub git_commit: &'static str,
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
            api_version: "",
            git_commit: "",
            os: host.os.clone(),
            arch: host.architecture.clone(),
        };
        Self { client: side.clone(), server: side }
    }
}

/// The document that `docker buildx build --metadata-file` writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BuildMetadata {
    /// How it was made.
    #[serde(rename = "buildx.build.provenance", skip_serializing_if = "Option::is_none")]
    pub provenance: Option<Value>,
    /// The build, by which `builds inspect` finds it.
    #[serde(rename = "buildx.build.ref", skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
    /// What the checks have found.
    #[serde(rename = "buildx.build.warnings", skip_serializing_if = "Option::is_none")]
    pub warnings: Option<Value>,
    /// The digest of the image's config, which is its id; an image for several platforms has no config.
    #[serde(rename = "containerimage.config.digest", skip_serializing_if = "Option::is_none")]
    pub config_digest: Option<String>,
    /// The descriptor of its manifest, when it was pushed or written to an archive.
    #[serde(rename = "containerimage.descriptor", skip_serializing_if = "Option::is_none")]
    pub descriptor: Option<Descriptor>,
    /// The digest of its manifest; of an image that is in the store alone its id, because the store keeps no manifest of it.
    #[serde(rename = "containerimage.digest", skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Its names, with commas between.
    #[serde(rename = "image.name", skip_serializing_if = "String::is_empty")]
    pub name: String,
}

impl BuildMetadata {
    /// That of a target whose image was given `names`.
    #[must_use]
    pub fn new(built: &BuiltTarget, names: &[ImageName]) -> Self {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let id = built.id().map(|id| id.to_string());
        let descriptor = built.manifest().cloned();
        let digest = descriptor.as_ref().map(|descriptor| descriptor.digest.to_string());
        Self {
            provenance: None,
            build: None,
            warnings: None,
            digest: digest.or_else(|| id.clone()),
            config_digest: id.filter(|_| !built.is_index()),
            descriptor,
            name: names.join(","),
        }
    }

    /// The same with the build by which it was made: docker's builder and node come before its id.
    #[must_use]
    pub fn made_by(self, build: &BuildId, provenance: Option<Value>, warnings: Option<Value>) -> Self {
        Self { build: Some(format!("default/default/{build}")), provenance, warnings, ..self }
    }
}
