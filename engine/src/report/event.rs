//! What the caller of a build hears while it runs. Everything is a type; a front end makes the words.

use crate::{ArchiveFormat, BuildRecord, Causes, FileChange, Finding, MissReason, MovedImage};
use rbuild_cache::StepHolder;
use rbuild_image::{Change, Difference};
use rbuild_oci::Platform;
use rbuild_registry::Notice as RegistryNotice;
use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

/// Files of a step that are named.
const NAMED: usize = 10;

const MEGABYTE: u64 = 1_000_000;
const GIGABYTE: u64 = 1_000_000_000;

/// The number of an activity, from 1 in the order of their beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ActivityId(pub u32);

/// One thing going on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Activity {
    /// The Dockerfile is read.
    LoadDefinition {
        /// Its name as shown.
        file: String,
    },
    /// A base image is looked for in another store on this machine, and copied if it is there.
    AskStore {
        /// In full.
        image: String,
        /// The store.
        store: String,
    },
    /// A base image is looked for, and fetched if it has to be.
    LoadMetadata {
        /// The image, in full.
        image: String,
        /// The named context that it comes from, if it does.
        context: Option<String>,
        /// The platform it is wanted for, in a build for several.
        platform: Option<Platform>,
    },
    /// Layers of an image that are still at its registry are fetched, because something touches their files.
    FetchLayers {
        /// The image, in full.
        image: String,
    },
    /// A remote source of an ADD is asked for, and fetched if it is not here or has changed.
    FetchSource {
        /// Its URL, without a password.
        source: String,
    },
    /// The description of a cache of other machines is read.
    ImportMount {
        /// The mount.
        id: String,
    },
    /// The description of a cache of other machines is read.
    ImportCache {
        /// The cache.
        from: String,
    },
    /// A cache for other machines is written.
    ExportCache {
        /// The cache.
        to: String,
    },
    /// A step of the plan is carried out, or was found in the cache.
    Step(StepName),
    /// A step that came from the cache is carried out again, to see whether it gives the same files.
    RepeatStep(StepName),
    /// The image is put together and named.
    Export,
    /// The image is written to an archive or a layout directory.
    ExportImage {
        /// The readers it is for.
        format: ArchiveFormat,
    },
    /// The files of the target are written to a tar.
    ExportTar,
    /// The files of the target are written to a directory.
    ExportDirectory,
    /// Images are read from an archive.
    Load,
    /// An image is fetched.
    Pull {
        /// Its name.
        image: String,
    },
    /// An image is sent.
    Push {
        /// Its name.
        image: String,
    },
    /// An image is given to a running docker or podman.
    LoadIntoDaemon {
        /// The daemon's address.
        daemon: String,
    },
}

/// The number, position and instruction by which users know a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepName {
    /// Its number in the plan, from 1, by which its log is found.
    pub number: u32,
    /// Docker's `[build 2/5]`.
    pub position: String,
    /// The instruction, such as `RUN make`.
    pub instruction: String,
}

/// A remark that belongs to an activity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// Another build makes the same step; its result is waited for.
    AwaitsOtherBuild {
        /// That build; `None` when it has not said so.
        holder: Option<StepHolder>,
        /// The time since it began the step.
        running: Duration,
    },
    /// As many steps run on the store, in this and other processes, as this build may have at once.
    AwaitsJob {
        /// How many.
        jobs: usize,
    },
    /// The step needed more memory before than is free now.
    AwaitsMemory {
        /// The bytes that it needed.
        expected: u64,
        /// The bytes that are free.
        available: u64,
    },
    /// A cache mount had become too large, so the next step that uses it begins with an empty one.
    CacheMountEmptied {
        /// Its id.
        id: String,
        /// Bytes that it took.
        bytes: u64,
        /// Bytes that it may take.
        most: u64,
    },
    /// Overlayfs is refused for this store, so root filesystems are copied, which takes time and room.
    RootsAreCopied,
    /// Steps cannot have networks of their own, so they have the host's.
    NetworkIsTheHosts {
        /// What is missing.
        reason: String,
    },
    /// What connects the network of a step ended while it ran.
    NetworkBrokeOff,
    /// A limit of RUN cannot be put into force here.
    LimitUnmet {
        /// The flags that ask for it.
        flags: String,
        /// What is missing, and how to get it.
        reason: String,
    },
    /// The registry has this blob already.
    BlobExists {
        /// Its digest, short.
        blob: String,
    },
    /// There is no result that a cache could be made of.
    NothingToShare,
    /// The daemon has the whole image already.
    ImageExists,
    /// The daemon has this many of the image's layers, which are not sent.
    LayersExist {
        /// How many it has.
        present: usize,
        /// How many there are.
        all: usize,
    },
    /// The registry took this blob from another of its repositories.
    BlobMounted {
        /// Its digest, short.
        blob: String,
        /// The repository.
        from: String,
    },
    /// Something in this layer could not be unpacked as it is.
    Blob {
        /// Its digest, short.
        blob: String,
        /// The message that says what could not be unpacked, and what became of it.
        remark: String,
    },
}

/// Something that does not stop a build and that a person should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// A part of the build cache fails and is not used.
    CacheFails {
        /// The part, whose removal costs time only.
        path: PathBuf,
        /// The reason.
        causes: Causes,
    },
    /// A part of the build cache was damaged and has lost something; this says what.
    CacheMended(String),
    /// The records of this build cannot be kept together, which makes the next one slower.
    RecentLost(Causes),
    /// Steps that were finished before a failure are not in the cache.
    FinishedLost(Causes),
    /// A layer in the store is damaged, so its step runs again.
    LayerDamaged {
        /// The step.
        step: String,
        /// The error, with its causes.
        causes: Causes,
    },
    /// The name of a locked image leads to another one now; the locked one is used.
    ImageMoved(MovedImage),
    /// A cache of other machines is not used.
    CacheNotImported {
        /// The cache.
        from: String,
        /// The reason.
        causes: Causes,
    },
    /// A cache mount was not brought from a cache of other machines, or not sent to one.
    CacheMountNotShared {
        /// The mount.
        id: String,
        /// The reason.
        causes: Causes,
    },
    /// A cache for other machines was not written, and the caller wanted no more than a warning.
    CacheNotExported {
        /// The cache.
        to: String,
        /// The reason.
        causes: Causes,
    },
    /// A layer that a cache of other machines promised cannot be had, so the step that makes it is carried out.
    CachedLayerLost {
        /// The reason.
        causes: Causes,
    },
    /// The record of this build cannot be written.
    RecordLost(Causes),
    /// A step that came from the cache gives other files when it is carried out again.
    NotReproducible {
        /// The instruction.
        step: String,
        /// Its number.
        number: u32,
        /// The files that are not those of the cache.
        files: Vec<FileChange>,
    },
    /// A step that came from the cache cannot be carried out again.
    NotRepeated {
        /// The instruction.
        step: String,
        /// Its number.
        number: u32,
        /// The error, with its causes.
        causes: Causes,
    },
    /// No ARG has the name of a build argument, and one nearly has.
    UnknownBuildArgument {
        /// The name.
        name: String,
        /// The name of the ARG.
        near: String,
    },
    /// Nothing uses a named context, and something nearly does.
    UnusedContext {
        /// The context's name.
        name: String,
        /// The name in the Dockerfile.
        near: String,
    },
    /// A registry makes the work wait, or a mirror failed.
    Registry(RegistryNotice),
    /// A step takes much of the context.
    LargeContext {
        /// The instruction.
        step: String,
        /// The bytes that it takes.
        bytes: u64,
        /// Where the most of it is: paths and their bytes, the largest first.
        largest: Vec<(String, u64)>,
    },
    /// The store is over its budget, and what it has is needed.
    OverBudget {
        /// Bytes that would have to go.
        lacking: u64,
    },
}

/// How an activity ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was carried out.
    Done,
    /// Its result was in the cache.
    Cached,
    /// It failed.
    Failed(Causes),
    /// It was given up because something else failed or the caller canceled.
    Canceled,
}

/// Something a caller may want to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An activity begins.
    Begun {
        /// Its number.
        activity: ActivityId,
        /// The kind of activity.
        what: Activity,
    },
    /// A piece of a command's output, standard output and error in the order written: not cut into lines, any bytes.
    Output {
        /// The activity.
        activity: ActivityId,
        /// The bytes.
        bytes: Vec<u8>,
        /// Since the activity began.
        elapsed: Duration,
    },
    /// A transfer has moved on.
    Transferred {
        /// The activity.
        activity: ActivityId,
        /// The thing that is transferred: a blob's short digest, or a path.
        subject: String,
        /// Bytes so far.
        done: u64,
        /// Bytes in all, when known.
        total: Option<u64>,
    },
    /// A remark that belongs to an activity.
    Note {
        /// The activity.
        activity: ActivityId,
        /// The remark.
        note: Note,
    },
    /// The result of a step is not in the cache, so it runs now.
    Missed {
        /// The activity.
        activity: ActivityId,
        /// The reason.
        reason: MissReason,
    },
    /// An activity is over.
    Ended {
        /// The activity.
        activity: ActivityId,
        /// How it ended.
        outcome: Outcome,
        /// How long it took.
        elapsed: Duration,
    },
    /// A build check found something in the Dockerfile.
    Found(Finding),
    /// Something that does not stop the build.
    Warning(Warning),
    /// The build is over, and this is its record: why each step ran, among others.
    Recorded(Box<BuildRecord>),
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CacheFails { path, causes } => write!(
                f,
                "the build cache fails and is not used ({causes}): if that stays so, remove {}, which costs time only",
                path.display()
            ),
            Self::CacheMended(remark) => f.write_str(remark),
            Self::RecentLost(causes) => {
                write!(f, "this build's cache records could not be kept together: {causes}")
            }
            Self::FinishedLost(causes) => write!(f, "finished steps could not be kept: {causes}"),
            Self::LayerDamaged { step, causes } => write!(f, "the layer of {step:?} is made again: {causes}"),
            Self::UnknownBuildArgument { name, near } => {
                write!(
                    f,
                    "no ARG is called {name}, so --build-arg {name} does nothing (did you mean {near}?)"
                )
            }
            Self::UnusedContext { name, near } => {
                write!(f, "nothing uses --build-context {name} (did you mean {near}?)")
            }
            Self::Registry(notice) => notice.fmt(f),
            Self::LargeContext { step, bytes, largest } => {
                write!(f, "{step} takes {} MB of the context", bytes / MEGABYTE)?;
                for (place, (path, bytes)) in largest.iter().enumerate() {
                    let before = if place == 0 { ", the most in" } else { "," };
                    write!(f, "{before} {path} ({} MB)", bytes / MEGABYTE)?;
                }
                write!(f, "; .dockerignore can leave out what is not needed: see rbuild context ls --size")
            }
            Self::OverBudget { lacking } => write!(
                f,
                "the store is {} over its budget, and images, containers, running builds or the reserved part of the cache need \
                 the rest: remove images that have lost their name with `rbuild image prune` and others with `rbuild rmi`, or \
                 raise the budget",
                in_units(*lacking)
            ),
            Self::ImageMoved(moved) => write!(f, "{moved}; the build uses the locked one"),
            Self::NotReproducible { step, number, files } => {
                write!(f, "step {number} ({step}) is not reproducible: {}", all_in_words(files))
            }
            Self::NotRepeated { step, number, causes } => {
                write!(f, "step {number} ({step}) could not be carried out again: {causes}")
            }
            Self::CacheNotImported { from, causes } => {
                write!(f, "the cache {from} is not used: {causes}")
            }
            Self::CacheMountNotShared { id, causes } => {
                write!(f, "the cache mount {id} does not travel: {causes}")
            }
            Self::CacheNotExported { to, causes } => write!(f, "the cache {to} was not written: {causes}"),
            Self::CachedLayerLost { causes } => {
                write!(f, "a cached layer cannot be had, and its step runs again: {causes}")
            }
            Self::RecordLost(causes) => write!(f, "the record of this build could not be written: {causes}"),
        }
    }
}

/// The first few of `files`, and how many more there are.
fn all_in_words(files: &[FileChange]) -> String {
    let named: Vec<String> = files.iter().take(NAMED).map(in_words).collect();
    let more = match files.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", named.join(", "))
}

/// A file and what is different about it, in a few words.
fn in_words(file: &FileChange) -> String {
    let what = match &file.change {
        Change::Added(_) => "added".to_owned(),
        Change::Removed => "missing".to_owned(),
        Change::Changed(differences) => {
            let words: Vec<String> = differences.iter().map(word).collect();
            words.join(", ")
        }
    };
    format!("/{} ({what})", String::from_utf8_lossy(&file.path))
}

fn word(difference: &Difference) -> String {
    match difference {
        Difference::Kind(..) => "another kind".to_owned(),
        Difference::Content(..) => "content".to_owned(),
        Difference::Mode(before, now) => format!("mode {before:04o} → {now:04o}"),
        Difference::Owner(before, now) => format!("owner {}:{} → {}:{}", before.0, before.1, now.0, now.1),
        Difference::Target(..) => "where it leads".to_owned(),
        Difference::Device => "device".to_owned(),
        Difference::Attributes => "attributes".to_owned(),
        Difference::Time => "time".to_owned(),
    }
}

/// Where events go. Called from many threads at once; it should return soon.
#[derive(Clone)]
pub struct EventSink(Arc<dyn Fn(Event) + Send + Sync>);

impl EventSink {
    /// A sink that hands each event to `receive`.
    pub fn new(receive: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self(Arc::new(receive))
    }

    /// A sink that drops everything.
    #[must_use]
    pub fn ignore() -> Self {
        Self::new(|_| {})
    }

    /// Hands `event` on.
    pub fn send(&self, event: Event) {
        (self.0)(event);
    }
}

/// `bytes` with one decimal, in the unit that suits them.
fn in_units(bytes: u64) -> String {
    let (unit, name) = match bytes {
        0..MEGABYTE => (1_000, "kB"),
        MEGABYTE..GIGABYTE => (MEGABYTE, "MB"),
        GIGABYTE.. => (GIGABYTE, "GB"),
    };
    format!("{}.{}{name}", bytes / unit, bytes % unit / (unit / 10))
}
