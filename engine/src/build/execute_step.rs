//! One step on a worker thread: look up again if need be, carry out, commit, record.

use crate::{
    CacheMounts, Causes, Error, Note, Outcome, Remains, Warning,
    build::{
        admission::Admission,
        output_tail::OutputTail,
        results::{Inputs, Origin, StepResult},
    },
    error::diagnostic::DockerfileText,
    failed_steps::{Failed, Keeping, keep},
    familiar_mount_id,
    guest::{
        devices,
        mask::Mask,
        privileges::read_privileges,
        run_mounts::{self, MountSources},
        secrets::{self, Secrets},
        ssh::Agents,
    },
    layers::layer_files::LayerFiles,
    lookup::{
        Done, Found, Ready, StepCache,
        keys::Keys,
        miss::{Missed, Misses},
        source_files::SourceFiles,
    },
    remote_sources::has_remote,
    report::reporter::{Reporter, Running},
    store::cache_mounts,
};
use rbuild_cache::{
    CacheKey, Cancel, FailedStepBudget, LayerDraft, LayerId, LayerMeta, LayerSource, PrivilegeOptions,
    StepLock, Store,
};
use rbuild_executor::{
    Emulator, ExecutorError, HostFiles, Isolation, Networks, RunFailure, StepLimits, Usage,
};
use rbuild_oci::Timestamp;
use rbuild_planner::{Action, Plan, Step, StepId};
use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

/// Carries out the steps of one plan, each on the thread that calls it.
pub(crate) struct Executor {
    pub(crate) plan: Arc<Plan>,
    pub(crate) keys: Keys,
    pub(crate) misses: Misses,
    pub(crate) cache: Arc<StepCache>,
    pub(crate) machine: Machine,
    pub(crate) text: DockerfileText,
    pub(crate) reporter: Reporter,
    /// True once the build has said that the store is over its budget.
    pub(crate) told_of_lack: AtomicBool,
}

/// The parts of the engine that a step needs to run.
pub(crate) struct Machine {
    pub(crate) store: Store,
    pub(crate) isolation: Arc<Isolation>,
    pub(crate) sources: SourceFiles,
    pub(crate) files: LayerFiles,
    pub(crate) host_files: HostFiles,
    pub(crate) networks: Networks,
    /// `--shm-size`.
    pub(crate) shm_size: Option<u64>,
    /// `--memory` and its like, `--step-timeout`.
    pub(crate) limits: StepLimits,
    /// `--cap-add` and its like.
    pub(crate) privileges: PrivilegeOptions,
    /// `--secret`.
    pub(crate) secrets: Secrets,
    /// How much is kept of failed ones.
    pub(crate) failed_steps: FailedStepBudget,
    /// `--cache-mount`.
    pub(crate) cache_mounts: CacheMounts,
    /// `--ssh`.
    pub(crate) agents: Agents,
    pub(crate) admission: Admission,
    pub(crate) cancel: Cancel,
}

impl Executor {
    /// Carries out step `id`, which is expected to need `memory` bytes, or takes its result from the cache after all.
    ///
    /// # Errors
    /// Why it failed, with its place in the Dockerfile and the end of its output.
    pub(crate) fn execute(
        &self,
        id: StepId,
        (inputs, emulator): (&Inputs, Option<&Emulator>),
        memory: Option<u64>,
    ) -> Result<StepResult, Error> {
        let step = &self.plan.steps[id.0];
        let mut activity = self.reporter.begin_step(step);
        let mut tail = OutputTail::default();
        let mut remains = Remains::Nothing;
        let attempted =
            self.attempt((step, memory), (inputs, emulator), &mut activity, (&mut tail, &mut remains));
        match attempted {
            Ok(result) => {
                activity.made(result.layer());
                activity.end(match result.origin {
                    Origin::Cache => Outcome::Cached,
                    Origin::Executed => Outcome::Done,
                });
                Ok(result)
            }
            Err(error) => {
                let canceled = matches!(error, Error::Executor(ExecutorError::Canceled));
                let error = error.at_step(step, &self.text, tail.into_lines()).leaving(remains);
                activity.end(if canceled { Outcome::Canceled } else { Outcome::Failed(Causes::of(&error)) });
                Err(error)
            }
        }
    }

    /// Carries step `id` out into a draft that is not kept; nothing of it is recorded.
    ///
    /// # Errors
    /// As [`Executor::execute`].
    pub(crate) fn repeat(
        &self,
        id: StepId,
        (inputs, emulator): (&Inputs, Option<&Emulator>),
    ) -> Result<LayerDraft, Error> {
        let step = &self.plan.steps[id.0];
        let ready = Ready::new(step, self.keys.step(id), inputs, &self.machine.sources)?;
        let listener = Listener { used: &OnceLock::new(), output: &mut |_| {}, failed: &mut None };
        self.machine.carry_out((&ready, emulator), (self.plan.source_date_epoch, None), listener)
    }

    fn attempt(
        &self,
        (step, memory): (&Step, Option<u64>),
        (inputs, emulator): (&Inputs, Option<&Emulator>),
        activity: &mut Running,
        (tail, remains): (&mut OutputTail, &mut Remains),
    ) -> Result<StepResult, Error> {
        let keyed = self.keys.step(step.id);
        let lock = self.lock(&keyed.key, activity)?;
        let ready = Ready::new(step, keyed, inputs, &self.machine.sources)?;
        match self.cache.find(&ready, &self.misses)? {
            Found::Hit(hit) => {
                self.cache.remember(&hit)?;
                return Ok(hit.result);
            }
            Found::Miss(reason) | Found::Unknown(reason) => activity.missed(reason),
        }
        self.make_room(self.misses.expected_bytes(step.id));
        let slot = self.machine.admission.enter(memory, activity)?;
        let (began, epoch) = (Instant::now(), self.plan.source_date_epoch);
        let (earlier, mut failed) = (self.earlier_copy(&ready), None);
        let used = OnceLock::new();
        let mut output = |bytes: &[u8]| {
            activity.output(bytes);
            tail.push(bytes, activity.elapsed());
        };
        let listener = Listener { used: &used, output: &mut output, failed: &mut failed };
        let carried_out = self.machine.carry_out((&ready, emulator), (epoch, earlier), listener);
        let sources = inputs.sources.iter().flat_map(|(_, layers)| layers.iter());
        self.machine.files.require(inputs.parent.iter().chain(sources))?;
        if let Some(failed) = failed {
            *remains = self.keep(&ready, failed);
        }
        if matches!(carried_out, Err(Error::Executor(ExecutorError::DiskFull { .. }))) {
            // what earlier failures left is less worth than the room that it takes
            let store = &self.machine.store;
            for (name, _) in store.failed_steps(None)? {
                store.remove_failed_step(&name)?;
            }
        }
        if let Some(reason) = self.machine.networks.report_missing() {
            activity.note(Note::NetworkIsTheHosts { reason });
        }
        if self.machine.networks.report_broken_off() {
            activity.note(Note::NetworkBrokeOff);
        }
        for unmet in self.machine.limits.report_unmet() {
            activity.note(Note::LimitUnmet { flags: unmet.flags, reason: unmet.reason });
        }
        let usage = used.into_inner();
        usage.iter().for_each(|usage| activity.used(usage));
        let draft = carried_out?;
        let took = began.elapsed();
        self.limit_mounts(&ready, activity)?;
        let created = Timestamp::from(self.machine.store.now());
        let changes = draft.fs().to_owned();
        drop(slot);
        let meta = draft.measured(LayerMeta::new(created, LayerSource::Own));
        let layer = draft.commit(self.cache.lease(), &meta)?;
        // its tar is likely to be hashed next
        self.machine.store.writing_rests();
        let snapshots = self.machine.sources.snapshots();
        snapshots.committed(&changes, layer);
        if snapshots.report_copies() {
            activity.note(Note::RootsAreCopied);
        }
        let done = Done { layer, bytes: meta.disk_bytes, created, took, usage };
        self.make_room(0);
        self.cache.keep(&ready, &done, lock)
    }

    /// The layer of an earlier copy, from which a COPY takes the files that are the same.
    fn earlier_copy(&self, ready: &Ready<'_>) -> Option<LayerId> {
        let missed = Missed { files: ready.files(), inputs: Some(ready.inputs) };
        match ready.step.action {
            Action::Copy(_) => self.misses.alike(&missed, self.cache.records()),
            Action::Run(_) | Action::Workdir(_) => None,
        }
    }

    /// Keeps what a command that failed has left.
    fn keep(&self, ready: &Ready<'_>, failed: Failed) -> Remains {
        let platform = &self.plan.stages[ready.step.stage.0].platform;
        let build = self.reporter.build();
        let Machine { store, failed_steps, secrets, host_files, shm_size, privileges, .. } = &self.machine;
        let (names, shm_size) = (host_files.names(), *shm_size);
        let keeping = Keeping { store, budget: failed_steps, secrets, names, shm_size, privileges };
        build.map_or(Remains::Nothing, |build| keep(&keeping, (ready, platform), &build, failed))
    }

    /// Empties the cache mounts of a step that have become too large.
    fn limit_mounts(&self, ready: &Ready<'_>, activity: &Running) -> Result<(), Error> {
        let Action::Run(action) = &ready.step.action else { return Ok(()) };
        for spec in cache_mounts::of_run(action, &ready.keyed.mount_contents) {
            let over = cache_mounts::limit(&self.machine.store, &spec, &self.machine.cache_mounts)?;
            if let Some((bytes, most)) = over {
                activity.note(Note::CacheMountEmptied {
                    id: familiar_mount_id(spec.id).to_owned(),
                    bytes,
                    most,
                });
            }
        }
        Ok(())
    }

    /// Makes the store fit into its budget. A build does not fail for it.
    fn make_room(&self, expected: u64) {
        match self.machine.store.make_room(expected) {
            Ok(room) => {
                if room.made.is_some() {
                    self.cache.records().keep_recent_again();
                }
                if room.lacking > 0 && !self.told_of_lack.swap(true, Ordering::Relaxed) {
                    self.reporter.warn(Warning::OverBudget { lacking: room.lacking });
                }
            }
            Err(error) => self.cache.records().warn_of("layers", &error),
        }
    }

    fn lock(&self, key: &CacheKey, activity: &Running) -> Result<StepLock, Error> {
        let store = &self.machine.store;
        if let Some(lock) = store.try_lock_step(key)? {
            return self.announced(lock);
        }
        // an equal step of this very build is no other build
        if let Some(note) = self.awaits_other_build(key) {
            activity.note(note);
        }
        let waited = store.wait_step(key, &self.machine.cancel)?;
        self.announced(waited.ok_or(Error::Executor(ExecutorError::Canceled))?)
    }

    /// Lets builds that wait for the lock know that this one has it.
    fn announced(&self, lock: StepLock) -> Result<StepLock, Error> {
        if let Some(holder) = self.reporter.step_holder(self.machine.store.now().into()) {
            lock.announce(&holder)?;
        }
        Ok(lock)
    }

    /// What to say of another build that holds the lock of a step; it may have taken it in this moment, and not have said so yet.
    fn awaits_other_build(&self, key: &CacheKey) -> Option<Note> {
        let (store, mut holder) = (&self.machine.store, None);
        for _ in 0..10 {
            holder = store.step_holder(key);
            if holder.is_some() {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        let now = Timestamp::from(store.now());
        let own = self.reporter.step_holder(now);
        if own.is_some_and(|own| holder.as_ref().is_some_and(|holder| holder.build == own.build)) {
            return None;
        }
        let seconds = holder.as_ref().map_or(0, |holder| now.seconds() - holder.since.seconds());
        let running = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        Some(Note::AwaitsOtherBuild { holder, running })
    }
}

/// Hears of a command that runs.
struct Listener<'a> {
    /// Takes what its processes have used.
    used: &'a OnceLock<Usage>,
    /// Gets what it writes.
    output: &'a mut dyn FnMut(&[u8]),
    /// Takes what it has left, if it fails.
    failed: &'a mut Option<Failed>,
}

impl Machine {
    fn carry_out(
        &self,
        (ready, emulator): (&Ready<'_>, Option<&Emulator>),
        (epoch, earlier): (Option<i64>, Option<LayerId>),
        Listener { used, output, failed }: Listener<'_>,
    ) -> Result<LayerDraft, Error> {
        let (snapshots, parent) = (self.sources.snapshots(), &*ready.inputs.parent);
        let now = epoch.map_or_else(|| self.store.now(), at_second);
        self.files.need(parent)?;
        match &ready.step.action {
            Action::Workdir(action) => Ok(rbuild_executor::workdir(snapshots, action, parent, now)?),
            Action::Copy(action) => {
                let selection = ready.selection.as_ref();
                let mut selection =
                    selection.ok_or_else(|| Error::Worker("a COPY came without its files".to_owned()))?;
                let (whole, _fetched);
                if has_remote(action) {
                    let selected = self.sources.select_fetched((ready.step.id, action), selection)?;
                    (whole, _fetched) = (Arc::new(selected.0), selected.1);
                    selection = &whole;
                }
                Ok(rbuild_executor::copy_linking(snapshots, action, selection, (parent, earlier), now)?)
            }
            Action::Run(action) => {
                let sources = MountSources {
                    contexts: &self.sources,
                    inputs: ready.inputs,
                    secrets: &self.secrets,
                    cache_mounts: &self.cache_mounts,
                    agents: &self.agents,
                    cancel: &self.cancel,
                };
                for (_, layers) in &ready.inputs.sources {
                    self.files.need(layers)?;
                }
                let mounts = run_mounts::prepare(&sources, ready.keyed, action)?;
                let run = rbuild_executor::Run {
                    snapshots,
                    isolation: &self.isolation,
                    action,
                    parent,
                    mounts: &mounts,
                    host_files: &self.host_files,
                    networks: &self.networks,
                    secret_variables: &secrets::variables(&action.mounts, &self.secrets),
                    shm_size: self.shm_size,
                    emulator,
                    privileges: &read_privileges(&self.privileges)?,
                    given: &devices::of_step(&action.devices, &self.privileges.device_descriptions)?,
                    limits: &self.limits,
                    used,
                    cancel: &self.cancel,
                };
                let mask = Mask::new(secrets::values(&action.mounts, &self.secrets));
                let ran = run_masked(&run, mask, output);
                Ok(ran.map_err(|RunFailure { error, changes }| {
                    *failed = changes.map(|changes| Failed { changes, mounts });
                    *error
                })?)
            }
        }
    }
}

/// Runs a command whose output goes through `mask`.
fn run_masked(
    run: &rbuild_executor::Run<'_>,
    mask: Option<Mask>,
    output: &mut dyn FnMut(&[u8]),
) -> Result<LayerDraft, RunFailure> {
    let Some(mut mask) = mask else { return rbuild_executor::run(run, output) };
    let ran = rbuild_executor::run(run, &mut |bytes| mask.push(bytes, output));
    mask.finish(output);
    ran
}

/// The time `seconds` after 1970, or before it.
fn at_second(seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { SystemTime::UNIX_EPOCH - distance } else { SystemTime::UNIX_EPOCH + distance }
}
