//! `RUN --mount`: what the engine finds for the executor to mount.

use crate::{
    CacheMounts, Error, MountNeed, SecretValue,
    build::results::Inputs,
    guest::{
        secrets::{self, Secrets},
        ssh::Agents,
    },
    lookup::{
        keys::{Keyed, mounted_files},
        source_files::{MOUNTED, SourceFiles, mounted_tree},
    },
    store::cache_mounts,
};
use rbuild_cache::{Cancel, LayerDraft, StepHash};
use rbuild_executor::{CacheDirectory, ExecutorError, PreparedMount};
use rbuild_oci::ImagePath;
use rbuild_planner::{Action, Filesystem, Mount, MountKind, Plan, RunAction, Sharing};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// Where the mounts of one RUN take their files from.
pub(crate) struct MountSources<'a> {
    pub(crate) contexts: &'a SourceFiles,
    pub(crate) inputs: &'a Inputs,
    pub(crate) secrets: &'a Secrets,
    pub(crate) cache_mounts: &'a CacheMounts,
    pub(crate) agents: &'a Agents,
    /// Ends the wait for a locked cache.
    pub(crate) cancel: &'a Cancel,
}

/// The secrets and the agents that steps of `plan` mount, by id.
pub(crate) fn needs(plan: &Plan) -> (BTreeMap<String, MountNeed>, BTreeMap<String, MountNeed>) {
    let (mut secrets, mut agents) = (BTreeMap::new(), BTreeMap::new());
    let runs = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Run(run) => Some(&run.mounts),
        Action::Copy(_) | Action::Workdir(_) => None,
    });
    for mount in runs.flatten() {
        let (needs, id, required) = match &mount.kind {
            MountKind::Secret { id, required, .. } => (&mut secrets, id, required),
            MountKind::Ssh { id, required, .. } => (&mut agents, id, required),
            MountKind::Bind { .. } | MountKind::Cache { .. } | MountKind::Tmpfs { .. } => continue,
        };
        let need = if *required { MountNeed::Required } else { MountNeed::Optional };
        let most: &mut MountNeed = needs.entry(id.clone()).or_insert(need);
        *most = need.max(*most);
    }
    (secrets, agents)
}

/// Prepares the mounts of `action`; what they hold is released when they are dropped. Locked caches are claimed in the
/// order of their ids and once each, so that steps never wait for each other in a circle, or for themselves.
///
/// # Errors
/// When files are not there or have changed since the step was keyed, or a cache cannot be made.
pub(crate) fn prepare(
    sources: &MountSources<'_>,
    keyed: &Keyed,
    action: &RunAction,
) -> Result<Vec<PreparedMount>, Error> {
    secrets::check(&action.mounts, sources.secrets)?;
    sources.agents.check(&action.mounts)?;
    let cache_id = |position: usize| match &action.mounts[position].kind {
        MountKind::Cache { id, mode, uid, gid, .. } => {
            Some((id.clone(), *mode, *uid, *gid, keyed.mount_contents[position]))
        }
        MountKind::Bind { .. }
        | MountKind::Tmpfs { .. }
        | MountKind::Secret { .. }
        | MountKind::Ssh { .. } => None,
    };
    for spec in cache_mounts::of_run(action, &keyed.mount_contents) {
        if let Some(options) = sources.cache_mounts.of(spec.id) {
            cache_mounts::fill(sources.contexts.snapshots().store(), &spec, options, sources.cancel)?;
        }
    }
    let mut order: Vec<usize> = (0..action.mounts.len()).collect();
    order.sort_by_key(|position| cache_id(*position));
    let mut prepared: BTreeMap<usize, PreparedMount> = BTreeMap::new();
    let mut claimed = BTreeSet::new();
    for position in order {
        let mut mount = action.mounts[position].clone();
        let id = cache_id(position);
        if let MountKind::Cache { sharing, .. } = &mut mount.kind
            && *sharing == Sharing::Locked
            && !claimed.insert(id)
        {
            *sharing = Sharing::Shared;
        }
        if let Some(one) = prepare_one(sources, keyed.mount_contents[position], &mount)? {
            prepared.insert(position, one);
        }
    }
    Ok(prepared.into_values().collect())
}

/// `seen` is the hash of what the mount showed when the build began. A secret or an agent that is not there, and
/// a secret that is a variable alone, need no mount.
fn prepare_one(
    sources: &MountSources<'_>,
    seen: Option<StepHash>,
    mount: &Mount,
) -> Result<Option<PreparedMount>, Error> {
    let (snapshots, root) = (sources.contexts.snapshots(), ImagePath::root());
    Ok(Some(match &mount.kind {
        MountKind::Tmpfs { size } => PreparedMount::tmpfs(&mount.target, *size),
        MountKind::Bind {
            from: from @ (Filesystem::Context | Filesystem::NamedContext(_)),
            source,
            access,
        } => {
            let draft = copied(sources, from, source, seen)?;
            PreparedMount::draft(draft, &root.join(MOUNTED), &mount.target, *access)?
        }
        MountKind::Bind { from, source, access } => {
            let layers = match from {
                Filesystem::Scratch => &[],
                other => sources.inputs.source(other)?,
            };
            PreparedMount::layers(snapshots, layers, source, &mount.target, *access)?
        }
        MountKind::Cache { id, from, source, sharing, access, mode, uid, gid } => {
            // of a seed, only what is at `source` is copied into the cache
            let (seed, subpath) = if *from == Filesystem::Scratch { (None, source) } else { (seen, &root) };
            let directory =
                CacheDirectory { id, mode: *mode, uid: *uid, gid: *gid, subpath, sharing: *sharing, seed };
            let place = (&mount.target, *access);
            let begin = |path: &Path| -> Result<(), Error> {
                let draft = copied(sources, from, source, seen)?;
                Ok(rbuild_executor::move_out(&draft, &root.join(MOUNTED), path)?)
            };
            PreparedMount::cache(snapshots.store(), &directory, place, sources.cancel, begin)?
        }
        MountKind::Secret { .. } | MountKind::Ssh { .. } => {
            return given(mount, sources.secrets, sources.agents);
        }
    }))
}

/// The mount of a secret or an agent that a person gives.
pub(crate) fn given(
    mount: &Mount,
    secrets: &Secrets,
    agents: &Agents,
) -> Result<Option<PreparedMount>, Error> {
    Ok(match &mount.kind {
        MountKind::Secret { id, file: true, mode, uid, gid, .. } => {
            let secret = secrets.get(id);
            let file = |secret: &SecretValue| {
                PreparedMount::secret(secret.expose(), &mount.target, *mode, (*uid, *gid))
            };
            secret.map(file).transpose()?
        }
        MountKind::Ssh { id, mode, uid, gid, .. } => {
            let agent = agents.socket(id)?;
            let socket = |agent: PathBuf| PreparedMount::agent(&agent, &mount.target, *mode, (*uid, *gid));
            agent.map(socket).transpose()?
        }
        MountKind::Secret { .. }
        | MountKind::Bind { .. }
        | MountKind::Cache { .. }
        | MountKind::Tmpfs { .. } => None,
    })
}

/// A temporary layer with what is at `source` in `from`, at [`MOUNTED`]. `seen` is the hash that the step's key has of it.
fn copied(
    sources: &MountSources<'_>,
    from: &Filesystem,
    source: &ImagePath,
    seen: Option<StepHash>,
) -> Result<LayerDraft, Error> {
    let action = mounted_tree(from, source);
    let selection = if matches!(from, Filesystem::Context | Filesystem::NamedContext(_)) {
        let selection = sources.contexts.select_from_context(&action)?;
        // the step's key stands for the files of that time
        if seen != Some(mounted_files(&action, &selection)) {
            let path = source.to_string();
            return Err(Error::Executor(ExecutorError::SourceChanged { path }));
        }
        selection
    } else {
        sources.contexts.select_from_layers(&action, sources.inputs.source(from)?)?
    };
    Ok(rbuild_executor::copy_shown(sources.contexts.snapshots(), &action, &selection)?)
}
