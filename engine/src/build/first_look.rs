//! A plan, and what the cache has of it before anything runs. Builds begin with this and plans end with it, so both ask
//! the same questions in the same order.

use crate::{
    BuildRequest, Causes, Error, Outcome, Warning,
    bases::resolve::BaseImages,
    build::results::Results,
    context::Context,
    error::diagnostic::DockerfileText,
    export,
    layers::{
        diffs::{self, Diffs},
        layer_files::LayerFiles,
    },
    lookup::{StepCache, keys::Keys, miss::Misses, source_files::SourceFiles},
    remote_sources::RemoteSources,
    report::reporter::Reporter,
    shared_cache::{imports::Imports, shared_mounts::OfferedMount},
};
use rbuild_cache::{Cancel, Store};
use rbuild_executor::ExecutorError;
use rbuild_planner::{Action, CachePolicy, Filesystem, Plan, Step, StepId};
use std::{collections::BTreeSet, sync::Arc};

/// A plan with what it was made from.
pub(crate) struct Planned {
    pub(crate) store: Store,
    pub(crate) request: BuildRequest,
    pub(crate) text: DockerfileText,
    pub(crate) context: Context,
    pub(crate) plan: Arc<Plan>,
    pub(crate) images: BaseImages,
    pub(crate) files: LayerFiles,
    pub(crate) remote: RemoteSources,
    pub(crate) reporter: Reporter,
    pub(crate) cancel: Cancel,
}

/// The facts known before anything runs.
pub(crate) struct FirstLook {
    pub(crate) keys: Keys,
    pub(crate) misses: Misses,
    pub(crate) results: Results,
    pub(crate) cache: StepCache,
    pub(crate) sources: SourceFiles,
    pub(crate) files: LayerFiles,
    /// The steps whose layers are hashed, because an output needs their DiffIds.
    pub(crate) to_hash: BTreeSet<StepId>,
    /// Those DiffIds that are known.
    pub(crate) diffs: Diffs,
    pub(crate) request: BuildRequest,
    pub(crate) text: DockerfileText,
    /// The cache mounts that caches of other machines have.
    pub(crate) mounts: Vec<OfferedMount>,
}

impl FirstLook {
    /// True if a step that the targets need has no result, and may take one from a cache.
    pub(crate) fn wants_more(&self, plan: &Plan) -> bool {
        self.results.missing().into_iter().any(|step| plan.steps[step.0].cache == CachePolicy::Use)
    }

    /// Looks into caches of other machines for what is missing.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) fn look_into(
        mut self,
        imports: Imports,
        plan: &Plan,
        reporter: &Reporter,
    ) -> Result<Self, Error> {
        self.mounts = imports.mounts().to_vec();
        self.cache.import(imports, (plan, &self.keys), &mut self.results)?;
        let cached = (&self.cache, self.misses.recent());
        self.diffs = diffs::known(cached, (plan, &self.to_hash), &mut self.results, reporter);
        Ok(self)
    }
}

/// Bytes of the context from which a build says where they are.
const LARGE: u64 = 100_000_000;

/// Says which step takes the most of the main context, when that is much. What was selected is known, so nothing is walked for it.
fn warn_of_large_context(plan: &Plan, keys: &Keys, reporter: &Reporter) {
    let of_step = |step: &Step| match &step.action {
        Action::Copy(action) if action.from == Filesystem::Context => {
            keys.step(step.id).selection.as_ref().map(|selection| (selection.bytes(), selection.clone()))
        }
        Action::Copy(_) | Action::Run(_) | Action::Workdir(_) => None,
    };
    let sizes = plan.steps.iter().filter_map(|step| Some((step, of_step(step)?)));
    let largest = sizes.max_by_key(|(_, (bytes, _))| *bytes);
    if let Some((step, (bytes_in_all, selection))) = largest.filter(|(_, (bytes, _))| *bytes > LARGE) {
        let mut largest = selection.size(MOST_NAMED).largest;
        largest.retain(|(_, bytes)| *bytes > bytes_in_all / 100);
        reporter.warn(Warning::LargeContext { step: step.name.clone(), bytes: bytes_in_all, largest });
    }
}

/// Places of a large context that are named.
const MOST_NAMED: usize = 3;

impl Planned {
    /// Keys every step and takes every result the cache has. Contexts are walked before the index is opened, so that no
    /// other process waits for the walk.
    ///
    /// # Errors
    /// When files of a context cannot be read, or the store fails.
    pub(crate) fn look_up(self) -> Result<FirstLook, Error> {
        let Self { store, request, text, context, plan, images, files, remote, reporter, cancel } = self;
        let cache = StepCache::open((&store, &files), images.lease(), &request, &reporter)?;
        let sources = SourceFiles::new((&store, &files), (context, remote), &request, &cancel);
        let keys = Keys::of(&plan, &sources, &request);
        let keys = keys.map_err(|failed| {
            let (step, error) = *failed;
            let running = reporter.begin_step(&plan.steps[step.0]);
            let canceled = matches!(error, Error::Executor(ExecutorError::Canceled));
            let error = error.at_step(&plan.steps[step.0], &text, Vec::new());
            running.end(if canceled { Outcome::Canceled } else { Outcome::Failed(Causes::of(&error)) });
            error
        })?;
        reporter.keyed(keys.iter().map(|keyed| keyed.key));
        warn_of_large_context(&plan, &keys, &reporter);
        let mut results = Results::new(&plan, &images);
        let misses = cache.look_up_all(&plan, &keys, &mut results)?;
        let to_hash = export::to_hash(&plan, request.outputs_by_target());
        let diffs = diffs::known((&cache, misses.recent()), (&plan, &to_hash), &mut results, &reporter);
        Ok(FirstLook {
            keys,
            misses,
            results,
            cache,
            sources,
            files,
            to_hash,
            diffs,
            request,
            text,
            mounts: Vec::new(),
        })
    }
}
