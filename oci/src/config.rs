//! The image config (OCI image specification, config.md, with Docker's additional fields), written byte for byte as
//! BuildKit writes it: top-level keys sorted, fields of `config` in Docker's order, empty values left out, `<`, `>`
//! and `&` escaped, no newline at the end.

use crate::{DiffId, Digest, ImageId, ParseError, Platform, Timestamp, manifest::is_array};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

/// The `PATH` of an image whose config has none.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// An image's config document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// Processor architecture, in GOARCH words.
    pub architecture: String,
    /// The author of the image.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub author: String,
    /// The settings of containers of this image.
    #[serde(default, deserialize_with = "null_is_default")]
    pub config: ContainerConfig,
    /// Time at which the last layer or history entry was made.
    #[serde(default)]
    pub created: Option<Timestamp>,
    /// One history entry for each instruction, oldest first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub history: Vec<HistoryEntry>,
    /// The cache of its steps that travels with it, as BuildKit reads it: its records as JSON in base64. A config that was read
    /// has none, because what is built on an image has other steps.
    #[serde(rename = "moby.buildkit.cache.v0", skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub buildkit_cache: Option<String>,
    /// Operating system, in GOOS words.
    pub os: String,
    /// Operating system features (Windows).
    #[serde(
        rename = "os.features",
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub os_features: Vec<String>,
    /// Operating system version (Windows).
    #[serde(
        rename = "os.version",
        default,
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub os_version: String,
    /// The cache of its steps as rbuild reads it, JSON in base64. A config that was read has none.
    #[serde(rename = "rbuild.cache", skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub build_cache: Option<String>,
    /// The layers' DiffIds, lowest first.
    pub rootfs: RootFs,
    /// Processor variant.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub variant: String,
}

/// The `rootfs` object, which lists the layers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// The type of the root filesystem, which is always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The layers' DiffIds, lowest first.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub diff_ids: Vec<DiffId>,
}

/// The `config` object: the settings that a container of the image runs with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerConfig {
    /// User as written: `name`, `uid`, `name:group`, …
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub user: String,
    /// Ports that the container listens on, as `port/proto`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub exposed_ports: BTreeMap<String, Empty>,
    /// Environment variables as `NAME=value`, in the order in which they were first defined.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub env: Vec<String>,
    /// The program to start, with CMD as its arguments.
    #[serde(skip_serializing_if = "empty_or_none")]
    pub entrypoint: Option<Vec<String>>,
    /// The default command or arguments.
    #[serde(skip_serializing_if = "empty_or_none")]
    pub cmd: Option<Vec<String>>,
    /// Paths that hold volumes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub volumes: BTreeMap<String, Empty>,
    /// The directory in which commands start.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub working_dir: String,
    /// Labels by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub labels: BTreeMap<String, String>,
    /// The signal that stops a container, as number or name.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub stop_signal: String,
    /// True if the command is one escaped text. This is for Windows only, but Docker sets it for every CMD.
    #[serde(skip_serializing_if = "is_false", deserialize_with = "null_is_default")]
    pub args_escaped: bool,
    /// The check that finds out if a container is healthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// ONBUILD triggers, which run in builds on top of this image.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub on_build: Vec<String>,
    /// The shell of shell-form instructions.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub shell: Vec<String>,
}

/// The empty object, by which a map in JSON expresses a set. Like Docker, rbuild reads `null` as one too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Empty {}

impl<'de> Deserialize<'de> for Empty {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Members {}
        Option::<Members>::deserialize(deserializer).map(|_| Self {})
    }
}

/// HEALTHCHECK's result. Durations are nanoseconds; zero means inherited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", text]`.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub test: Vec<String>,
    /// Time between two checks.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "null_is_default")]
    pub interval: i64,
    /// Time after which a check counts as failed.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "null_is_default")]
    pub timeout: i64,
    /// Time after the start in which failures do not count.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "null_is_default")]
    pub start_period: i64,
    /// Time between two checks within the start period.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "null_is_default")]
    pub start_interval: i64,
    /// Number of failures in a row after which the container is unhealthy.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "null_is_default")]
    pub retries: i64,
}

/// One line of `docker history`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// Time at which the instruction was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// The instruction.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub created_by: String,
    /// The author at that time.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub author: String,
    /// A comment, which is `buildkit.dockerfile.v0` for entries made by a build.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub comment: String,
    /// True if the instruction made no layer.
    #[serde(default, skip_serializing_if = "is_false", deserialize_with = "null_is_default")]
    pub empty_layer: bool,
}

impl ImageConfig {
    /// The config of `FROM scratch`, which has only the platform, a `PATH` and a working directory.
    #[must_use]
    pub fn scratch(platform: &Platform) -> Self {
        Self {
            architecture: platform.architecture.clone(),
            author: String::new(),
            config: ContainerConfig {
                env: vec![format!("PATH={DEFAULT_PATH}")],
                working_dir: "/".to_owned(),
                ..ContainerConfig::default()
            },
            created: None,
            history: Vec::new(),
            buildkit_cache: None,
            os: platform.os.clone(),
            os_features: platform.os_features.to_vec(),
            os_version: platform.os_version.clone().unwrap_or_default(),
            build_cache: None,
            rootfs: RootFs { kind: "layers".to_owned(), diff_ids: Vec::new() },
            variant: platform.variant.clone().unwrap_or_default(),
        }
    }

    /// The platform the image is for.
    #[must_use]
    pub fn platform(&self) -> Platform {
        let mut platform = Platform::normalised(&self.os, &self.architecture, Some(self.variant.as_str()));
        platform.os_version = Some(self.os_version.clone()).filter(|version| !version.is_empty());
        platform.os_features = self.os_features.clone().into();
        platform
    }

    /// Reads a config document. Like Docker, it drops unknown fields.
    ///
    /// # Errors
    /// [`ParseError::Document`] when it is not a config, or one whose root is of another type than `layers` (OCI image
    /// specification, config.md: that must be an error).
    pub fn from_json(json: &[u8]) -> Result<Self, ParseError> {
        let bad = |reason| ParseError::Document { kind: "image config", reason };
        if is_array(json) {
            return Err(bad("it is an array".to_owned()));
        }
        let config: Self = serde_json::from_slice(json).map_err(|error| bad(error.to_string()))?;
        if config.rootfs.kind != "layers" {
            return Err(bad(format!(
                "rootfs is of type {:?}, and only \"layers\" is known",
                config.rootfs.kind
            )));
        }
        for (field, value) in
            [("os", &config.os), ("architecture", &config.architecture), ("variant", &config.variant)]
        {
            // others name directories and platforms by them
            if !Platform::is_word(value) {
                return Err(bad(format!(
                    "{field} is {value:?}, and may have only letters, digits, \"_\", \".\" and \"-\""
                )));
            }
        }
        Ok(config)
    }

    /// Writes the document.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let json = serde_json::to_string(self).expect("a document of strings and numbers always serialises");
        let mut out = String::with_capacity(json.len());
        for c in json.chars() {
            match c {
                '<' => out.push_str("\\u003c"),
                '>' => out.push_str("\\u003e"),
                '&' => out.push_str("\\u0026"),
                '\u{2028}' => out.push_str("\\u2028"),
                '\u{2029}' => out.push_str("\\u2029"),
                other => out.push(other),
            }
        }
        out.into_bytes()
    }

    /// The image's identity: the digest of [`Self::to_json`].
    #[must_use]
    pub fn id(&self) -> ImageId {
        ImageId::from_digest(Digest::of(&self.to_json()))
    }
}

impl ContainerConfig {
    /// The value of environment variable `name`.
    #[must_use]
    pub fn env_value(&self, name: &str) -> Option<&str> {
        self.env.iter().find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }

    /// Sets `name`. A variable that exists keeps its place.
    pub fn set_env(&mut self, name: &str, value: &str) {
        let pair = format!("{name}={value}");
        let there =
            self.env.iter_mut().find(|old| old.split_once('=').map_or(old.as_str(), |(n, _)| n) == name);
        match there {
            Some(old) => *old = pair,
            None => self.env.push(pair),
        }
    }
}

fn null_is_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(d: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(d)?.unwrap_or_default())
}

fn empty_or_none(words: &Option<Vec<String>>) -> bool {
    words.as_ref().is_none_or(Vec::is_empty)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_false(value: &bool) -> bool {
    !value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_zero(value: &i64) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn config_bytes_are_docker_s() {
        let platform: Platform = "linux/amd64".parse().unwrap();
        let mut config = ImageConfig::scratch(&platform);
        config.config.set_env("A", "<&>");
        config.config.cmd = Some(vec!["sh".to_owned()]);
        config.config.exposed_ports.insert("80/tcp".to_owned(), Empty {});
        let json = String::from_utf8(config.to_json()).unwrap();
        assert_eq!(
            json,
            format!(
                "{{\"architecture\":\"amd64\",\"config\":{{\"ExposedPorts\":{{\"80/tcp\":{{}}}},\"Env\":[\"PATH={DEFAULT_PATH}\",\
                 \"A=\\u003c\\u0026\\u003e\"],\"Cmd\":[\"sh\"],\"WorkingDir\":\"/\"}},\"created\":null,\"history\":[],\
                 \"os\":\"linux\",\"rootfs\":{{\"type\":\"layers\"}}}}"
            )
        );
        assert_eq!(ImageConfig::from_json(json.as_bytes()).unwrap(), config);
    }

    #[test]
    fn a_cache_is_written_in_its_place_and_not_inherited() {
        let mut config = ImageConfig::scratch(&"linux/amd64".parse().unwrap());
        let plain = config.clone();
        config.buildkit_cache = Some("W10=".to_owned());
        config.build_cache = Some("e30=".to_owned());
        let json = String::from_utf8(config.to_json()).unwrap();
        let places = [
            "\"history\"",
            "\"moby.buildkit.cache.v0\":\"W10=\"",
            "\"os\"",
            "\"rbuild.cache\":\"e30=\"",
            "\"rootfs\"",
        ]
        .map(|key| json.find(key).unwrap());
        assert!(places.is_sorted(), "{json}");
        assert_eq!(ImageConfig::from_json(json.as_bytes()).unwrap(), plain);
    }

    #[test]
    fn nulls_of_old_images_are_read() {
        let json = br#"{"architecture":"amd64","os":"linux","config":{"Env":null,"Cmd":null,"Volumes":null,"ExposedPorts":{"80/tcp":null},"OnBuild":null},
            "rootfs":{"type":"layers","diff_ids":null},"history":null,"junk":1}"#;
        let config = ImageConfig::from_json(json).unwrap();
        assert!(config.config.exposed_ports.contains_key("80/tcp"));
        assert_eq!((config.config.env.len(), config.rootfs.diff_ids.len(), config.history.len()), (0, 0, 0));
    }
    #[test]
    fn every_field_but_the_required_ones_may_be_null() {
        let filled = br#"{"architecture":"amd64","author":"a","os":"linux","os.features":["f"],"os.version":"1","variant":"v",
            "created":"2024-01-02T03:04:05Z","rootfs":{"type":"layers","diff_ids":[]},
            "config":{"User":"u","Env":["A=1"],"Entrypoint":["e"],"Cmd":["c"],"Volumes":{},"WorkingDir":"/","Labels":{"l":""},
                "StopSignal":"9","ArgsEscaped":true,"OnBuild":["o"],"Shell":["s"],"ExposedPorts":{},
                "Healthcheck":{"Test":["NONE"],"Interval":1,"Timeout":1,"StartPeriod":1,"StartInterval":1,"Retries":1}},
            "history":[{"created":"2024-01-02T03:04:05Z","created_by":"x","author":"a","comment":"c","empty_layer":true}]}"#;
        let whole: serde_json::Value = serde_json::from_slice(filled).unwrap();
        for (place, required) in [
            ("", &["architecture", "os", "rootfs"][..]),
            ("/config", &[]),
            ("/config/Healthcheck", &[]),
            ("/history/0", &[]),
        ] {
            for field in whole.pointer(place).unwrap().as_object().unwrap().keys() {
                let mut changed = whole.clone();
                changed.pointer_mut(place).unwrap()[field] = serde_json::Value::Null;
                let read = ImageConfig::from_json(changed.to_string().as_bytes());
                assert_eq!(read.is_ok(), !required.contains(&field.as_str()), "{place}/{field}: {read:?}");
            }
        }
    }

    #[test]
    fn a_platform_that_is_no_word_is_refused() {
        let config = |os: &str, architecture: &str, variant: &str| {
            let rootfs = serde_json::json!({"type": "layers", "diff_ids": []});
            let json = serde_json::json!({"os": os, "architecture": architecture, "variant": variant, "rootfs": rootfs});
            ImageConfig::from_json(json.to_string().as_bytes()).map_err(|error| error.to_string())
        };
        assert!(config("linux", "amd64", "").is_ok() && config("unknown", "x86_64", "v2.1-a").is_ok());
        for (os, architecture, variant, field) in [
            ("linux", "../../x", "", "architecture"),
            ("li\u{1b}[31mnux", "amd64", "", "os"),
            ("linux", "arm", "v7\n", "variant"),
        ] {
            let error = config(os, architecture, variant).unwrap_err();
            assert!(error.contains(&format!("{field} is \"")) && !error.contains('\u{1b}'), "{error}");
        }
    }

    #[test]
    fn a_root_of_another_type_is_refused() {
        let json = br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers+base","diff_ids":[]}}"#;
        let error = ImageConfig::from_json(json).unwrap_err().to_string();
        assert_eq!(
            error,
            "invalid image config: rootfs is of type \"layers+base\", and only \"layers\" is known"
        );
    }
}
