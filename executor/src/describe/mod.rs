//! What goes into a step's hash, and only here: each kind of step with the fields of the Dockerfile specification's
//! cache contract. Never in it: times, host paths, the user of the checkout, proxy variables, host addresses, secret
//! values, the content of cache mounts.
//!
//! The same inputs are kept in readable form beside the hash, so that a miss can be explained.

mod operands;

use rbuild_cache::{CacheKey, KeyBuilder, StepHash, StepInputs};
use rbuild_oci::{Digest, ImageId, ImagePath, Platform, Timestamp};
use rbuild_planner::{
    Chmod, CopyAction, CopySource, DeviceRequest, Network, RunAction, Security, Unpack, WorkdirAction,
};
use rbuild_sys::limits::Limits;
use std::fmt;

/// A step's hash and what went into it.
#[derive(Clone, Debug)]
pub struct StepDescription {
    /// The hash, without the parent.
    pub step: StepHash,
    /// The inputs in readable form.
    pub inputs: StepInputs,
}

/// The parts of a RUN's hash that its action does not have.
#[derive(Clone, Copy, Debug)]
pub struct RunSurroundings<'a> {
    /// The stage's platform.
    pub platform: &'a Platform,
    /// For each mount, in order, the hash of the files it shows, if it shows any.
    pub mount_contents: &'a [Option<StepHash>],
    /// Names given by `--add-host`; the addresses do not count.
    pub host_names: &'a [&'a str],
    /// `--shm-size`.
    pub shm_size: Option<u64>,
    /// `--ulimit` and `--cgroup-parent` count.
    pub limits: &'a Limits,
}

/// Writes a field into the hash and into the readable inputs at once, so that neither can forget one.
struct Description {
    key: KeyBuilder,
    inputs: StepInputs,
}

impl Description {
    fn new(kind: &str) -> Self {
        Self { key: KeyBuilder::new(kind), inputs: StepInputs::new(kind) }
    }

    fn field(mut self, name: &str, value: &str) -> Self {
        self.key = self.key.field(name, value);
        self.inputs = self.inputs.with(name, value);
        self
    }

    fn optional(mut self, name: &str, value: Option<&str>) -> Self {
        self.key = self.key.optional(name, value);
        if let Some(value) = value {
            self.inputs = self.inputs.with(name, value);
        }
        self
    }

    fn list<'a>(mut self, name: &str, values: impl Iterator<Item = &'a str> + Clone) -> Self {
        self.key = self.key.list(name, values.clone());
        for (position, value) in values.enumerate() {
            self.inputs = self.inputs.with(&format!("{name}[{position}]"), value);
        }
        self
    }

    /// The variables, each with its own name among the readable inputs.
    fn environment(mut self, pairs: &[String]) -> Self {
        self.key = self.key.list("env", pairs);
        for pair in pairs {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            self.inputs = self.inputs.with(&format!("env {name}"), value);
        }
        self
    }

    /// The mounts, each with its target among the readable inputs.
    fn mounts(mut self, action: &RunAction, contents: &[Option<StepHash>]) -> Self {
        let contents = contents.iter().copied().chain(std::iter::repeat(None));
        let mounts: Vec<_> = action.mounts.iter().zip(contents).collect();
        let hashes = mounts.iter().map(|(mount, content)| operands::mount(mount, *content));
        self.key = self.key.list("mount", hashes.map(|hash| *hash.as_bytes()));
        for (mount, content) in mounts {
            let text = operands::mount_text(mount, content);
            self.inputs = self.inputs.with(&format!("mount {}", mount.target), &text);
        }
        self
    }

    /// The devices, if there are any: steps without have the keys that they had before there were some.
    fn devices(self, devices: &[DeviceRequest]) -> Self {
        if devices.is_empty() {
            self
        } else {
            self.list("device", devices.iter().map(|one| one.name.as_str()))
        }
    }

    fn finish(self) -> StepDescription {
        StepDescription { step: self.key.finish_step(), inputs: self.inputs }
    }
}

/// Describes a RUN.
#[must_use]
pub fn describe_run(action: &RunAction, around: &RunSurroundings<'_>) -> StepDescription {
    let network = match action.network {
        Network::Default => "default",
        Network::Host => "host",
        Network::None => "none",
    };
    let security = match action.security {
        Security::Sandbox => "sandbox",
        Security::Insecure => "insecure",
    };
    let scripts: Vec<String> = action.scripts.iter().map(|(name, body)| format!("{name}\n{body}")).collect();
    // as docker's: what a process can see of itself, and not how much of the machine it may use
    let ulimits: Vec<String> = around.limits.ulimits.iter().map(ToString::to_string).collect();
    let shm_size = around.shm_size.map(|size| size.to_string());
    Description::new("run")
        .list("argv", action.argv.iter().map(String::as_str))
        .environment(&action.env.pairs())
        .field("cwd", action.cwd.as_str())
        .field("user", &action.user)
        .field("hostname", &action.hostname)
        .field("network", network)
        .field("security", security)
        .mounts(action, around.mount_contents)
        .devices(&action.devices)
        .list("script", scripts.iter().map(String::as_str))
        .list("host", around.host_names.iter().copied())
        .optional("shm-size", shm_size.as_deref())
        .list("ulimit", ulimits.iter().map(String::as_str))
        .optional("cgroup-parent", around.limits.parent.as_deref())
        .field("platform", &around.platform.to_string())
        .finish()
}

/// Describes a COPY or ADD of the files with the digest `files`. Its readable inputs do not name them.
#[must_use]
pub fn describe_copy(action: &CopyAction, files: &Digest) -> StepDescription {
    let chmod = action.chmod.as_ref().map(|chmod| match chmod {
        Chmod::Octal(mode) => format!("{mode:o}"),
        Chmod::Symbolic(clauses) => clauses.clone(),
    });
    let unpack = match action.unpack {
        Unpack::Never => "never",
        Unpack::Local => "local",
        Unpack::Always => "always",
    };
    let flag = |name: &str, set: bool| format!("{name}={set}");
    let flags = [
        flag("directory", action.destination_is_directory),
        flag("link", action.link),
        flag("parents", action.parents),
        format!("unpack={unpack}"),
    ];
    let mut description = Description::new("copy")
        .field("destination", action.destination.as_str())
        .list("flag", flags.iter().map(String::as_str))
        .optional("chown", action.chown.as_deref())
        .optional("chmod", chmod.as_deref())
        .list("exclude", action.exclude.iter().map(String::as_str));
    description.key = description.key.digest("files", files);
    description.finish()
}

/// Describes a WORKDIR; `epoch` is SOURCE_DATE_EPOCH, which becomes the directory's time.
#[must_use]
pub fn describe_workdir(action: &WorkdirAction, epoch: Option<i64>) -> StepDescription {
    let epoch = epoch.map(|seconds| seconds.to_string());
    Description::new("workdir")
        .field("path", action.path.as_str())
        .field("user", &action.user)
        .optional("epoch", epoch.as_deref())
        .finish()
}

/// The key of an empty root filesystem.
#[must_use]
pub fn scratch_key() -> CacheKey {
    CacheKey::definition(None, &KeyBuilder::new("scratch").finish_step())
}

/// The key of the root filesystem of image `id`.
#[must_use]
pub fn image_key(id: &ImageId) -> CacheKey {
    CacheKey::definition(None, &KeyBuilder::new("image").digest("id", id.as_digest()).finish_step())
}

/// Stands for the files that `sources` select in a stage or image with the key `of`, until a build reads them.
#[must_use]
pub fn describe_layer_files(of: &CacheKey, sources: &[CopySource]) -> Digest {
    let files = KeyBuilder::new("files of layers")
        .field("of", of.as_bytes())
        .list("sources", sources.iter().map(|source| *operands::copy_source(source).as_bytes()))
        .finish_step();
    Digest::from_bytes(*files.as_bytes())
}

/// What decides which files `action` selects in a directory: its sources and flags, without those that are remote. Selections that
/// are equal in this select the same files of the same directory. `of` says what the selection is for.
#[must_use]
pub fn describe_selection(action: &CopyAction, of: &str) -> Digest {
    let is_local = |source: &&CopySource| matches!(source, CopySource::Path(_) | CopySource::Inline { .. });
    let sources = action.sources.iter().filter(is_local);
    let selection = KeyBuilder::new("selection 1")
        .list("sources", sources.map(|source| *operands::copy_source(source).as_bytes()))
        .list("exclude", action.exclude.iter())
        .number("parents", u64::from(action.parents))
        .field("of", of)
        .finish_step();
    Digest::from_bytes(*selection.as_bytes())
}

/// The identity of a remote source, which stands for its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteIdentity {
    /// A file of the web.
    File {
        /// Its name in the image.
        name: Vec<u8>,
        /// Of its bytes.
        digest: Digest,
        /// The time of its last change, in seconds since 1970.
        modified: i64,
    },
    /// Files of a repository.
    Repository {
        /// The commit, in hexadecimal digits.
        commit: String,
        /// The directory that is taken; empty for all.
        subdirectory: String,
        /// The parts of it that are made: `.git`, the repositories inside, times of the commit.
        parts: Vec<&'static str>,
    },
    /// It is not known, so that no result is its.
    Unknown,
}

impl fmt::Display for RemoteIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { digest, modified, .. } => match Timestamp::from_seconds(*modified) {
                Some(time) => write!(f, "{digest} of {time}"),
                None => digest.fmt(f),
            },
            Self::Repository { commit, subdirectory, parts } => {
                write!(f, "{commit}:{subdirectory} {}", parts.join(" "))
            }
            Self::Unknown => f.write_str("not fetched"),
        }
    }
}

/// Stands for the files of an ADD with remote sources. `local` is the digest of what it takes from its context; `remote` has
/// the other sources by their places.
#[must_use]
pub fn describe_remote_files(local: &Digest, remote: &[(usize, RemoteIdentity)]) -> Digest {
    let files = KeyBuilder::new("remote files")
        .digest("local", local)
        .list("remote", remote.iter().map(|(place, of)| *operands::remote(*place, of).as_bytes()))
        .finish_step();
    Digest::from_bytes(*files.as_bytes())
}

/// Stands for the files at `source` that a RUN mounts from a stage or image with the key `of`.
#[must_use]
pub fn describe_mounted_layers(of: &CacheKey, source: &ImagePath) -> StepHash {
    KeyBuilder::new("mounted").field("of", of.as_bytes()).field("source", source.as_str()).finish_step()
}

/// Stands for a directory that a RUN mounts: its `files`, and its own mode.
#[must_use]
pub fn describe_shown_directory(files: &StepHash, mode: u32) -> StepHash {
    let shown = KeyBuilder::new("mounted directory").field("files", files.as_bytes());
    shown.number("mode", u64::from(mode)).finish_step()
}
