//! Everything about an image or a container, as `inspect` shows it.
//!
//! The types have every field, which is what templates see. What is printed lacks a few of them when they are empty, as Go's
//! `omitempty` has it: [`ImageInspect::printed`], [`ContainerInspect::printed`].

use crate::{
    config::{Config, ContainerPart, without_unset},
    containers::state,
    host_config::HostConfig,
    names::with_tag,
    ports::NetworkSettings,
    volumes::{MountInspect, mounts},
};
use rbuild::{
    Container, ContainerFiles, ContainerHealth, ContainerSizes, ContainerState, DiffId, HealthResult, Image,
    ImageId, Timestamp, VolumeName,
};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Fields of a `HostConfig` that are not printed when there is nothing in them.
const LEFT_OUT: [&str; 5] = ["Annotations", "Init", "Mounts", "Sysctls", "Tmpfs"];

/// An image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ImageInspect {
    /// The image.
    pub id: ImageId,
    /// Its names.
    pub repo_tags: Vec<String>,
    /// Its names with the digests they were pulled with or pushed as.
    pub repo_digests: Vec<String>,
    /// Always empty: no image has a parent.
    pub parent: &'static str,
    /// The remark of its last instruction.
    pub comment: String,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// Always empty.
    pub docker_version: &'static str,
    /// The author of the image.
    pub author: String,
    /// GOARCH.
    pub architecture: String,
    /// Processor variant.
    pub variant: String,
    /// GOOS.
    pub os: String,
    /// Operating system version (Windows).
    pub os_version: String,
    /// Bytes of its layers.
    pub size: u64,
    /// How it is stored.
    pub graph_driver: GraphDriver,
    /// Its layers.
    #[serde(rename = "RootFS")]
    pub root_fs: RootFs,
    /// Facts that the store knows besides.
    pub metadata: Metadata,
    /// The settings that its containers run with.
    pub config: Config,
}

/// How an image is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GraphDriver {
    /// The directories of a container by docker's names; nothing of an image, whose layers may still be elsewhere.
    pub data: Option<BTreeMap<&'static str, String>>,
    /// `overlayfs`.
    pub name: &'static str,
}

/// Layers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct RootFs {
    /// `layers`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// Lowest first.
    pub layers: Vec<DiffId>,
}

/// Facts that the store knows of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Metadata {
    /// When it last got a name.
    pub last_tag_time: String,
}

/// A container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerInspect {
    /// The container.
    pub id: String,
    /// When it was made.
    pub created: Timestamp,
    /// Its program.
    pub path: String,
    /// The program's arguments.
    pub args: Vec<String>,
    /// Where it stands.
    pub state: State,
    /// Its image.
    pub image: ImageId,
    #[serde(flatten)]
    paths: Paths,
    /// Its name, with a slash before it.
    pub name: String,
    /// Always 0: nothing starts a container again.
    pub restart_count: u32,
    /// `overlayfs`.
    pub driver: &'static str,
    /// `linux`.
    pub platform: &'static str,
    #[serde(flatten)]
    unmarked: Unmarked,
    /// What it is given of the host.
    pub host_config: HostConfig,
    /// Bytes of the files that it has written, if they were asked for.
    pub size_rw: Option<u64>,
    /// Bytes of all its files, if they were asked for.
    pub size_root_fs: Option<u64>,
    /// How it is stored.
    pub graph_driver: GraphDriver,
    /// What it sees beside its image.
    pub mounts: Vec<MountInspect>,
    /// The settings it runs with.
    pub config: Config,
    /// Its network.
    pub network_settings: NetworkSettings,
}

/// Files of a container on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Paths {
    /// Empty: what is mounted for names is in no file of the host.
    resolv_conf_path: &'static str,
    hostname_path: &'static str,
    hosts_path: &'static str,
    /// Its log; empty where none is kept.
    log_path: String,
}

/// Marks of security modules, which no container has, and its further programs, of which no list is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Unmarked {
    mount_label: &'static str,
    process_label: &'static str,
    app_armor_profile: &'static str,
    #[serde(rename = "ExecIDs")]
    exec_ids: Option<()>,
}

/// Where a container stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct State {
    /// `created`, `running`, `paused` or `exited`.
    pub status: &'static str,
    /// True if its program runs.
    pub running: bool,
    /// True if its processes are made to stand still.
    pub paused: bool,
    /// Never: nothing starts a container again.
    pub restarting: bool,
    /// True if the kernel killed a process of its last program at the limit of its memory.
    #[serde(rename = "OOMKilled")]
    pub oom_killed: bool,
    /// Never.
    pub dead: bool,
    /// Its first process as the host sees it; 0 without one.
    pub pid: i32,
    /// The program's exit code; 0 before it has one.
    pub exit_code: i32,
    /// Always empty.
    pub error: &'static str,
    /// When its program was started.
    pub started_at: String,
    /// When its program ended.
    pub finished_at: String,
    /// What its health checks have found, if there are any.
    pub health: Option<Health>,
}

/// What health checks have found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Health {
    /// `starting`, `healthy` or `unhealthy`.
    pub status: &'static str,
    /// How many have failed one after another.
    pub failing_streak: u32,
    /// The last ones, the oldest first.
    pub log: Vec<HealthcheckResult>,
}

/// What came of one health check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct HealthcheckResult {
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// Its exit code; -1 when it took too long or could not be started.
    pub exit_code: i32,
    /// What it wrote.
    pub output: String,
}

impl From<&ContainerHealth> for Health {
    fn from(health: &ContainerHealth) -> Self {
        let result = |result: &HealthResult| HealthcheckResult {
            start: result.start,
            end: result.end,
            exit_code: result.exit_code,
            output: result.output.clone(),
        };
        Self {
            status: health.status.word(),
            failing_streak: health.failing_streak,
            log: health.log.iter().map(result).collect(),
        }
    }
}

impl From<&Image> for ImageInspect {
    fn from(image: &Image) -> Self {
        let config = &image.config;
        let digests = image.digests.iter();
        let digests: BTreeSet<String> =
            digests.map(|(name, digest)| format!("{}@{digest}", name.familiar_repository())).collect();
        Self {
            id: image.id,
            repo_tags: image.names.iter().filter(|name| name.tag().is_some()).map(with_tag).collect(),
            repo_digests: digests.into_iter().collect(),
            parent: "",
            comment: config.history.last().map(|entry| entry.comment.clone()).unwrap_or_default(),
            created: config.created,
            docker_version: "",
            author: config.author.clone(),
            architecture: config.architecture.clone(),
            variant: config.variant.clone(),
            os: config.os.clone(),
            os_version: config.os_version.clone(),
            size: image.size,
            graph_driver: GraphDriver { data: None, name: "overlayfs" },
            root_fs: RootFs { kind: config.rootfs.kind.clone(), layers: config.rootfs.diff_ids.clone() },
            metadata: Metadata { last_tag_time: moment(image.tagged) },
            config: Config::from(&config.config),
        }
    }
}

impl ContainerInspect {
    /// All about `container`, whose parts are in `files`; `mountpoint` says where the files of a volume are.
    #[must_use]
    pub fn new(
        (container, files): (&Container, &ContainerFiles),
        sizes: Option<ContainerSizes>,
        mountpoint: &dyn Fn(&VolumeName) -> String,
    ) -> Self {
        let exit_code = match container.state {
            ContainerState::Created | ContainerState::Running => 0,
            ContainerState::Exited(code) => code,
        };
        let state = State {
            status: state(container),
            running: container.state == ContainerState::Running,
            paused: container.paused,
            restarting: false,
            oom_killed: container.oom_killed,
            dead: false,
            pid: container.pid.unwrap_or(0),
            exit_code,
            error: "",
            started_at: moment(container.started),
            finished_at: moment(container.finished),
            health: container.health.as_ref().map(Health::from),
        };
        Self {
            id: container.id.clone(),
            created: container.created,
            path: container.command.first().cloned().unwrap_or_default(),
            args: container.command.get(1..).unwrap_or_default().to_vec(),
            state,
            image: container.image_id,
            paths: Paths {
                resolv_conf_path: "",
                hostname_path: "",
                hosts_path: "",
                log_path: files.log.as_ref().map(|log| log.display().to_string()).unwrap_or_default(),
            },
            name: format!("/{}", container.name),
            restart_count: 0,
            driver: "overlayfs",
            platform: "linux",
            unmarked: Unmarked::default(),
            host_config: HostConfig::from(container),
            size_rw: sizes.map(|sizes| sizes.written),
            size_root_fs: sizes.map(|sizes| sizes.all),
            graph_driver: GraphDriver { data: Some(directories(container, files)), name: "overlayfs" },
            mounts: mounts(container, mountpoint),
            network_settings: NetworkSettings::from(container),
            config: Config {
                container: Some(ContainerPart::from(container)),
                ..Config::from(&container.config)
            },
        }
    }
}

/// The directories of a container. What they are together is in no mount of the host, and seen through its program alone.
fn directories(container: &Container, files: &ContainerFiles) -> BTreeMap<&'static str, String> {
    let lower = files.lower.iter().map(|path| path.display().to_string());
    let merged = container.pid.map(|pid| format!("/proc/{pid}/root"));
    BTreeMap::from([
        ("ID", container.id.clone()),
        ("LowerDir", lower.collect::<Vec<_>>().join(":")),
        ("MergedDir", merged.unwrap_or_default()),
        ("UpperDir", files.changes.display().to_string()),
        ("WorkDir", files.work.display().to_string()),
    ])
}

impl ImageInspect {
    /// The printed form, without the fields that Docker leaves out when they are empty.
    #[must_use]
    pub fn printed(&self) -> Value {
        let mut whole = value(self);
        if let Some(fields) = whole.as_object_mut() {
            fields.retain(|name, value| !matches!(name.as_str(), "Variant" | "OsVersion") || value != "");
        }
        without_unset(&mut whole["Config"]);
        whole
    }

    /// Every field, for templates.
    #[must_use]
    pub fn complete(&self) -> Value {
        value(self)
    }
}

impl ContainerInspect {
    /// The printed form, without the fields that Docker leaves out when they are empty.
    #[must_use]
    pub fn printed(&self) -> Value {
        let mut whole = value(self);
        if let Some(fields) = whole.as_object_mut() {
            fields.retain(|name, value| !name.starts_with("Size") || !value.is_null());
        }
        if let Some(fields) = whole["HostConfig"].as_object_mut() {
            let is_unset = |value: &Value| {
                value.is_null()
                    || value.as_array().is_some_and(Vec::is_empty)
                    || value.as_object().is_some_and(Map::is_empty)
            };
            fields.retain(|name, value| !LEFT_OUT.contains(&name.as_str()) || !is_unset(value));
        }
        if let Some(fields) = whole["State"].as_object_mut() {
            fields.retain(|name, value| name != "Health" || !value.is_null());
        }
        for mount in whole["Mounts"].as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            mount.retain(|name, value| !matches!(name.as_str(), "Name" | "Driver") || value != "");
        }
        without_unset(&mut whole["Config"]);
        whole
    }

    /// Every field, for templates.
    #[must_use]
    pub fn complete(&self) -> Value {
        value(self)
    }
}

fn value(shape: &impl Serialize) -> Value {
    serde_json::to_value(shape).expect("all keys are texts")
}

/// A moment, or the one that stands for none in Go.
fn moment(moment: Option<Timestamp>) -> String {
    moment.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |moment| moment.to_string())
}
