//! Keys of steps: from what a step says and what its inputs are, before anything is carried out.
//!
//! Every key of a plan can be computed at once. Context files are walked; layers are never read: a COPY from a stage or
//! an image is keyed by that stage's or image's own key. When that misses, what it would copy is digested after all
//! ([`Keyed::by_content`]), so that a stage that was built again with the same files makes nothing else run.

use crate::{
    BuildRequest, Error,
    build::results::Inputs,
    lookup::source_files::{SourceFiles, copies_layers, mounted_tree},
    remote_sources::has_remote,
};
use rbuild_cache::{CacheKey, KeyBuilder, StepHash};
use rbuild_executor::{RunSurroundings, Selection, StepDescription};
use rbuild_oci::Digest;
use rbuild_planner::{
    Action, CachePolicy, CopyAction, Filesystem, Mount, MountKind, Plan, RunAction, Step, StepId,
};
use std::{collections::HashSet, sync::Arc};

/// The mode of a directory that the hash of what a mount shows does not mention.
const USUAL_MODE: u32 = 0o755;

/// A step with its key.
#[derive(Debug)]
pub(crate) struct Keyed {
    pub(crate) key: CacheKey,
    /// The key of what it stands on.
    pub(crate) parent: CacheKey,
    /// Its hash and what went into it.
    pub(crate) description: StepDescription,
    /// The files that a COPY would take from a context.
    pub(crate) selection: Option<Arc<Selection>>,
    /// The digest of these files, which may be known without them.
    pub(crate) files: Option<Digest>,
    /// For each mount of a RUN, in order, the hash of the files it shows, if it shows any.
    pub(crate) mount_contents: Vec<Option<StepHash>>,
    /// For each mount of a RUN, in order, the files of a context that it shows, if it shows any.
    pub(crate) mount_files: Vec<Option<Arc<Selection>>>,
    /// Of a RUN that mounts stages or images: its hash with nothing of them but the paths in them. Their files are compared.
    pub(crate) beside_mounts: Option<StepHash>,
    pub(crate) definition: Definition,
    /// True if another step of the plan has the same hash, so that its result may serve this one as well.
    pub(crate) repeated: bool,
}

/// The answer to whether the definition key of a step proves that its result is the recorded one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Definition {
    /// It does.
    Trusted,
    /// It does not: an input of the step is run although the cache has it (`--no-cache-filter`), so that only the content
    /// of that input shows a change.
    Untrusted,
}

/// The keys of all steps of a plan.
#[derive(Debug)]
pub(crate) struct Keys(Vec<Keyed>);

impl Keys {
    /// Computes the keys of `plan`; contexts are walked.
    ///
    /// # Errors
    /// That of the first step whose files cannot be read, and which step it is.
    pub(crate) fn of(
        plan: &Plan,
        sources: &SourceFiles,
        request: &BuildRequest,
    ) -> Result<Self, Box<(StepId, Error)>> {
        let mut keys = Self(Vec::with_capacity(plan.steps.len()));
        for step in &plan.steps {
            let keyed =
                keys.describe(plan, step, sources, request).map_err(|error| Box::new((step.id, error)))?;
            keys.0.push(keyed);
        }
        keys.mark_repeated();
        Ok(keys)
    }

    /// The key of step `id`.
    pub(crate) fn step(&self, id: StepId) -> &Keyed {
        &self.0[id.0]
    }

    /// Every step's, in the plan's order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Keyed> {
        self.0.iter()
    }

    fn mark_repeated(&mut self) {
        let (mut seen, mut repeated) = (HashSet::new(), HashSet::new());
        for keyed in &self.0 {
            if !seen.insert(keyed.description.step) {
                repeated.insert(keyed.description.step);
            }
        }
        for keyed in &mut self.0 {
            keyed.repeated = repeated.contains(&keyed.description.step);
        }
    }

    /// Describes `step`, whose inputs are in `self`.
    fn describe(
        &self,
        plan: &Plan,
        step: &Step,
        sources: &SourceFiles,
        request: &BuildRequest,
    ) -> Result<Keyed, Error> {
        let (mut selection, mut known, mut mounts, mut beside_mounts) = (None, None, Vec::new(), None);
        let mut description = match &step.action {
            Action::Workdir(action) => rbuild_executor::describe_workdir(action, plan.source_date_epoch),
            Action::Copy(action) if copies_layers(action) => {
                let of = self.of_filesystem(plan, &action.from);
                let files = rbuild_executor::describe_layer_files(&of, &action.sources);
                rbuild_executor::describe_copy(action, &files)
            }
            Action::Copy(action) => {
                let selected = sources.known_or_selected((action, "copy"), |selection| selection.digest)?;
                if let Some(selection) = &selected.files {
                    sources.require_sent(plan, action, selection)?;
                }
                let mut files = selected.digest;
                if has_remote(action) {
                    let remote = sources.remote().identities(step.id, action);
                    files = rbuild_executor::describe_remote_files(&files, &remote);
                }
                let described = rbuild_executor::describe_copy(action, &files);
                known = Some(selected.digest);
                selection = selected.files;
                described
            }
            Action::Run(action) => {
                let content = |mount: &Mount| self.mount_content(plan, mount, sources);
                mounts = action.mounts.iter().map(content).collect::<Result<_, _>>()?;
                let contents: Vec<_> = mounts.iter().map(|(content, _)| *content).collect();
                if let Some(beside) = beside_mounts_of_layers(action, &contents) {
                    beside_mounts = Some(describe_run(plan, step, (action, &beside), request).step);
                }
                describe_run(plan, step, (action, &contents), request)
            }
        };
        description.inputs.values.extend(self.origins(plan, step));
        if let Action::Copy(action) = &step.action {
            description.inputs.values.extend(sources.remote().explained(step.id, action));
        }
        let (mount_contents, mount_files) = mounts.into_iter().unzip();
        let parent = self.of_filesystem(plan, &step.parent);
        let key = CacheKey::definition(Some(&parent), &description.step);
        let definition = self.trust(plan, step.id);
        Ok(Keyed {
            key,
            parent,
            description,
            selection,
            files: known,
            mount_contents,
            mount_files,
            beside_mounts,
            definition,
            repeated: false,
        })
    }

    /// The key of `filesystem`, which is keyed before what is made from it. A context has none: its files have.
    fn of_filesystem(&self, plan: &Plan, filesystem: &Filesystem) -> CacheKey {
        match filesystem {
            Filesystem::Step(step) => self.0[step.0].key,
            Filesystem::Image(index) => rbuild_executor::image_key(&plan.images[index.0].id),
            Filesystem::Scratch | Filesystem::Context | Filesystem::NamedContext(_) => {
                rbuild_executor::scratch_key()
            }
        }
    }

    /// The image or stage that a step copies from and the image that it stands on, for explanations.
    fn origins(&self, plan: &Plan, step: &Step) -> Vec<(String, String)> {
        let identity = |filesystem: &Filesystem| match filesystem {
            Filesystem::Image(index) => Some(plan.images[index.0].id.to_string()),
            Filesystem::Step(id) => Some(self.0[id.0].key.to_string()),
            Filesystem::Scratch | Filesystem::Context | Filesystem::NamedContext(_) => None,
        };
        let from = match &step.action {
            Action::Copy(action) => identity(&action.from),
            Action::Run(_) | Action::Workdir(_) => None,
        };
        let base = match &step.parent {
            Filesystem::Image(index) => {
                let image = &plan.images[index.0];
                Some(format!("{} {}", image.id, image.reference.familiar()))
            }
            Filesystem::Step(_) | Filesystem::Scratch | Filesystem::Context | Filesystem::NamedContext(_) => {
                None
            }
        };
        let origins = [("from", from), ("base", base)];
        origins.into_iter().filter_map(|(input, value)| Some((input.to_owned(), value?))).collect()
    }

    /// The hash of what `mount` shows, and the files if they are those of a context; nothing when that is nothing that counts.
    fn mount_content(
        &self,
        plan: &Plan,
        mount: &Mount,
        sources: &SourceFiles,
    ) -> Result<(Option<StepHash>, Option<Arc<Selection>>), Error> {
        let (MountKind::Bind { from, source, .. } | MountKind::Cache { from, source, .. }) = &mount.kind
        else {
            return Ok((None, None));
        };
        match from {
            Filesystem::Scratch => Ok((None, None)),
            Filesystem::Context | Filesystem::NamedContext(_) => {
                let action = mounted_tree(from, source);
                let digest =
                    |selection: &Selection| Digest::from_bytes(*mounted_files(&action, selection).as_bytes());
                let selected = sources.known_or_selected((&action, "mount"), digest)?;
                // it is looked at again when it is mounted
                let files = selected.files.and_then(Arc::into_inner);
                let files = files.map(|selection| Arc::new(selection.without_bytes()));
                Ok((Some(StepHash::from_bytes(*selected.digest.as_bytes())), files))
            }
            // a stage's or image's key stands for its files: reading them all would cost more than it could save
            Filesystem::Image(_) | Filesystem::Step(_) => {
                let of = self.of_filesystem(plan, from);
                Ok((Some(rbuild_executor::describe_mounted_layers(&of, source)), None))
            }
        }
    }

    fn trust(&self, plan: &Plan, step: StepId) -> Definition {
        let is_new = |input: StepId| {
            plan.steps[input.0].cache == CachePolicy::Ignore
                || self.0[input.0].definition == Definition::Untrusted
        };
        if plan.dependencies(step).any(is_new) { Definition::Untrusted } else { Definition::Trusted }
    }
}

impl Keyed {
    /// The key of a COPY whose hash by the content of its files is `step`, whatever made them.
    pub(crate) fn by_content(&self, step: &StepHash) -> CacheKey {
        CacheKey::definition(Some(&self.parent), step)
    }

    /// The hash under which a RUN that mounts stages or images is found by their content: their layers are compared, so only how
    /// many each of them has is in it.
    pub(crate) fn beside_mounts(&self, inputs: &Inputs) -> Option<StepHash> {
        let beside = self.beside_mounts?;
        let counts = inputs.sources.iter().map(|(_, layers)| (layers.len() as u64).to_be_bytes());
        Some(
            KeyBuilder::new("beside mounts")
                .field("step", beside.as_bytes())
                .list("layers", counts)
                .finish_step(),
        )
    }
}

/// `contents` without what stands for the files of stages and images; `None` when there are none.
fn beside_mounts_of_layers(
    action: &RunAction,
    contents: &[Option<StepHash>],
) -> Option<Vec<Option<StepHash>>> {
    let mut found = false;
    let beside = action.mounts.iter().zip(contents).map(|(mount, content)| match &mount.kind {
        MountKind::Bind { from: Filesystem::Image(_) | Filesystem::Step(_), source, .. }
        | MountKind::Cache { from: Filesystem::Image(_) | Filesystem::Step(_), source, .. } => {
            found = true;
            Some(rbuild_executor::describe_mounted_layers(&rbuild_executor::scratch_key(), source))
        }
        MountKind::Bind { .. }
        | MountKind::Cache { .. }
        | MountKind::Tmpfs { .. }
        | MountKind::Secret { .. }
        | MountKind::Ssh { .. } => *content,
    });
    let beside = beside.collect();
    found.then_some(beside)
}

/// The hash of the files that a mount shows.
pub(crate) fn mounted_files(action: &CopyAction, selection: &Selection) -> StepHash {
    let files = rbuild_executor::describe_copy(action, &selection.digest).step;
    // a COPY does not see the mode of the directory itself; a mount does
    match selection.directory_mode() {
        Some(mode) if mode != USUAL_MODE => rbuild_executor::describe_shown_directory(&files, mode),
        _ => files,
    }
}

fn describe_run(
    plan: &Plan,
    step: &Step,
    (action, mount_contents): (&RunAction, &[Option<StepHash>]),
    request: &BuildRequest,
) -> StepDescription {
    let hosts = request.names.add_hosts.iter().map(|(host, _)| host.as_str()).collect::<Vec<_>>();
    let surroundings = RunSurroundings {
        platform: &plan.stages[step.stage.0].platform,
        mount_contents,
        host_names: &hosts,
        shm_size: request.shm_size,
        limits: &request.limits,
    };
    rbuild_executor::describe_run(action, &surroundings)
}
