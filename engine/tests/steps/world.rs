//! A store, a context, and a builder whose steps write what they say and see into one file.

use crate::{
    BuildRecord, BuildRequest, Built, DockerfileSource, Engine, EngineOptions, Error, Event, EventSink,
    MissReason, Outlook,
    bases::resolve::Fetching,
    build::{
        definition::Definition,
        first_look::{FirstLook, Planned},
        results::{Inputs, Origin},
        schedule::Queue,
    },
    layers::layer_files::LayerFiles,
    lookup::{Done, Found, Ready, keys::Keyed, source_files::copies_layers},
    preview::outlook::outlooks,
    remote_sources::RemoteSources,
    report::reporter::Reporter,
};
use rbuild_cache::{CacheKey, Cancel, LayerId, LayerMeta, LayerSource, Lease, RefRecord, StepLock, Store};
use rbuild_executor::{ContextRoot, IgnoreRules, SourceRoot};
use rbuild_oci::{Clock, Digest, ImageConfig, Platform, Timestamp};
use rbuild_planner::{Action, CachePolicy, Filesystem, Step};
use rbuild_registry::ClientOptions;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};
use tempfile::TempDir;

/// A store and a build in it.
pub(super) struct World {
    directory: TempDir,
    engine: Engine,
    pub(super) request: BuildRequest,
}

/// The origin of each step's result in a build, by its index; `None` when nothing needed it.
pub(super) type Outcome = Vec<Option<Origin>>;

impl World {
    pub(super) fn new(dockerfile: &str) -> Self {
        Self::with_registries(dockerfile, ClientOptions::default())
    }

    /// A world that reaches registries as `registry` says.
    pub(super) fn with_registries(dockerfile: &str, registry: ClientOptions) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let context = directory.path().join("context");
        fs::create_dir(&context).unwrap();
        let options = EngineOptions {
            root: directory.path().join("store"),
            registry,
            clock: Clock::new(rbuild_testkit::now),
        };
        let engine = Engine::open(options).unwrap();
        let request = BuildRequest { jobs: Some(1), ..BuildRequest::new(context) };
        let world = Self { directory, engine, request };
        world.write("Dockerfile", dockerfile);
        world
    }

    /// A path in the context.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join("context").join(path)
    }

    /// Writes a file of the context, with its parents.
    pub(super) fn write(&self, path: &str, content: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Replaces a part of the Dockerfile.
    pub(super) fn edit(&self, from: &str, to: &str) {
        let old = fs::read_to_string(self.path("Dockerfile")).unwrap();
        assert!(old.contains(from), "{from:?} is not in {old}");
        self.write("Dockerfile", &old.replace(from, to));
    }

    pub(super) fn store(&self) -> &Store {
        &self.engine.store
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Fetches the base images, as a build does.
    pub(super) async fn resolve(&self) -> Result<(), Error> {
        let reporter = Reporter::new(EventSink::ignore());
        let definition = Definition::read((&self.engine, &self.request), &reporter, &Cancel::default())?;
        let asked = (&self.request, &definition.text);
        let resolving = self.engine.resolve(definition.select().unwrap(), asked, Fetching::Pull, &reporter);
        resolving.await.map(drop)
    }

    fn planned(&self) -> Planned {
        let reporter = Reporter::new(EventSink::ignore());
        let definition =
            Definition::read((&self.engine, &self.request), &reporter, &Cancel::default()).unwrap();
        let graphs = definition.select().unwrap();
        let asked = (&self.request, &definition.text);
        let (graphs, images) = self.engine.resolve_locally(graphs, asked, Fetching::LocalOnly).unwrap();
        let plan = Arc::new(definition.lower(graphs).unwrap());
        let Definition { text, context, .. } = definition;
        Planned {
            store: self.store().clone(),
            request: self.request.clone(),
            text,
            context,
            images,
            files: LayerFiles::as_they_are(self.store()),
            remote: {
                let git = self.engine.git_access(&self.request, &Cancel::default());
                RemoteSources::kept(self.store(), git, (&plan, None))
            },
            plan,
            reporter,
            cancel: Cancel::default(),
        }
    }

    /// Gives the store an image of one layer, whose file says `content`, under `name`.
    pub(super) fn image(&self, name: &str, content: &str) {
        let store = self.store();
        let (draft, lease) = (store.new_layer().unwrap(), store.lease().unwrap());
        fs::write(draft.fs().join("out"), content).unwrap();
        let layer = draft.commit(&lease, &LayerMeta::new(now(), LayerSource::Own)).unwrap();
        let mut config = ImageConfig::scratch(&Platform::host());
        config.rootfs.diff_ids = vec![rbuild_image::layer_diff(store, &layer).unwrap().diff_id];
        let image = rbuild_image::assemble(store, &lease, &config, &[layer]).unwrap().id;
        let record = RefRecord { image, manifest: None, tagged_at: now() };
        store.set_name(&name.parse().unwrap(), &record).unwrap();
    }

    /// Predicts the outcome of each step of a build.
    pub(super) fn plan(&self) -> Vec<(Outlook, Option<MissReason>)> {
        let planned = self.planned();
        let plan = planned.plan.clone();
        let mut first = planned.look_up().unwrap();
        let known = (&first.keys, &first.misses, &first.cache);
        outlooks(&plan, known, &mut first.results, |step, keyed, inputs| self.ready(step, keyed, inputs))
            .unwrap()
    }

    /// The predicted outcome of the last step, and the reason.
    pub(super) fn last(&self) -> (Outlook, Option<MissReason>) {
        self.plan().pop().unwrap()
    }

    /// Builds with stub steps.
    pub(super) fn build(&self) -> Outcome {
        let planned = self.planned();
        let plan = planned.plan.clone();
        let FirstLook { keys, misses, mut results, cache, sources, .. } = planned.look_up().unwrap();
        let missing = results.missing();
        if plan.steps.iter().any(|step| step.cache == CachePolicy::Ignore) {
            cache.records().forget_recent();
        }
        let lacking = |step| plan.dependencies(step).filter(|input| missing.contains(input)).count();
        let mut queue = Queue::new(missing.iter().map(|step| (*step, lacking(*step), 0)));
        while let Some(id) = queue.pop() {
            let step = &plan.steps[id.0];
            let inputs = results.inputs(step).unwrap();
            let lock = self.lock(&keys.step(id).key);
            let ready = self.ready(step, keys.step(id), &inputs).unwrap();
            let result = match cache.find(&ready, &misses).unwrap() {
                Found::Hit(hit) => {
                    cache.remember(&hit).unwrap();
                    hit.result
                }
                Found::Miss(_) | Found::Unknown(_) => {
                    let layer = self.stub(&ready, cache.lease());
                    let done = Done { layer, bytes: None, created: now(), took: Duration::ZERO, usage: None };
                    cache.keep(&ready, &done, lock).unwrap()
                }
            };
            results.insert(id, result);
            queue.finished(plan.dependents(id));
        }
        sources.save_indexes();
        cache.records().flush().unwrap();
        cache.records().keep_recent(&keys, &results);
        plan.steps.iter().map(|step| results.step(step.id).map(|result| result.origin)).collect()
    }

    /// The lock of a step; an equal step of this build may still be recorded.
    fn lock(&self, key: &CacheKey) -> StepLock {
        self.store().wait_step(key, &Cancel::default()).unwrap().unwrap()
    }

    /// Builds in earnest.
    pub(super) fn run(&self) -> Built {
        self.run_reporting().0.unwrap()
    }

    /// Builds in earnest, with all events.
    pub(super) fn run_reporting(&self) -> (Result<Built, Error>, Vec<Event>) {
        let events = Arc::new(Mutex::new(Vec::new()));
        let heard = events.clone();
        let sink = EventSink::new(move |event| heard.lock().unwrap().push(event));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let built = runtime.block_on(self.engine.build(self.request.clone(), sink));
        let events = std::mem::take(&mut *events.lock().unwrap());
        (built, events)
    }

    /// The record of a build.
    pub(super) fn record(&self, name: &str) -> BuildRecord {
        self.engine.find_build(name).unwrap()
    }

    /// The layers of the store.
    pub(super) fn layers(&self) -> Vec<LayerId> {
        let entries = fs::read_dir(self.store().root().join("layers")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.map(|name| name.parse().unwrap()).collect()
    }

    /// As [`Ready::new`], without mounting layers.
    fn ready<'a>(&self, step: &'a Step, keyed: &'a Keyed, inputs: &'a Inputs) -> Result<Ready<'a>, Error> {
        let selection = keyed.selection.clone();
        let mut ready = Ready { step, keyed, inputs, selection, by_content: None, content_step: None };
        if let Action::Copy(action) = &step.action
            && copies_layers(action)
        {
            let merged = tempfile::tempdir().unwrap();
            fs::write(merged.path().join("out"), self.seen(inputs.source(&action.from)?)).unwrap();
            let root =
                ContextRoot::open(self.store(), merged.path(), IgnoreRules::none(), rbuild_testkit::now())?;
            let selection = rbuild_executor::select(&SourceRoot::Context(root), action, &Cancel::default())?;
            ready.select(action, Arc::new(selection));
        }
        Ok(ready)
    }

    /// Carries a step out: its layer has one file, `out`, which depends on what the step says and on everything it sees.
    /// `RUN … same` writes the same whatever it sees, `RUN … random` always something else.
    fn stub(&self, ready: &Ready<'_>, lease: &Lease) -> LayerId {
        let draft = self.store().new_layer().unwrap();
        let mut text = format!("{}\n{}", ready.step.name, self.seen(&ready.inputs.parent));
        for (from, layers) in &ready.inputs.sources {
            assert!(!matches!(from, Filesystem::Context));
            text += &self.seen(layers);
        }
        if let Some(selection) = &ready.selection {
            text += &selection.digest.to_string();
        }
        if ready.step.name.ends_with("random") {
            text += &draft.fs().display().to_string();
        }
        if ready.step.name.ends_with("same") {
            text = "same".to_owned();
        }
        fs::write(draft.fs().join("out"), Digest::of(text.as_bytes()).to_string()).unwrap();
        draft.commit(lease, &LayerMeta::new(now(), LayerSource::Own)).unwrap()
    }

    /// The file at the top of a stack.
    fn seen(&self, layers: &[LayerId]) -> String {
        layers.last().map_or_else(String::new, |top| {
            fs::read_to_string(self.store().layer_fs(top).join("out")).unwrap()
        })
    }
}

/// Asks for another build of the same context.
pub(super) fn dockerfile_from_text(world: &mut World, text: &str) {
    world.request.dockerfile = DockerfileSource::Text(text.as_bytes().to_vec());
}

pub(super) fn remove_if_there(path: &Path) {
    if path.exists() {
        fs::remove_dir_all(path).unwrap();
    }
}

fn now() -> Timestamp {
    rbuild_testkit::now().into()
}
