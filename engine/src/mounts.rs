//! `RUN --mount`: what the engine finds for the executor to mount.

use crate::{
    Error, keying,
    session::{Keyed, Session},
};
use rbuild_cache::{KeyBuilder, StepHash};
use rbuild_executor::{CacheDirectory, PreparedMount, SelectionSummary};
use rbuild_oci::ImagePath;
use rbuild_planner::{
    Action, CopyAction, CopySource, Filesystem, Mount, MountKind, RunAction, Sharing, Step,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
};

/// Where the files of a context lie in the layer that is made for mounting them.
const MOUNTED: &str = "/mounted";

/// Prepares the mounts of `action`; what they hold is released when they are dropped. Locked caches are claimed in the
/// order of their ids and once each, so that steps never wait for each other in a circle, or for themselves.
pub(crate) fn prepare(
    session: &Session,
    keyed: &Keyed,
    action: &RunAction,
) -> Result<Vec<PreparedMount>, Error> {
    let cache_id = |mount: &Mount| match &mount.kind {
        MountKind::Cache { id, mode, uid, gid, .. } => Some((id.clone(), *mode, *uid, *gid)),
        MountKind::Bind { .. }
        | MountKind::Tmpfs { .. }
        | MountKind::Secret { .. }
        | MountKind::Ssh { .. } => None,
    };
    let mut order: Vec<usize> = (0..action.mounts.len()).collect();
    order.sort_by_key(|position| cache_id(&action.mounts[*position]));
    let mut prepared: BTreeMap<usize, PreparedMount> = BTreeMap::new();
    let mut claimed = BTreeSet::new();
    for position in order {
        let mut mount = action.mounts[position].clone();
        let id = cache_id(&mount);
        if let MountKind::Cache { sharing, .. } = &mut mount.kind
            && *sharing == Sharing::Locked
            && !claimed.insert(id)
        {
            *sharing = Sharing::Shared;
        }
        prepared.insert(position, prepare_one(session, keyed.mount_contents[position], &mount)?);
    }
    Ok(prepared.into_values().collect())
}

/// The hash of what `mount` shows; `None` when that is nothing which counts.
pub(crate) fn content(session: &Session, mount: &Mount) -> Result<Option<StepHash>, Error> {
    let (MountKind::Bind { from, source, .. } | MountKind::Cache { from, source, .. }) = &mount.kind else {
        return Ok(None);
    };
    match from {
        Filesystem::Scratch => Ok(None),
        Filesystem::Context | Filesystem::NamedContext(_) => {
            let action = tree(from, source);
            let selection = keying::select(session, &action)?;
            Ok(Some(rbuild_executor::describe_copy(&action, &SelectionSummary::of(&selection)).step))
        }
        // a stage's or image's key stands for its files: reading them all would cost more than it could save
        Filesystem::Image(_) | Filesystem::Step(_) => {
            let key = session.key_of(from).ok_or_else(|| keying::out_of_order("the source of a mount"))?;
            let what =
                KeyBuilder::new("mounted").field("of", key.as_bytes()).field("source", source.as_str());
            Ok(Some(what.finish_step()))
        }
    }
}

/// Whose files `mount` shows, when it shows somebody's.
pub(crate) fn source(mount: &Mount) -> Option<&Filesystem> {
    match &mount.kind {
        MountKind::Bind { from, .. } | MountKind::Cache { from, .. } => Some(from),
        MountKind::Tmpfs { .. } | MountKind::Secret { .. } | MountKind::Ssh { .. } => None,
    }
}

/// `seen` is what [`content`] said of the mount when the build began.
fn prepare_one(session: &Session, seen: Option<StepHash>, mount: &Mount) -> Result<PreparedMount, Error> {
    let store = &session.engine.store;
    match &mount.kind {
        MountKind::Tmpfs { size } => Ok(PreparedMount::tmpfs(&mount.target, *size)),
        MountKind::Bind {
            from: from @ (Filesystem::Context | Filesystem::NamedContext(_)),
            source,
            access,
        } => {
            let action = tree(from, source);
            let selection = keying::select(session, &action)?;
            // the step's key says what it saw when the build began
            let now = rbuild_executor::describe_copy(&action, &SelectionSummary::of(&selection)).step;
            if seen != Some(now) {
                let path = source.to_string();
                return Err(Error::Executor(rbuild_executor::ExecutorError::SourceChanged { path }));
            }
            let draft = rbuild_executor::copy(store, &action, &selection, &[], SystemTime::UNIX_EPOCH)?;
            Ok(PreparedMount::draft(draft, &ImagePath::root().join(MOUNTED), &mount.target, *access)?)
        }
        MountKind::Bind { from, source, access } => {
            let layers = session.stack(from).unwrap_or_default();
            Ok(PreparedMount::layers(store, &layers, source, &mount.target, *access)?)
        }
        MountKind::Cache { id, from, source, sharing, access, mode, uid, gid } => {
            if *from != Filesystem::Scratch {
                return Err(Error::Unsupported {
                    what: format!("--mount=type=cache with a seed (from) for {}", mount.target),
                });
            }
            let directory =
                CacheDirectory { id, mode: *mode, uid: *uid, gid: *gid, subpath: source, sharing: *sharing };
            Ok(PreparedMount::cache(store, &directory, &mount.target, *access, &session.cancel)?)
        }
        MountKind::Secret { id, .. } => {
            Err(Error::Unsupported { what: format!("--mount=type=secret (id {id})") })
        }
        MountKind::Ssh { id, .. } => Err(Error::Unsupported { what: format!("--mount=type=ssh (id {id})") }),
    }
}

/// What would fail when its step runs is refused before anything does.
pub(crate) fn refuse_unsupported(session: &Session) -> Result<(), Error> {
    for step in &session.plan.steps {
        if let Some(what) = unsupported(step) {
            let error = rbuild_executor::ExecutorError::Unsupported { what: what.to_owned() };
            let name = format!("{} {}:", step.position, step.name);
            return Err(Error::step(error, &session.text, step.lines, (name, Vec::new())));
        }
    }
    Ok(())
}

fn unsupported(step: &Step) -> Option<&'static str> {
    let (mounts, sources) = match &step.action {
        Action::Run(action) => (action.mounts.as_slice(), [].as_slice()),
        Action::Copy(action) => ([].as_slice(), action.sources.as_slice()),
        Action::Workdir(_) => return None,
    };
    let of_mount = |mount: &Mount| match &mount.kind {
        MountKind::Secret { .. } => Some("--mount=type=secret"),
        MountKind::Ssh { .. } => Some("--mount=type=ssh"),
        MountKind::Cache { from, .. } if *from != Filesystem::Scratch => {
            Some("--mount=type=cache with from=")
        }
        MountKind::Cache { .. } | MountKind::Bind { .. } | MountKind::Tmpfs { .. } => None,
    };
    let of_source = |source: &CopySource| match source {
        CopySource::Http(_) => Some("ADD of a URL"),
        CopySource::Git(_) => Some("ADD of a Git repository"),
        CopySource::Path(_) | CopySource::Inline { .. } => None,
    };
    mounts.iter().find_map(of_mount).or_else(|| sources.iter().find_map(of_source))
}

/// A copy of the tree or file `source` to [`MOUNTED`].
fn tree(from: &Filesystem, source: &ImagePath) -> CopyAction {
    // a mount's source is a name: what would be a wildcard in a COPY is escaped
    let mut name = String::with_capacity(source.as_str().len());
    for c in source.as_str().chars() {
        if matches!(c, '*' | '?' | '[' | '\\') {
            name.push('\\');
        }
        name.push(c);
    }
    CopyAction {
        destination_is_directory: false,
        ..CopyAction::plain(from.clone(), vec![CopySource::Path(name)], ImagePath::root().join(MOUNTED))
    }
}
