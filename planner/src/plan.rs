//! The plan that the engine schedules and the executor carries out. It has steps, never instructions.

use crate::env::Env;
use crate::graph::{StepGraph, StepId};
use crate::run_modes::{Network, Security};
use rbuild_oci::{HistoryEntry, ImageConfig, ImageId, ImagePath, Platform, Reference};
use rbuild_parser::{Lines, Lint};

/// Index of a stage in [`Plan::stages`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StageId(pub usize);

/// Index of an image in [`Plan::images`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageIndex(pub usize);

/// The steps and images that building the target takes.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Steps the target needs, in an order in which each comes after its inputs.
    pub steps: Vec<Step>,
    /// Stages the target needs (implicit ones for `COPY --from=image` included), in file order.
    pub stages: Vec<PlannedStage>,
    /// Images the plan starts from or copies from.
    pub images: Vec<PlannedImage>,
    /// The targets, each a stage for a platform, in the order in which they were asked for; never empty.
    pub targets: Vec<PlannedTarget>,
    /// Findings of the reachable part (the parser's own findings included), in Docker's order.
    pub lints: Vec<Lint>,
    /// The ARGs before the first FROM, in order.
    pub global_arguments: Vec<PlannedArgument>,
    /// `SOURCE_DATE_EPOCH`, seconds.
    pub source_date_epoch: Option<i64>,
    /// Rules that make the build fail (`error=true`); see [`Plan::lint_errors`].
    pub(crate) fatal_rules: Vec<String>,
    pub(crate) graph: StepGraph,
}

/// A stage whose image is a result.
#[derive(Clone, Debug)]
pub struct PlannedTarget {
    /// The stage.
    pub stage: StageId,
    /// Its image.
    pub image: TargetImage,
}

/// An image that was resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedImage {
    /// The name asked for.
    pub reference: Reference,
    /// The identity of the image that was found.
    pub id: ImageId,
    /// Its layer count (0 = treated as scratch).
    pub layers: usize,
    /// The platform it was asked for.
    pub platform: Platform,
}

/// The config of the target's image. [`TargetImage::finished_config`] adds DiffIds and times.
#[derive(Clone, Debug)]
pub struct TargetImage {
    /// The final config, with the base's `created`, history and diff_ids only.
    pub config: ImageConfig,
    /// New history entries, without times: those of the stages below the target (`FROM stage`) first.
    pub(crate) history: Vec<HistoryEntry>,
    /// The layers above the base image, lowest first.
    pub(crate) layers: Vec<PlannedLayer>,
}

/// A layer that the plan will make.
#[derive(Clone, Debug)]
pub(crate) struct PlannedLayer {
    /// The step that makes it.
    pub(crate) step: StepId,
    /// The history entry to add for it when no instruction makes one.
    pub(crate) description: String,
}

/// One stage.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedStage {
    /// Its name, or `stage-N`.
    pub display_name: String,
    /// Its name as written in the Dockerfile, lower-cased.
    pub name: Option<String>,
    /// The platform it is built for.
    pub platform: Platform,
    /// The stage it starts from, if it is one.
    pub parent: Option<StageId>,
    /// The stages it copies or mounts from, triggers included, each once.
    pub uses: Vec<StageId>,
    /// The ARGs of its own and of its triggers, in order.
    pub arguments: Vec<PlannedArgument>,
    /// The global arguments its FROM mentions, the automatic ones included.
    pub from_arguments: Vec<String>,
    /// The files that it starts from.
    pub base: Filesystem,
    /// Its own steps, in order.
    pub steps: Vec<StepId>,
    /// The files that it ends with: those of the last step, or of the base.
    pub result: Filesystem,
    /// `[stage 1/n] FROM REF`, for the line that shows the base image; `None` when the base is not an image.
    pub from_name: Option<String>,
    /// The FROM instruction, or the one that names an implicit stage.
    pub lines: Lines,
}

/// An ARG as it was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedArgument {
    /// Its name.
    pub name: String,
    /// The value in this build.
    pub value: Option<String>,
    /// The origin of the value.
    pub origin: ArgumentOrigin,
    /// The variables its default mentions; not of a stage's ARG, whose default sees the stage's variables.
    pub needs: Vec<String>,
    /// The lines of the ARG.
    pub lines: Lines,
}

/// The origin of the value of an ARG.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgumentOrigin {
    /// A build argument or its own default; also when it has no value.
    Itself,
    /// The global argument of its name.
    Global,
}

/// A root filesystem that a step reads or changes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Filesystem {
    /// An empty filesystem.
    Scratch,
    /// An image's files.
    Image(ImageIndex),
    /// The result of a step.
    Step(StepId),
    /// The main build context.
    Context,
    /// A named context that is a local directory (key of the request's named contexts).
    NamedContext(String),
}

/// An operation that makes one layer.
#[derive(Clone, Debug)]
pub struct Step {
    /// The index of the step.
    pub id: StepId,
    /// The stage of the step.
    pub stage: StageId,
    /// The files it works on.
    pub parent: Filesystem,
    /// The operation.
    pub action: Action,
    /// The name that is shown after `[stage i/n]`, such as `RUN make`.
    pub name: String,
    /// `[stage i/n]`, ready to print.
    pub position: String,
    /// The lines of its instruction in the Dockerfile.
    pub lines: Lines,
    /// Use of recorded results, which `--no-cache` and `--no-cache-filter` forbid.
    pub cache: CachePolicy,
}

/// Use of recorded results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CachePolicy {
    /// A recorded result is used.
    Use,
    /// The step runs in any case; its result is recorded.
    Ignore,
}

/// The operation of a step.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// RUN
    Run(RunAction),
    /// COPY and ADD
    Copy(CopyAction),
    /// WORKDIR other than `/`
    Workdir(WorkdirAction),
}

/// RUN.
#[derive(Clone, Debug, PartialEq)]
pub struct RunAction {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The program of SHELL, for a person who looks into the step; not part of the key.
    pub shell: String,
    /// The variables in the order in which the command gets them; part of the key. Shared with other steps.
    pub env: Env,
    /// Proxy variables, which are not part of the key.
    pub proxy_env: Vec<String>,
    /// Working directory.
    pub cwd: ImagePath,
    /// USER as written.
    pub user: String,
    /// `--network`, or the build's.
    pub network: Network,
    /// `--security`.
    pub security: Security,
    /// `--mount`s, sorted so that parents come before children.
    pub mounts: Vec<Mount>,
    /// `--device`s, in order.
    pub devices: Vec<DeviceRequest>,
    /// Scripts for `/dev/pipes/NAME` (name, content): here-documents beginning with `#!`.
    pub scripts: Vec<(String, String)>,
    /// Host name inside.
    pub hostname: String,
}

/// One `RUN --device`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRequest {
    /// The name as it was written.
    pub name: String,
    /// True if the step fails when the machine describes no such device.
    pub required: bool,
}

/// One `RUN --mount`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The target path.
    pub target: ImagePath,
    /// The kind of mount.
    pub kind: MountKind,
}

/// The kinds of `RUN --mount`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountKind {
    /// Files of a context, stage or image.
    Bind {
        /// The filesystem with the files.
        from: Filesystem,
        /// The path in that filesystem.
        source: ImagePath,
        /// Writes are thrown away, or refused.
        access: Access,
    },
    /// A directory that outlives the build.
    Cache {
        /// Identity, as written or the target; with namespace.
        id: String,
        /// The filesystem that a new cache directory is filled from.
        from: Filesystem,
        /// The path in that filesystem.
        source: ImagePath,
        /// Sharing among concurrent steps.
        sharing: Sharing,
        /// Read-only or not.
        access: Access,
        /// Mode of the generated directory.
        mode: Option<u32>,
        /// Owner of the generated directory.
        uid: Option<u32>,
        /// Group of the generated directory.
        gid: Option<u32>,
    },
    /// A filesystem in memory.
    Tmpfs {
        /// Size in bytes; `None` is unlimited.
        size: Option<u64>,
    },
    /// A secret file and/or variable.
    Secret {
        /// The id of the secret.
        id: String,
        /// True if a file is mounted at the target.
        file: bool,
        /// The variable to set.
        env: Option<String>,
        /// True if the step fails when the caller does not have it.
        required: bool,
        /// Mode of the file.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
    /// An agent socket.
    Ssh {
        /// The id of the agent.
        id: String,
        /// True if the step fails when the caller does not have it.
        required: bool,
        /// Mode of the socket.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
}

/// Access to a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// No.
    ReadOnly,
    /// Yes.
    ReadWrite,
}

/// Sharing of a cache mount by concurrent steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sharing {
    /// All use it at once.
    Shared,
    /// Each concurrent one gets its own.
    Private,
    /// One at a time.
    Locked,
}

/// COPY and ADD.
#[derive(Clone, Debug, PartialEq)]
pub struct CopyAction {
    /// The filesystem that paths are read from. Inline files and URLs do not use it.
    pub from: Filesystem,
    /// The sources, in order.
    pub sources: Vec<CopySource>,
    /// Absolute destination, cleaned.
    pub destination: ImagePath,
    /// The destination was written with a trailing `/` or `/.`, or as `.` or `""`.
    pub destination_is_directory: bool,
    /// `--chown`, expanded.
    pub chown: Option<String>,
    /// `--chmod`, checked.
    pub chmod: Option<Chmod>,
    /// `--link`.
    pub link: bool,
    /// `--parents`.
    pub parents: bool,
    /// `--exclude` patterns.
    pub exclude: Vec<String>,
    /// The archives that are extracted.
    pub unpack: Unpack,
    /// `--checksum`.
    pub checksum: Option<String>,
    /// `--keep-git-dir`.
    pub git_directory: GitDirectory,
}

impl CopyAction {
    /// A copy of `sources` in `from` into the directory `destination`, without any flag.
    #[must_use]
    pub fn plain(from: Filesystem, sources: Vec<CopySource>, destination: ImagePath) -> Self {
        Self {
            from,
            sources,
            destination,
            destination_is_directory: true,
            chown: None,
            chmod: None,
            link: false,
            parents: false,
            exclude: Vec::new(),
            unpack: Unpack::Never,
            checksum: None,
            git_directory: GitDirectory::Removed,
        }
    }
}

/// Treatment of the `.git` directory of a repository in ADD.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GitDirectory {
    /// The directory is left out.
    Removed,
    /// The directory is copied too.
    Kept,
}

/// The archives that ADD extracts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unpack {
    /// COPY, `ADD --unpack=false`: nothing.
    Never,
    /// ADD: local archives.
    Local,
    /// `ADD --unpack=true`: remote ones as well.
    Always,
}

/// `--chmod`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Chmod {
    /// Octal.
    Octal(u32),
    /// Symbolic clauses, checked, as written: `u+x,go-w`.
    Symbolic(String),
}

/// A source operand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopySource {
    /// A path or glob in [`CopyAction::from`], as written after expansion.
    Path(String),
    /// An inline file.
    Inline {
        /// Its name.
        name: String,
        /// Its content, expanded.
        content: Vec<u8>,
    },
    /// An HTTP(S) URL.
    Http(String),
    /// A Git repository, as written.
    Git(String),
}

/// WORKDIR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkdirAction {
    /// The directory.
    pub path: ImagePath,
    /// USER as written, who owns the directory.
    pub user: String,
}

impl Plan {
    /// The first target, which is the only one unless the plan was joined with others.
    #[must_use]
    pub fn target(&self) -> &PlannedTarget {
        &self.targets[0]
    }

    /// The steps whose results `step` needs.
    pub fn dependencies(&self, step: StepId) -> impl Iterator<Item = StepId> {
        self.graph.inputs(step)
    }

    /// The steps that need the result of `step`.
    pub fn dependents(&self, step: StepId) -> impl Iterator<Item = StepId> {
        self.graph.users(step)
    }
}
