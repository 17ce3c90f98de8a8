//! What a build would do, found out without doing it: the plan with what the cache knows of each step, the checks, and
//! the lists of targets and parameters.
//!
//! Nothing is pulled and nothing is run. Keys and look-ups are those of a build, so that the two cannot disagree; what
//! only running could tell is said to be unknown.

mod check;
mod ignored;
mod outline;

pub(crate) use check::findings_before;
pub use check::{Checked, Finding};
pub(crate) use ignored::lower;
pub use outline::{ArgumentOutline, MountOutline, Outline, Target};

use crate::{
    BuildRequest, Engine, Error, EventSink, Hint, build, content,
    diagnostic::DockerfileText,
    keying, mounts,
    reporter::Reporter,
    resolve::BaseImages,
    schedule,
    session::{Keyed, Origin, Session, StepResult},
};
use rbuild_cache::{Index, LayerId, Lookup, Miss};
use rbuild_oci::{ImageConfig, Platform};
use rbuild_parser::Dockerfile;
use rbuild_planner::{
    Action, CachePolicy, CopyAction, Filesystem, ImageRequest, MountKind, Plan, PlannedStage, ResolvedGraph,
    ResolvedImage, StageGraph, Step, StepId,
};

/// A build that has been thought through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedBuild {
    /// The stages the target needs, in file order.
    pub stages: Vec<StagePreview>,
    /// Index of the target in them.
    pub target: usize,
}

/// One stage of a planned build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagePreview {
    /// Its name, or `stage-N`.
    pub name: String,
    /// What it starts from.
    pub base: Input,
    /// What it is built for.
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
    /// What would become of it.
    pub outlook: Outlook,
    /// Why it is not simply taken from the cache; `None` when it is, and when nothing needs it.
    pub reason: Option<Reason>,
    /// The steps whose results it works on or reads.
    pub after: Vec<usize>,
    /// Where it copies or mounts files from, each once.
    pub sources: Vec<Input>,
}

/// What would become of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// Its result is in the cache.
    Cached,
    /// It would run.
    Run,
    /// It runs, unless what it depends on turns out to be what it was in an earlier build.
    Maybe,
    /// Nothing needs its result: what is built on it is in the cache.
    Unused,
}

/// Why a step's result is not in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// This very step was never carried out: its text or its files are new.
    New,
    /// It was carried out on other files than those it stands on now.
    OtherBase,
    /// A step whose result it needs would run first.
    Input,
    /// Its result was removed to make room.
    Evicted,
    /// Its result is damaged, or did not survive a power cut.
    Lost,
    /// The cache is not to be used for it (`--no-cache`, `--no-cache-filter`).
    NoCache,
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

/// What is done about an image that is not in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absent {
    /// The request fails.
    Refused,
    /// It is taken for one with an empty config.
    Assumed,
}

impl Engine {
    /// What [`Engine::build`] would do with `request` now. Base images must be in the store.
    ///
    /// # Errors
    /// As a build before its first step, with everything it refuses then; [`Error::BaseImage`] for an image that would
    /// have to be pulled.
    pub fn plan(&self, request: &BuildRequest) -> Result<PlannedBuild, Error> {
        let reporter = Reporter::new(EventSink::ignore());
        let (text, dockerfile) = build::read_dockerfile(request, &reporter)?;
        let options = build::plan_options(request)?;
        let selected = rbuild_planner::select(dockerfile.clone(), &options)
            .map_err(|error| Error::plan(error, &text))?;
        let (graph, images) = self.resolve_locally(selected, (request, &text), Absent::Refused)?;
        let plan = lower(graph, request).map_err(|error| Error::plan(error, &text))?;
        plan.lint_errors().map_err(|error| Error::plan(error, &text))?;
        let session = Session::new(self, request, (plan, images), &text, &reporter)?;
        mounts::refuse_unsupported(&session)?;
        let outlooks = outlooks(&session)?;
        Ok(preview(&session.plan, &dockerfile, &outlooks))
    }

    /// Resolves with what the store has; nothing is pulled.
    pub(crate) fn resolve_locally(
        &self,
        mut graph: StageGraph,
        (request, text): (&BuildRequest, &DockerfileText),
        absent: Absent,
    ) -> Result<(ResolvedGraph, BaseImages), Error> {
        let mut images = BaseImages::new();
        loop {
            graph = match graph.finish() {
                Ok(resolved) => return Ok((resolved, images)),
                Err(unfinished) => unfinished,
            };
            let mut answers = Vec::new();
            for wanted in graph.unresolved() {
                let found = match &wanted.layout {
                    Some(context) => Some(self.known_layout_image(context, &wanted, request)?),
                    None => self.local_image(&wanted.reference)?,
                };
                let image = match (found, absent) {
                    (Some((record, config)), _) => {
                        let layers = config.rootfs.diff_ids.len();
                        let image = ResolvedImage { id: record.id, config, layers };
                        images.insert(record.id, record);
                        image
                    }
                    (None, Absent::Assumed) => assumed(&wanted),
                    (None, Absent::Refused) => return Err(not_there(&wanted, text)),
                };
                answers.push((wanted, image));
            }
            graph = graph.resolve(answers).map_err(|error| Error::plan(error, text))?;
        }
    }
}

/// An image of which nothing is known: one layer, an empty config.
fn assumed(wanted: &ImageRequest) -> ResolvedImage {
    let config = ImageConfig::scratch(&wanted.platform);
    ResolvedImage { id: config.id(), config, layers: 1 }
}

fn not_there(wanted: &ImageRequest, text: &DockerfileText) -> Error {
    let name = wanted.reference.familiar();
    Error::BaseImage {
        written: wanted.written.clone(),
        reference: wanted.reference.to_string(),
        hint: Some(Hint::Fetch(name.clone())),
        source: Box::new(Error::NoSuchImage(name)),
        diagnostic: text.at(wanted.lines),
    }
}

/// What would become of each step and why, by its index.
fn outlooks(session: &Session) -> Result<Vec<(Outlook, Option<Reason>)>, Error> {
    schedule::look_up_all(session)?;
    // in the plan's order: what is found may be the input of the next
    for id in schedule::missing(session) {
        look_closer(session, id)?;
    }
    let wanted = schedule::missing(session);
    let outlook = |step: &Step| match session.result(step.id) {
        Some(_) => Outlook::Cached,
        None if !wanted.contains(&step.id) => Outlook::Unused,
        None if inputs_are_known(session, step.id) || !may_match_later(session, step) => Outlook::Run,
        None => Outlook::Maybe,
    };
    let outlooks: Vec<Outlook> = session.plan.steps.iter().map(outlook).collect();
    let reasons = session.engine.store.index(|index| {
        let reason = |step: &Step| wanted.contains(&step.id).then(|| reason(session, step, index));
        Ok(session.plan.steps.iter().map(reason).collect::<Vec<_>>())
    });
    // of an index that cannot be used the first look has told
    let reasons = reasons.unwrap_or_else(|_| {
        let lost = |step: &Step| wanted.contains(&step.id).then_some(Reason::Lost);
        session.plan.steps.iter().map(lost).collect()
    });
    Ok(outlooks.into_iter().zip(reasons).collect())
}

/// Why `step` has no result.
fn reason(session: &Session, step: &Step, index: &Index<'_>) -> Reason {
    if step.cache == CachePolicy::Ignore {
        return Reason::NoCache;
    }
    if !inputs_are_known(session, step.id) {
        return Reason::Input;
    }
    let Some(keyed) = session.keyed(step.id) else { return Reason::New };
    match index.lookup(&keyed.key) {
        Lookup::Miss(Miss::NeverBuilt) if session.earlier(&keyed.description.step).is_empty() => Reason::New,
        Lookup::Miss(Miss::NeverBuilt) => Reason::OtherBase,
        Lookup::Miss(Miss::Evicted(_)) => Reason::Evicted,
        // a record without its layer
        Lookup::Miss(Miss::NotDurable(_) | Miss::Unreadable) | Lookup::Hit(_) => Reason::Lost,
    }
}

/// Looks a step up by what its inputs contain, as a build does when the step's turn has come.
fn look_closer(session: &Session, id: StepId) -> Result<(), Error> {
    let step = &session.plan.steps[id.0];
    if step.cache == CachePolicy::Ignore || !inputs_are_known(session, id) {
        return Ok(());
    }
    let (Some(keyed), Some(parent)) = (session.keyed(id), session.stack(&step.parent)) else { return Ok(()) };
    let found = match &step.action {
        Action::Copy(action) if keying::copies_layers(action) => {
            same_files(session, &keyed, action, &parent)?
        }
        Action::Copy(_) | Action::Run(_) | Action::Workdir(_) => None,
    };
    let found = match found {
        Some(result) => Some(result),
        None => content::same_parent_content(session, step, &keyed, &parent)?,
    };
    if let Some(result) = found {
        session.set_result(id, result);
    }
    Ok(())
}

/// The result of a COPY of the same files onto the same parent.
fn same_files(
    session: &Session,
    keyed: &Keyed,
    action: &CopyAction,
    parent: &[LayerId],
) -> Result<Option<StepResult>, Error> {
    // a COPY that cannot succeed is in no cache: the build will run it, and say why it fails
    let Ok(selection) = keying::select(session, action) else { return Ok(None) };
    let key = keying::by_content(keyed, action, &selection);
    let found = session.engine.store.index(|index| {
        Ok(match index.lookup(&key) {
            Lookup::Hit(record) => Some(*record),
            Lookup::Miss(_) => None,
        })
    });
    let Some(record) = found.unwrap_or_default() else { return Ok(None) };
    let held = session.lease.hold(&[record.layer], &[])?.is_empty();
    Ok(held.then(|| StepResult::new(record, parent, Origin::Cache)))
}

fn inputs_are_known(session: &Session, id: StepId) -> bool {
    session.plan.dependencies(id).all(|input| session.result(input).is_some())
}

/// Whether a step whose inputs must be made first might still be in the cache: some earlier build ran the same step, or
/// copied files of stages, which are compared by content.
fn may_match_later(session: &Session, step: &Step) -> bool {
    if step.cache == CachePolicy::Ignore {
        return false;
    }
    let by_content = matches!(&step.action, Action::Copy(action) if keying::copies_layers(action));
    let ran_before =
        session.keyed(step.id).is_some_and(|keyed| !session.earlier(&keyed.description.step).is_empty());
    by_content || ran_before
}

fn preview(plan: &Plan, dockerfile: &Dockerfile, outlooks: &[(Outlook, Option<Reason>)]) -> PlannedBuild {
    // stages of the file come first; the others stand for images that are copied from, and have no steps
    let of_file = |stage: &&PlannedStage| dockerfile.stages.iter().any(|own| own.from.lines == stage.lines);
    let stage = |stage: &PlannedStage| StagePreview {
        name: stage.display_name.clone(),
        base: input(plan, &stage.base),
        platform: stage.platform.clone(),
        line: stage.lines.first,
        steps: stage.steps.iter().map(|id| step_preview(plan, *id, outlooks[id.0])).collect(),
    };
    PlannedBuild { stages: plan.stages.iter().filter(of_file).map(stage).collect(), target: plan.target.0 }
}

fn step_preview(plan: &Plan, id: StepId, (outlook, reason): (Outlook, Option<Reason>)) -> StepPreview {
    let step = &plan.steps[id.0];
    let mut after: Vec<usize> = plan.dependencies(id).map(|input| input.0).collect();
    after.sort_unstable();
    let mut sources = Vec::new();
    let mut add = |files: &Filesystem| {
        let source = input(plan, files);
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

fn input(plan: &Plan, files: &Filesystem) -> Input {
    match files {
        Filesystem::Scratch => Input::Scratch,
        Filesystem::Image(index) => Input::Image(plan.images[index.0].reference.familiar()),
        Filesystem::Step(step) => Input::Stage(plan.steps[step.0].stage.0),
        Filesystem::Context => Input::Context,
        Filesystem::NamedContext(name) => Input::NamedContext(name.clone()),
    }
}
