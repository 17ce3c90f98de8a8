//! A build, from beginning to end.

pub(crate) mod admission;
pub(crate) mod built;
pub(crate) mod definition;
pub(crate) mod execute_step;
pub(crate) mod expectation;
pub(crate) mod failures;
pub(crate) mod first_look;
pub(crate) mod output_tail;
pub(crate) mod repeat;
pub(crate) mod request;
pub(crate) mod requested_targets;
pub(crate) mod results;
pub(crate) mod schedule;
pub(crate) mod step_failure;

mod image;
mod misspelt_arguments;
mod preconditions;
mod shared_caches;
mod time_limit;

use crate::{
    Activity, BuildRequest, Built, BuiltTarget, Causes, ContextSource, Engine, Error, EventSink, Failures,
    ImageLock, ImageSource, InlineCache, LayerTimes, OnFailure, PullPolicy, Squash, Warning,
    bases::resolve::Fetching,
    build::{
        admission::Admission,
        definition::{Definition, warn, warn_of_contexts},
        execute_step::{Executor, Machine},
        expectation::Expectations,
        first_look::{FirstLook, Planned},
        results::{Origin, Results, StepResult},
        schedule::{Next, Queue, Schedule},
    },
    context::lock_contexts,
    error::unsupported,
    export::{self, Delivery, Destination, Presence},
    guest::{emulators::Emulators, entitlements, run_mounts, ssh::Agents},
    layers::{
        diffs::{Diffing, HashOnce},
        layer_files::{LayerFetcher, LayerFiles},
    },
    lookup::StepCache,
    report::reporter::Reporter,
    shared_cache::{
        cache_export::{self, CacheExport, Sending},
        inline_cache::InlineExport,
        shared_mounts::MountTransfer,
    },
};
use futures_util::future::{OptionFuture, try_join_all};
use rbuild_cache::{Cancel, ImageRecord, LayerId};
use rbuild_executor::{HostFiles, Networks, StepLimits};
use rbuild_image::RemoteImages;
use rbuild_oci::ImageName;
use rbuild_planner::{Action, CachePolicy, Plan, PlannedTarget, StepId};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::AtomicBool},
};
use tokio::task::JoinHandle;

impl Engine {
    /// Builds what `request` asks for, names it, and reports what happens through `events` while it happens.
    ///
    /// Steps that were finished before a failure stay in the cache. Dropping the future cancels the build.
    ///
    /// # Errors
    /// [`Error`], of class input when the Dockerfile or the request is at fault; [`Error::diagnostic`] has the place.
    pub async fn build(&self, request: BuildRequest, events: EventSink) -> Result<Built, Error> {
        let reporter = Reporter::recording(events, &self.store, &request);
        // a build whose future is dropped ends
        let cancel = CancelOnDrop(Cancel::default());
        let timeout = request.timeout;
        let built = self.build_reported(request, &reporter, &cancel.0);
        let built = match timeout {
            None => built.await,
            Some(longest) => time_limit::within(longest, built, &cancel.0).await,
        };
        reporter.finish(&built);
        built
    }

    async fn build_reported(
        &self,
        request: BuildRequest,
        reporter: &Reporter,
        cancel: &Cancel,
    ) -> Result<Built, Error> {
        unsupported::refuse_outputs(&request)?;
        let opening = request.outputs_by_target().map(|outputs| {
            try_join_all(outputs.iter().map(|output| Destination::open(output, &self.remote, reporter)))
        });
        let destinations = try_join_all(opening).await?;
        if request.platforms.len() > 1 {
            try_join_all(destinations.iter().flatten().map(Destination::require_platforms)).await?;
        }
        cache_export::check(&request.cache_to, &self.remote).await?;
        let (planned, fetcher) = self.planned(request, reporter, cancel).await?;
        let (plan, images) = (planned.plan.clone(), planned.images.lock().clone());
        // reading a large context takes long: a caller that stops the build does not have to wait for it
        let first = tokio::task::spawn_blocking(move || planned.look_up()).await;
        let first = first.map_err(|panicked| Error::Worker(panicked.to_string()))??;
        let first = self.look_elsewhere(first, (&plan, cancel), reporter).await?;
        let mut build = Build::new(self, first, (plan, cancel), reporter);
        Ok(Built { images, ..fetcher.serve(build.run(&destinations)).await? })
    }

    /// Reads, resolves and plans; of images that are not there, manifests and configs are fetched.
    async fn planned(
        &self,
        request: BuildRequest,
        reporter: &Reporter,
        cancel: &Cancel,
    ) -> Result<(Planned, LayerFetcher), Error> {
        request.image_sources.iter().try_for_each(ImageSource::check)?;
        let request = self.with_contexts(request, reporter, cancel).await?;
        let mut definition = self.definition(&request, reporter, cancel).await?;
        let dated = self.date(&mut definition, (&request, cancel), reporter).await?;
        let failed = |error| definition.planning_failed(error, reporter);
        let graphs = definition.select().map_err(failed)?;
        warn_of_contexts(&graphs, reporter);
        let resolved = self.resolve(graphs, (&request, &definition.text), Fetching::Pull, reporter).await;
        let (graphs, mut images) = resolved?;
        let plan = definition.lower(graphs).map_err(failed)?;
        reporter.planned(&plan);
        warn(&plan.lints, &definition.text, reporter);
        plan.lint_errors().map_err(|error| Error::plan(error, &definition.text))?;
        entitlements::check(&plan, &request, &definition.text)?;
        let Definition { text, context, .. } = definition;
        let (mut files, fetcher) =
            LayerFiles::fetched(&self.store, &self.remote, &request.cache_from, (cancel, reporter));
        if request.pull == PullPolicy::Never {
            files = LayerFiles::as_they_are(&self.store);
        }
        let lock = request.locked.as_ref();
        let git = self.git_access(&request, cancel);
        let remote = self.remote_sources((&plan, lock, git), (&text, &images.lease()), reporter).await?;
        remote.lock(&plan, images.lock_mut());
        lock_contexts(&request, images.lock_mut());
        if let Some((source, locked)) = dated {
            images.lock_mut().insert_source(source, locked);
        }
        let planned = Planned {
            store: self.store.clone(),
            request,
            text,
            context,
            plan: Arc::new(plan),
            images,
            files,
            remote,
            reporter: reporter.clone(),
            cancel: cancel.clone(),
        };
        Ok((planned, fetcher))
    }

    /// Reads the definition; what may have to be unpacked or fetched for it has a thread of its own, because that takes its time.
    async fn definition(
        &self,
        request: &BuildRequest,
        reporter: &Reporter,
        cancel: &Cancel,
    ) -> Result<Definition, Error> {
        match &request.context {
            ContextSource::Empty | ContextSource::Directory(_) => {
                Definition::read((self, request), reporter, cancel)
            }
            ContextSource::Archive(_) | ContextSource::Remote(_) => {
                let (engine, request) = (self.clone(), request.clone());
                let (reporter, cancel) = (reporter.clone(), cancel.clone());
                let read = move || Definition::read((&engine, &request), &reporter, &cancel);
                let read = tokio::task::spawn_blocking(read).await;
                read.map_err(|panicked| Error::Worker(panicked.to_string()))?
            }
        }
    }
}

/// A build between its first look-up and its end.
struct Build {
    plan: Arc<Plan>,
    executor: Arc<Executor>,
    cache: Arc<StepCache>,
    results: Results,
    to_hash: BTreeSet<StepId>,
    diffing: Diffing,
    layer_times: LayerTimes,
    /// The time of what is exported, if it is given.
    epoch: Option<i64>,
    squash: Squash,
    verify_cache: u8,
    remote: RemoteImages,
    on_failure: OnFailure,
    /// The caches that it writes for other machines, until they are written.
    sharing: Option<CacheExport>,
    /// The caches that its images carry.
    inline: Option<InlineExport>,
    reporter: Reporter,
}

impl Build {
    fn new(
        engine: &Engine,
        first: FirstLook,
        (plan, cancel): (Arc<Plan>, &Cancel),
        reporter: &Reporter,
    ) -> Self {
        let store = &engine.store;
        let cache = Arc::new(first.cache);
        let hash = HashOnce::until(cancel);
        let sending = || Sending::new((store, &engine.remote), &first.files, &cache, &hash);
        let cache_to = &first.request.cache_to;
        let sharing = (!cache_to.is_empty()).then(|| CacheExport::begin(cache_to, &plan, sending()));
        let mounts = MountTransfer::new(engine, &first.request, cancel);
        let sharing = sharing.map(|sharing| sharing.with_mounts(mounts, first.mounts));
        let inline = first.request.inline_cache == InlineCache::Written;
        let inline = inline.then(|| InlineExport::begin(&plan, sending()));
        let machine = Machine {
            store: store.clone(),
            isolation: engine.isolation.clone(),
            sources: first.sources,
            files: first.files,
            networks: Networks::new(&engine.isolation, &first.request.names),
            host_files: HostFiles::new(store, first.request.names),
            shm_size: first.request.shm_size,
            privileges: first.request.privileges,
            limits: StepLimits::new(first.request.limits, first.request.step_timeout),
            secrets: first.request.secrets,
            cache_mounts: first.request.cache_mounts,
            failed_steps: engine.failed_steps,
            agents: Agents::new(first.request.ssh),
            admission: Admission::new(store, first.request.jobs, cancel),
            cancel: cancel.clone(),
        };
        let executor = Executor {
            plan: plan.clone(),
            keys: first.keys,
            misses: first.misses,
            cache: cache.clone(),
            machine,
            text: first.text,
            reporter: reporter.clone(),
            told_of_lack: AtomicBool::new(false),
        };
        let epoch = first.request.output_epoch.or(plan.source_date_epoch);
        Self {
            plan,
            executor: Arc::new(executor),
            cache,
            results: first.results,
            to_hash: first.to_hash,
            diffing: Diffing::new(store, &hash, first.diffs),
            layer_times: first.request.layer_times,
            epoch,
            squash: first.request.squash,
            verify_cache: first.request.verify_cache,
            remote: engine.remote.clone(),
            on_failure: first.request.on_failure,
            sharing,
            inline,
            reporter: reporter.clone(),
        }
    }

    /// Carries out what is missing, makes the outputs, and writes the caches.
    async fn run(&mut self, destinations: &[Vec<Destination>]) -> Result<Built, Error> {
        self.share_results();
        let built = loop {
            if let Err(error) = self.run_missing().await {
                // the step's own failure is what has to be reported, whatever else goes wrong now
                if let Err(lost) = self.keep_finished() {
                    self.reporter.warn(Warning::FinishedLost(Causes::of(&lost)));
                }
                return Err(error);
            }
            match self.export(destinations).await {
                // a cached layer that an output needs cannot be had: what is missing now is carried out
                Err(error) if self.lose_layers(&error) => {}
                exported => break exported?,
            }
        };
        if let Some(sharing) = self.sharing.take() {
            let keys = &self.executor.keys;
            sharing.finish((&self.plan, keys), &self.results, &self.reporter).await?;
        }
        if self.verify_cache > 0 {
            repeat::sample(&self.executor, &self.plan, &self.results, self.verify_cache).await;
        }
        Ok(built)
    }

    /// Carries out everything the target needs and the cache has not.
    ///
    /// # Errors
    /// That of the first step that failed; steps begun before it are waited for or killed, finished ones stay recorded. A
    /// build that goes on gives the failures of all.
    async fn run_missing(&mut self) -> Result<(), Error> {
        let mut missing = self.results.missing();
        self.check_given(&missing)?;
        self.check_depths(&missing)?;
        self.announce_cached(&missing);
        self.cache.keep_borrowed()?;
        for step in &self.to_hash {
            if let Some(result) = self.results.step(*step) {
                self.diffing.compute(*step, result.layer());
            }
        }
        while !missing.is_empty() {
            self.run_round(&missing).await?;
            // a round that lost a cached layer leaves its step and those above it to the next one
            missing = self.results.missing();
        }
        Ok(())
    }

    async fn run_round(&mut self, missing: &BTreeSet<StepId>) -> Result<(), Error> {
        let emulators = Emulators::of(&self.plan, missing, &self.executor.text)?;
        if self.plan.steps.iter().any(|step| step.cache == CachePolicy::Ignore) {
            // other builds are to see the new results too
            self.cache.records().forget_recent();
        }
        let known = (&self.executor.keys, &self.executor.misses);
        let expectations = Expectations::of(&self.plan, missing, known);
        let preparing = self.prepare_containers(missing);
        let carried_out = self.carry_out(missing, (&emulators, &expectations)).await;
        // what cannot be had is told by the step that needs it
        drop(OptionFuture::from(preparing).await);
        carried_out
    }

    /// Makes what all containers share, if there will be any, while the root of the first one is made.
    fn prepare_containers(&self, missing: &BTreeSet<StepId>) -> Option<JoinHandle<()>> {
        let is_run = |step: &StepId| matches!(self.plan.steps[step.0].action, Action::Run(_));
        let isolation = self.executor.machine.isolation.clone();
        missing.iter().any(is_run).then(|| tokio::task::spawn_blocking(move || isolation.prepare()))
    }

    async fn carry_out(
        &mut self,
        missing: &BTreeSet<StepId>,
        (emulators, expectations): (&Emulators, &Expectations),
    ) -> Result<(), Error> {
        let lacking = |step| self.plan.dependencies(step).filter(|input| missing.contains(input)).count();
        let queue = Queue::new(missing.iter().map(|id| (*id, lacking(*id), expectations.chain(*id))));
        let mut schedule = Schedule::new(queue, self.executor.machine.admission.jobs());
        let mut failures = BTreeMap::new();
        while let Some(next) = schedule.next().await {
            let failure = match next {
                Next::Start(step) => self.start(step, (emulators, expectations), &mut schedule).err(),
                Next::Ended(step, Ok(result)) => {
                    if self.to_hash.contains(&step) {
                        self.diffing.compute(step, result.layer());
                    }
                    self.share(step, &result);
                    self.results.insert(step, result);
                    schedule.finished(self.plan.dependents(step));
                    None
                }
                Next::Ended(_, Err(error)) if self.lose_layers(&error) => None,
                Next::Ended(step, Err(error)) => match self.on_failure {
                    OnFailure::Stop => Some(error),
                    OnFailure::GoOn => {
                        failures.insert(step, error);
                        None
                    }
                },
                Next::Panicked(message) => Some(Error::Worker(message)),
            };
            if let Some(error) = failure {
                self.executor.machine.cancel.cancel();
                schedule.stop().await;
                return Err(error);
            }
        }
        match failures.len() {
            0 => Ok(()),
            _ => Err(Error::Several(Failures::new(failures.into_values().collect(), schedule.waiting()))),
        }
    }

    fn start(
        &self,
        step: StepId,
        (emulators, expectations): (&Emulators, &Expectations),
        schedule: &mut Schedule<StepId, Result<StepResult, Error>>,
    ) -> Result<(), Error> {
        let inputs = self.results.inputs(&self.plan.steps[step.0]);
        let inputs =
            inputs.ok_or_else(|| Error::Worker("a step was started before its inputs".to_owned()))?;
        let stage = self.plan.steps[step.0].stage;
        let emulator = emulators.get(&self.plan.stages[stage.0].platform).cloned();
        let (executor, memory) = (self.executor.clone(), expectations.memory(step));
        schedule.start(step, move || executor.execute(step, (&inputs, emulator.as_ref()), memory));
        Ok(())
    }

    fn announce_cached(&self, missing: &BTreeSet<StepId>) {
        for step in &self.plan.steps {
            if !missing.contains(&step.id)
                && let Some(result) = self.results.step(step.id)
            {
                self.reporter.cached(step, result.layer());
            }
        }
    }

    /// Makes the outputs of the targets, which are done.
    async fn export(&mut self, destinations: &[Vec<Destination>]) -> Result<Built, Error> {
        let plan = self.plan.clone();
        let mut targets = Vec::with_capacity(destinations.len());
        for (target, destinations) in export::by_output(&plan, destinations.len()).zip(destinations) {
            targets.push(self.export_target(target, destinations).await?);
        }
        self.keep_finished()?;
        self.cache.records().keep_recent(&self.executor.keys, &self.results);
        let (cached, executed) = (self.results.count(Origin::Cache), self.results.count(Origin::Executed));
        let mut targets = targets.into_iter();
        let (target, images) = (targets.next().unwrap_or_default(), ImageLock::default());
        let (secrets, agents) = run_mounts::needs(&plan);
        Ok(Built { target, further_targets: targets.collect(), cached, executed, images, secrets, agents })
    }

    /// Makes the outputs of one target, which `targets` are for each platform.
    async fn export_target(
        &mut self,
        targets: &[PlannedTarget],
        destinations: &[Destination],
    ) -> Result<BuiltTarget, Error> {
        if destinations.iter().any(Destination::is_store) {
            self.bring_from_directories(targets).await?;
        }
        let mut stacks = self.stacks(targets);
        let mut image = None;
        if destinations.iter().any(Destination::is_image) {
            let activity = self.reporter.begin(Activity::Export);
            let listed = destinations.iter().any(Destination::is_store);
            let presence = if listed { Presence::Listed } else { Presence::Passing };
            let names: Vec<ImageName> = destinations.iter().flat_map(Destination::names).cloned().collect();
            let made = self.image(targets, (presence, &names)).await;
            let made = activity.end_with(made)?;
            stacks = made.parts.iter().map(ImageRecord::stack).collect();
            image = Some(made);
        } else {
            self.keep_finished()?;
        }
        let machine = &self.executor.machine;
        let platforms = targets.iter().map(|target| target.image.config.platform());
        let delivery = Delivery {
            store: &machine.store,
            files: &machine.files,
            remote: &self.remote,
            snapshots: machine.sources.snapshots(),
            cancel: &machine.cancel,
            reporter: &self.reporter,
            roots: platforms.zip(stacks).collect(),
            epoch: self.epoch,
            image: image.as_ref(),
        };
        let mut outputs = Vec::with_capacity(destinations.len());
        for destination in destinations {
            outputs.push(delivery.to(destination).await?);
        }
        Ok(BuiltTarget { outputs })
    }

    /// The layers of each of `targets`, lowest first.
    fn stacks(&self, targets: &[PlannedTarget]) -> Vec<Vec<LayerId>> {
        targets.iter().map(|target| self.results.target(target).to_vec()).collect()
    }

    /// Makes sure that a later build has the steps that are finished. Also called when a step has failed.
    fn keep_finished(&self) -> Result<(), Error> {
        self.executor.machine.sources.save_indexes();
        self.cache.records().flush()
    }
}

/// Cancels a build whose future is dropped.
struct CancelOnDrop(Cancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
