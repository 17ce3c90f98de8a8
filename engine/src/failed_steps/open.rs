//! Looking into a failed step.

use super::{
    error::{DebugError, Nothing},
    name,
    record::{self, FailedMount, FailedMountKind, FailedStep},
};
use crate::{
    ContainerStdio, Engine, Error, SecretValue, SshKeys, Terminal,
    builds::unknown_step::find_step,
    guest::{
        devices, emulators,
        privileges::read_privileges,
        run_mounts::given,
        secrets::{self, Secrets},
        ssh::Agents,
    },
};
use rbuild_cache::{
    BuildRecord, BuildState, Cancel, FailedStepBudget, FailedStepFiles, RecordedStep, StepOutcome,
};
use rbuild_executor::{
    CacheDirectory, HostFiles, Limits, Networks, PreparedMount, Snapshots, Stdio, StepLimits, StepShell,
    look_into,
};
use rbuild_planner::MountKind;
use std::{collections::BTreeMap, os::fd::OwnedFd, sync::OnceLock};

/// What a person wants to see of a failed step.
#[derive(Clone, Debug)]
pub struct DebugRequest {
    /// The program and its arguments; the shell of the step when empty.
    pub command: Vec<String>,
    /// The secrets of the step, once more.
    pub secrets: BTreeMap<String, SecretValue>,
    /// The keys of the step, once more.
    pub ssh: BTreeMap<String, SshKeys>,
    /// The proxies of the step, as `NAME=value`.
    pub proxies: Vec<String>,
    /// A terminal for the command.
    pub terminal: Terminal,
    /// Its standard input without a terminal.
    pub stdin: ContainerStdio,
}

/// A failed step that is kept.
#[derive(Debug)]
pub struct FoundStep {
    /// Its build.
    pub build: BuildRecord,
    /// The step.
    pub step: RecordedStep,
    files: FailedStepFiles,
    record: FailedStep,
}

impl FoundStep {
    /// Files that are not kept, because they held a secret.
    #[must_use]
    pub fn left_out(&self) -> &[String] {
        &self.record.left_out
    }

    /// The step's command.
    #[must_use]
    pub fn argv(&self) -> &[String] {
        &self.record.argv
    }

    /// The program of the step's shell.
    #[must_use]
    pub fn shell(&self) -> &str {
        &self.record.shell
    }

    /// The ids of its secrets and keys that `request` does not give: secrets first.
    #[must_use]
    pub fn lacking(&self, request: &DebugRequest) -> (Vec<String>, Vec<String>) {
        let (mut secrets, mut keys) = (Vec::new(), Vec::new());
        for mount in self.record.mounts.iter().filter_map(FailedMount::of_person) {
            match mount.kind {
                MountKind::Secret { id, .. } if !request.secrets.contains_key(&id) => secrets.push(id),
                MountKind::Ssh { id, .. } if !request.ssh.contains_key(&id) => keys.push(id),
                MountKind::Secret { .. }
                | MountKind::Ssh { .. }
                | MountKind::Bind { .. }
                | MountKind::Cache { .. }
                | MountKind::Tmpfs { .. } => {}
            }
        }
        (secrets, keys)
    }
}

impl Engine {
    /// The same engine, which keeps this much of failed steps.
    #[must_use]
    pub fn keeping(self, failed_steps: FailedStepBudget) -> Self {
        Self { failed_steps, ..self }
    }

    /// The failed step with this number of a build; without a number its last one, and without a build that of the newest build
    /// with one.
    ///
    /// # Errors
    /// [`Error::Debug`] when there is none, or nothing is left of it; [`Error::NoSuchBuild`].
    pub fn failed_step(&self, build: Option<&str>, step: Option<u32>) -> Result<FoundStep, Error> {
        let build = match build {
            Some(name) => self.find_build(name)?,
            None => self.store.builds()?.into_iter().find(has_failed).ok_or(DebugError::NoFailure)?,
        };
        let short = build.id.short().to_owned();
        let step = match step {
            Some(number) => find_step(&build, number).map_err(DebugError::from)?,
            None => {
                let failed = build.steps().iter().filter(|step| is_failed(step));
                let last = failed.max_by_key(|step| (self.is_kept(&build, step), end_of(step)));
                last.ok_or(DebugError::NoFailedStep { build: short })?
            }
        };
        let step = step.clone();
        self.open_step(&build, &step).map(|(files, record)| FoundStep { build, step, files, record })
    }

    fn open_step(
        &self,
        build: &BuildRecord,
        step: &RecordedStep,
    ) -> Result<(FailedStepFiles, FailedStep), Error> {
        let nothing = |why| nothing(build, step, why);
        let Some(files) = self.store.failed_step(&name(&build.id, step.number))? else {
            return Err(nothing(match &step.outcome {
                StepOutcome::Failed { causes } if ran(step, causes) => Nothing::Removed,
                StepOutcome::Failed { .. } => Nothing::NotRun,
                _ => Nothing::NotFailed,
            }));
        };
        let record = FailedStep::read(&files.description()?).ok_or_else(|| nothing(Nothing::Unreadable))?;
        if record.all_layers().any(|layer| !self.store.has_layer(layer)) {
            return Err(nothing(Nothing::NoLayers));
        }
        Ok((files, record))
    }

    fn is_kept(&self, build: &BuildRecord, step: &RecordedStep) -> bool {
        self.store.failed_step(&name(&build.id, step.number)).is_ok_and(|files| files.is_some())
    }

    /// Runs a command where the step ran, on the files that it left, and calls `attend` with it: the thread that calls this has to
    /// stay as long as the command runs. Nothing that the command changes is kept.
    ///
    /// # Errors
    /// [`Error::Executor`] when the command cannot be started, or something that a person has to give is missing.
    pub fn look_into<T>(
        &self,
        step: &FoundStep,
        request: &DebugRequest,
        attend: impl FnOnce(&mut StepShell<'_>, Option<&OwnedFd>) -> T,
    ) -> Result<T, Error> {
        let FoundStep { files, record, .. } = step;
        let (lease, layers): (_, Vec<_>) = (self.store.lease()?, record.all_layers().copied().collect());
        if !lease.hold(&layers, &[])?.is_empty() {
            return Err(nothing(&step.build, &step.step, Nothing::NoLayers));
        }
        let argv = match request.command.as_slice() {
            [] => vec![record.shell.clone()],
            command => command.to_vec(),
        };
        let action = record.action(argv, request.proxies.clone());
        let agents = Agents::new(request.ssh.clone());
        secrets::check(&action.mounts, &request.secrets)?;
        agents.check(&action.mounts)?;
        let snapshots = Snapshots::new(&self.store);
        let showing = Showing { snapshots: &snapshots, files, secrets: &request.secrets, agents: &agents };
        let mounts = record.mounts.iter().filter_map(|mount| showing.mount(mount).transpose());
        let mounts = mounts.collect::<Result<Vec<_>, _>>()?;
        let emulator = emulators::of_container(&record.platform.parse()?)?;
        let (terminal, stdio) = streams(request)?;
        let run = rbuild_executor::Run {
            snapshots: &snapshots,
            isolation: &self.isolation,
            action: &action,
            parent: &record.layers,
            mounts: &mounts,
            host_files: &HostFiles::new(&self.store, record.names()),
            networks: &Networks::new(&self.isolation, &record.names()),
            secret_variables: &secrets::variables(&action.mounts, &request.secrets),
            shm_size: record.shm_size,
            emulator: emulator.as_ref(),
            privileges: &read_privileges(&record.privileges)?,
            given: &devices::of_step(&action.devices, &record.privileges.device_descriptions)?,
            limits: &StepLimits::new(Limits::default(), None),
            used: &OnceLock::new(),
            cancel: &Cancel::default(),
        };
        let mut shell = look_into(&run, &files.changes(), &stdio)?;
        // only the command has it open now, so that its end is seen
        drop(stdio);
        Ok(attend(&mut shell, terminal.as_ref()))
    }
}

/// Where the mounts of a step are shown from.
struct Showing<'a> {
    snapshots: &'a Snapshots,
    files: &'a FailedStepFiles,
    secrets: &'a Secrets,
    agents: &'a Agents,
}

impl Showing<'_> {
    fn mount(&self, mount: &FailedMount) -> Result<Option<PreparedMount>, Error> {
        let target = record::path(&mount.target);
        Ok(Some(match &mount.kind {
            FailedMountKind::Kept { number, path, read_only } => {
                let (kept, source) = (self.files.mount(*number), record::path(path));
                PreparedMount::kept(self.snapshots, &kept, &source, &target, record::access(*read_only))?
            }
            FailedMountKind::Layers { layers, path, read_only } => {
                let (source, access) = (record::path(path), record::access(*read_only));
                PreparedMount::layers(self.snapshots, layers, &source, &target, access)?
            }
            FailedMountKind::Cache { id, path, sharing, read_only, mode, uid, gid, seed } => {
                let directory = CacheDirectory {
                    id,
                    mode: *mode,
                    uid: *uid,
                    gid: *gid,
                    subpath: &record::path(path),
                    sharing: record::sharing(sharing),
                    seed: *seed,
                };
                let place = (&target, record::access(*read_only));
                // the step has used it; one that was removed since is empty
                let begin = |_: &std::path::Path| Ok::<_, Error>(());
                let store = self.snapshots.store();
                PreparedMount::cache(store, &directory, place, &Cancel::default(), begin)?
            }
            FailedMountKind::Tmpfs { size } => PreparedMount::tmpfs(&target, *size),
            FailedMountKind::Secret { .. } | FailedMountKind::Ssh { .. } => {
                let Some(mount) = mount.of_person() else { return Ok(None) };
                return given(&mount, self.secrets, self.agents);
            }
        }))
    }
}

fn streams(request: &DebugRequest) -> Result<(Option<OwnedFd>, Stdio), Error> {
    Ok(match (request.terminal, request.stdin) {
        (Terminal::Pty { rows, columns }, _) => {
            let (master, slave) = rbuild_executor::open_terminal(rows, columns)?;
            (Some(master), Stdio::Terminal(slave))
        }
        (Terminal::None, ContainerStdio::Null) => (None, Stdio::OwnOutput),
        (Terminal::None, ContainerStdio::Inherit | ContainerStdio::Open) => (None, Stdio::Own),
    })
}

fn nothing(build: &BuildRecord, step: &RecordedStep, why: Nothing) -> Error {
    let (build, instruction) = (build.id.short().to_owned(), step.instruction.clone());
    DebugError::Nothing { build, step: step.number, instruction, why }.into()
}

fn has_failed(build: &BuildRecord) -> bool {
    matches!(build.state, BuildState::Ended(_)) && build.steps().iter().any(is_failed)
}

fn is_failed(step: &RecordedStep) -> bool {
    matches!(step.outcome, StepOutcome::Failed { .. })
}

/// When it ended, in milliseconds after its build began.
fn end_of(step: &RecordedStep) -> u64 {
    step.began_ms.unwrap_or(0) + step.took_ms.unwrap_or(0)
}

/// True if a command ran: its failure has no further cause, unlike that of one that could not be started.
fn ran(step: &RecordedStep, causes: &[String]) -> bool {
    step.instruction.starts_with("RUN") && causes.len() == 1
}
