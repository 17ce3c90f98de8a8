//! What one build knows while it runs: its plan, its contexts, and the results so far, shared by its workers.

use crate::{
    BuildRequest, Engine, Error, NamedContextSource, diagnostic::DockerfileText, reporter::Reporter,
    resolve::BaseImages,
};
use rbuild_cache::{CacheKey, CacheRecord, KeyBuilder, LayerId, Lease, Recorder, SiteHash, StepHash};
use rbuild_executor::{Cancel, HostFiles, Selection, SourceRoot, StepDescription};
use rbuild_oci::Timestamp;
use rbuild_planner::{CachePolicy, Filesystem, Plan, StepId};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};
use tokio::sync::Semaphore;

/// One build in progress.
pub(crate) struct Session {
    pub(crate) engine: Engine,
    pub(crate) request: BuildRequest,
    pub(crate) plan: Plan,
    pub(crate) images: BaseImages,
    pub(crate) text: DockerfileText,
    pub(crate) reporter: Reporter,
    /// Keeps the layers of this build from being pruned.
    pub(crate) lease: Lease,
    pub(crate) cancel: Cancel,
    pub(crate) host_files: HostFiles,
    contexts: Mutex<BTreeMap<Option<String>, Arc<SourceRoot>>>,
    keys: Mutex<BTreeMap<StepId, Arc<Keyed>>>,
    results: Mutex<BTreeMap<StepId, StepResult>>,
    /// Records of the same steps on other parents, for content keys.
    earlier: Mutex<BTreeMap<StepHash, Vec<CacheRecord>>>,
    recorder: OnceLock<Recorder>,
    /// Steps with an input that is run whatever the cache says (`--no-cache-filter`): their definition says nothing.
    renewed: BTreeSet<StepId>,
    contended: AtomicBool,
    /// Turns at hashing layers.
    pub(crate) hashers: Arc<Semaphore>,
}

/// A step whose inputs are known.
#[derive(Debug)]
pub(crate) struct Keyed {
    pub(crate) key: CacheKey,
    pub(crate) parent: CacheKey,
    /// Its hash and what went into it.
    pub(crate) description: StepDescription,
    /// The files a COPY from a context would copy.
    pub(crate) selection: Option<Arc<Selection>>,
    /// For each mount of a RUN, in order, the hash of the files it shows, if it shows any.
    pub(crate) mount_contents: Vec<Option<StepHash>>,
}

/// A step that is done.
#[derive(Clone, Debug)]
pub(crate) struct StepResult {
    /// The whole stack, its own layer on top.
    pub(crate) stack: Arc<[LayerId]>,
    /// Its record, for the records kept of this build.
    pub(crate) record: Arc<CacheRecord>,
    pub(crate) origin: Origin,
}

/// Where a result came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Cache,
    Executed,
}

/// Whether a build has written records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recorded {
    Something,
    Nothing,
}

impl StepResult {
    /// The result `record` stands for, on the layers `parent`.
    pub(crate) fn new(record: CacheRecord, parent: &[LayerId], origin: Origin) -> Self {
        let stack = parent.iter().copied().chain([record.layer]).collect();
        Self { stack, record: Arc::new(record), origin }
    }

    /// Its own layer.
    pub(crate) fn layer(&self) -> LayerId {
        self.record.layer
    }

    /// When the layer was made.
    pub(crate) fn created(&self) -> Timestamp {
        self.record.created
    }
}

impl Session {
    pub(crate) fn new(
        engine: &Engine,
        request: &BuildRequest,
        (plan, images): (Plan, BaseImages),
        text: &DockerfileText,
        reporter: &Reporter,
    ) -> Result<Self, Error> {
        let renewed = renewed(&plan);
        Ok(Self {
            engine: engine.clone(),
            request: request.clone(),
            plan,
            images,
            text: text.clone(),
            reporter: reporter.clone(),
            lease: engine.store.lease()?,
            cancel: Cancel::default(),
            host_files: HostFiles::new(&engine.store, &request.add_hosts),
            contexts: Mutex::default(),
            keys: Mutex::default(),
            results: Mutex::default(),
            earlier: Mutex::default(),
            recorder: OnceLock::new(),
            renewed,
            contended: AtomicBool::new(false),
            hashers: Arc::new(Semaphore::new(thread::available_parallelism().map_or(1, usize::from))),
        })
    }

    /// The layers of `filesystem`, lowest first; `None` when the step that makes it is not done, or it is a context.
    pub(crate) fn stack(&self, filesystem: &Filesystem) -> Option<Arc<[LayerId]>> {
        match filesystem {
            Filesystem::Scratch => Some(Arc::new([])),
            Filesystem::Image(index) => {
                let record = self.images.get(&self.plan.images[index.0].id)?;
                Some(record.layers.iter().map(|layer| layer.layer).collect())
            }
            Filesystem::Step(step) => lock(&self.results).get(step).map(|result| result.stack.clone()),
            Filesystem::Context | Filesystem::NamedContext(_) => None,
        }
    }

    /// The key of `filesystem`; `None` when its step is not keyed yet.
    pub(crate) fn key_of(&self, filesystem: &Filesystem) -> Option<CacheKey> {
        match filesystem {
            Filesystem::Scratch => Some(root_key(KeyBuilder::new("scratch"))),
            Filesystem::Image(index) => {
                let image = &self.plan.images[index.0].id;
                Some(root_key(KeyBuilder::new("image").digest("id", image.as_digest())))
            }
            Filesystem::Step(step) => lock(&self.keys).get(step).map(|keyed| keyed.key),
            Filesystem::Context | Filesystem::NamedContext(_) => None,
        }
    }

    /// The build context called `name` (`None`: the main one), opened at its first use.
    pub(crate) fn context(&self, name: Option<&str>) -> Result<Arc<SourceRoot>, Error> {
        let mut contexts = lock(&self.contexts);
        let key = name.map(str::to_owned);
        if let Some(open) = contexts.get(&key) {
            return Ok(open.clone());
        }
        let directory = match name {
            None => self.request.context.as_deref(),
            Some(name) => match self.request.named_contexts.get(name) {
                Some(NamedContextSource::Directory(path)) => Some(path.as_path()),
                Some(
                    NamedContextSource::Image(_)
                    | NamedContextSource::Scratch
                    | NamedContextSource::OciLayout(_),
                )
                | None => None,
            },
        };
        let root = self.open_context(directory, name)?;
        let root = Arc::new(root);
        contexts.insert(key, root.clone());
        Ok(root)
    }

    fn open_context(&self, directory: Option<&Path>, name: Option<&str>) -> Result<SourceRoot, Error> {
        let Some(directory) = directory else { return Ok(SourceRoot::empty(&self.engine.store)?) };
        let dockerfile = match name {
            None => self.request.dockerfile_path(),
            Some(_) => None,
        };
        Ok(SourceRoot::open_context(&self.engine.store, directory, dockerfile.as_deref())?)
    }

    /// Writes the contexts' stat indexes, where they changed.
    pub(crate) fn save_contexts(&self) {
        for context in lock(&self.contexts).values() {
            // an index that cannot be written costs the next build time, nothing else
            let _ = context.save_index();
        }
    }

    pub(crate) fn keyed(&self, step: StepId) -> Option<Arc<Keyed>> {
        lock(&self.keys).get(&step).cloned()
    }

    pub(crate) fn set_keyed(&self, step: StepId, keyed: Keyed) {
        lock(&self.keys).insert(step, Arc::new(keyed));
    }

    pub(crate) fn result(&self, step: StepId) -> Option<StepResult> {
        lock(&self.results).get(&step).cloned()
    }

    pub(crate) fn set_result(&self, step: StepId, result: StepResult) {
        lock(&self.results).insert(step, result);
    }

    /// Forgets results that turned out to be unusable.
    pub(crate) fn drop_results(&self, unusable: impl Fn(&StepResult) -> bool) {
        lock(&self.results).retain(|_, result| !unusable(result));
    }

    /// The recording thread, started when the first record is there to be written.
    pub(crate) fn recorder(&self) -> Result<&Recorder, Error> {
        if self.recorder.get().is_none() {
            // two threads may start one each: the second ends at once, having nothing to write
            let _ = self.recorder.set(Recorder::start(&self.engine.store)?);
        }
        Ok(self.recorder.get().expect("set just above"))
    }

    /// The name under which this build's records are kept: which Dockerfile of which context, which target.
    pub(crate) fn site(&self) -> SiteHash {
        let path = |path: &Path| path.as_os_str().as_encoded_bytes().to_vec();
        KeyBuilder::new("build")
            .optional("context", self.request.context.as_deref().map(path))
            .field("dockerfile", format!("{:?}", self.request.dockerfile))
            .optional("target", self.request.target.as_deref())
            .finish_site()
    }

    /// Waits until everything recorded is written; returns whether there was anything.
    pub(crate) fn flush_records(&self) -> Result<Recorded, Error> {
        match self.recorder.get() {
            Some(recorder) => Ok(recorder.flush().map(|()| Recorded::Something)?),
            None => Ok(Recorded::Nothing),
        }
    }

    pub(crate) fn earlier(&self, step: &StepHash) -> Vec<CacheRecord> {
        lock(&self.earlier).get(step).cloned().unwrap_or_default()
    }

    pub(crate) fn set_earlier(&self, step: StepHash, records: Vec<CacheRecord>) {
        lock(&self.earlier).insert(step, records);
    }

    /// Whether an input of `step` is run whatever the cache says, so that only its content can tell whether it changed.
    pub(crate) fn has_renewed_input(&self, step: StepId) -> bool {
        self.renewed.contains(&step)
    }

    /// Notes that another process builds the same steps at the same time.
    pub(crate) fn note_contention(&self) {
        self.contended.store(true, Ordering::Relaxed);
    }

    /// Whether another process was met at a step of this build.
    pub(crate) fn is_contended(&self) -> bool {
        self.contended.load(Ordering::Relaxed)
    }
}

/// Steps that depend, directly or not, on one that ignores the cache.
fn renewed(plan: &Plan) -> BTreeSet<StepId> {
    let mut renewed = BTreeSet::new();
    for step in &plan.steps {
        let is_new =
            |input: StepId| renewed.contains(&input) || plan.steps[input.0].cache == CachePolicy::Ignore;
        if plan.dependencies(step.id).any(is_new) {
            renewed.insert(step.id);
        }
    }
    renewed
}

/// The key of something that is no step.
fn root_key(what: KeyBuilder) -> CacheKey {
    CacheKey::definition(None, &what.finish_step())
}

/// The guard, whatever happened to another holder: the maps are only inserted into, so they are whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
