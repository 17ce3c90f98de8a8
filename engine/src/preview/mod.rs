//! What a build would do, without doing it: the plan with what the cache knows of each step, the checks, and the lists of
//! targets and parameters.
//!
//! Nothing is pulled and nothing is run. Keys and look-ups are those of a build, so that the two cannot disagree; what
//! only running could tell is said to be unknown.

mod check;
mod outline;
pub(crate) mod outlook;

pub use check::Checked;
pub use outline::{ArgumentOutline, MountOutline, Outline, Target};

use crate::{
    BuildRequest, Engine, Error, EventSink, ImageSource, MissReason,
    bases::resolve::{BaseImages, Fetching},
    build::{definition::Definition, first_look::Planned},
    error::diagnostic::DockerfileText,
    guest::entitlements,
    layers::layer_files::LayerFiles,
    lookup::Ready,
    remote_sources::RemoteSources,
    report::reporter::Reporter,
};
use rbuild_cache::Cancel;
use rbuild_oci::Platform;
use rbuild_parser::Dockerfile;
use rbuild_planner::{
    Action, Filesystem, MountKind, Plan, PlannedStage, ResolvedGraph, StageGraph, StageId, StepId,
};
use std::{
    pin::pin,
    sync::Arc,
    task::{Poll, Waker},
};

/// A build that has been thought through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedBuild {
    /// The stages the targets need, in file order, for one platform after another.
    pub stages: Vec<StagePreview>,
    /// The targets: their indexes in the stages.
    pub targets: Vec<usize>,
}

/// One stage of a planned build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagePreview {
    /// Its name, or `stage-N`.
    pub name: String,
    /// The base that it starts from.
    pub base: Input,
    /// The platform that it is built for.
    pub platform: Platform,
    /// The line of its FROM.
    pub line: usize,
    /// Its steps, in order.
    pub steps: Vec<StepPreview>,
}

/// One step of a planned build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepPreview {
    /// Its number; a step's inputs have smaller ones.
    pub id: usize,
    /// The instruction, such as `RUN make`.
    pub name: String,
    /// Its first line in the Dockerfile.
    pub line: usize,
    /// Its predicted outcome.
    pub outlook: Outlook,
    /// Why it is not simply taken from the cache; `None` when it is, and when nothing needs it.
    pub reason: Option<MissReason>,
    /// The steps whose results it works on or reads.
    pub after: Vec<usize>,
    /// Where it copies or mounts files from, each once.
    pub sources: Vec<Input>,
}

/// The predicted outcome of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// Its result is in the cache, or will be: an equal step of the plan runs before it.
    Cached,
    /// It would run.
    Run,
    /// It runs, unless what it depends on turns out to be what it was in an earlier build.
    Maybe,
    /// Nothing needs its result: what is built on it is in the cache.
    Unused,
}

/// Where files come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// Nothing.
    Scratch,
    /// An image, by its familiar name.
    Image(String),
    /// Another stage: index in [`PlannedBuild::stages`].
    Stage(usize),
    /// The main build context.
    Context,
    /// A named context.
    NamedContext(String),
}

impl Engine {
    /// Predicts what [`Engine::build`] would do with `request` now. Base images must be in the store.
    ///
    /// # Errors
    /// As a build before its first step, with everything it refuses then; [`Error::BaseImage`] for an image that would
    /// have to be pulled.
    pub fn plan(&self, request: &BuildRequest) -> Result<PlannedBuild, Error> {
        let reporter = Reporter::new(EventSink::ignore());
        let mut definition = Definition::read((self, request), &reporter, &Cancel::default())?;
        self.date_as_known(&mut definition, request);
        let failed = |error| definition.planning_failed(error, &reporter);
        let graphs = definition.select().map_err(failed)?;
        let (graphs, images) =
            self.resolve_locally(graphs, (request, &definition.text), Fetching::LocalOnly)?;
        let plan = Arc::new(definition.lower(graphs).map_err(failed)?);
        plan.lint_errors().map_err(|error| Error::plan(error, &definition.text))?;
        entitlements::check(&plan, request, &definition.text)?;
        let Definition { text, context, dockerfile, .. } = definition;
        let planned = Planned {
            store: self.store.clone(),
            request: request.clone(),
            text,
            context,
            plan: plan.clone(),
            images,
            files: LayerFiles::as_they_are(&self.store),
            remote: {
                let git = self.git_access(request, &Cancel::default());
                RemoteSources::kept(&self.store, git, (&plan, request.locked.as_ref()))
            },
            reporter,
            cancel: Cancel::default(),
        };
        let mut first = planned.look_up()?;
        let sources = &first.sources;
        let outlooks = outlook::outlooks(
            &plan,
            (&first.keys, &first.misses, &first.cache),
            &mut first.results,
            |step, keyed, inputs| Ready::new(step, keyed, inputs, sources),
        )?;
        Ok(preview(&plan, &dockerfile, &outlooks))
    }

    /// Brings the base images of `request` that only its other stores have into this one, where [`Engine::plan`] and
    /// [`Engine::check`] look for them. No registry is asked, and what is nowhere stays missing.
    ///
    /// # Errors
    /// [`Error`], as a build that looks for its base images.
    pub async fn bring_base_images(&self, request: &BuildRequest, events: EventSink) -> Result<(), Error> {
        request.image_sources.iter().try_for_each(ImageSource::check)?;
        let reporter = Reporter::new(events);
        let mut definition = Definition::read((self, request), &reporter, &Cancel::default())?;
        self.date_as_known(&mut definition, request);
        let graphs = definition.select().map_err(|error| definition.planning_failed(error, &reporter))?;
        self.resolve(graphs, (request, &definition.text), Fetching::OtherStores, &reporter).await.map(drop)
    }

    /// Resolves with what the store has; nothing is pulled.
    pub(crate) fn resolve_locally(
        &self,
        graphs: Vec<StageGraph>,
        definition: (&BuildRequest, &DockerfileText),
        fetching: Fetching,
    ) -> Result<(Vec<ResolvedGraph>, BaseImages), Error> {
        let reporter = Reporter::new(EventSink::ignore());
        let resolving = pin!(self.resolve(graphs, definition, fetching, &reporter));
        match resolving.poll(&mut std::task::Context::from_waker(Waker::noop())) {
            Poll::Ready(resolved) => resolved,
            Poll::Pending => Err(Error::Worker("resolving without a registry had to wait".to_owned())),
        }
    }
}

/// A plan as it is shown: with the stages of the file only. The others stand for images that are copied from, and have no steps.
struct Shown<'a> {
    plan: &'a Plan,
    stages: Vec<StageId>,
}

fn preview(plan: &Plan, dockerfile: &Dockerfile, outlooks: &[(Outlook, Option<MissReason>)]) -> PlannedBuild {
    let of_file = |stage: &PlannedStage| dockerfile.stages.iter().any(|own| own.from.lines == stage.lines);
    let stages = (0..plan.stages.len()).filter(|at| of_file(&plan.stages[*at])).map(StageId).collect();
    let shown = Shown { plan, stages };
    let stage = |id: &StageId| {
        let stage = &plan.stages[id.0];
        // a step that several stages share is shown in the first
        let own = stage.steps.iter().filter(|step| plan.steps[step.0].stage == *id);
        StagePreview {
            name: stage.display_name.clone(),
            base: shown.input(&stage.base),
            platform: stage.platform.clone(),
            line: stage.lines.first,
            steps: own.map(|step| shown.step(*step, outlooks[step.0].clone())).collect(),
        }
    };
    PlannedBuild {
        stages: shown.stages.iter().map(stage).collect(),
        targets: plan.targets.iter().map(|target| shown.place(target.stage)).collect(),
    }
}

impl Shown<'_> {
    /// The index of a stage of the file, which every stage with steps is.
    fn place(&self, stage: StageId) -> usize {
        self.stages.iter().position(|shown| *shown == stage).unwrap_or_default()
    }

    fn step(&self, id: StepId, (outlook, reason): (Outlook, Option<MissReason>)) -> StepPreview {
        let step = &self.plan.steps[id.0];
        let mut after: Vec<usize> = self.plan.dependencies(id).map(|input| input.0).collect();
        after.sort_unstable();
        let mut sources = Vec::new();
        let mut add = |files: &Filesystem| {
            let source = self.input(files);
            if *files != Filesystem::Scratch && !sources.contains(&source) {
                sources.push(source);
            }
        };
        match &step.action {
            Action::Copy(action) => add(&action.from),
            Action::Run(action) => {
                for mount in &action.mounts {
                    match &mount.kind {
                        MountKind::Bind { from, .. } | MountKind::Cache { from, .. } => add(from),
                        MountKind::Tmpfs { .. } | MountKind::Secret { .. } | MountKind::Ssh { .. } => {}
                    }
                }
            }
            Action::Workdir(_) => {}
        }
        let (name, line) = (step.name.clone(), step.lines.first);
        StepPreview { id: id.0, name, line, outlook, reason, after, sources }
    }

    fn input(&self, files: &Filesystem) -> Input {
        match files {
            Filesystem::Scratch => Input::Scratch,
            Filesystem::Image(index) => Input::Image(self.plan.images[index.0].reference.familiar()),
            Filesystem::Step(step) => Input::Stage(self.place(self.plan.steps[step.0].stage)),
            Filesystem::Context => Input::Context,
            Filesystem::NamedContext(name) => Input::NamedContext(name.clone()),
        }
    }
}
