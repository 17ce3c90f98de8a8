//! Keys of steps: from what a step says and what its inputs are, before anything is carried out.
//!
//! Every key of a plan can be computed at once. Context files are walked; layers are never read: a COPY from a stage or
//! an image is keyed by that stage's or image's own key. When that misses, what it would copy is digested after all
//! ([`by_content`]), so that a stage that was built again with the same files wakes nobody.

use crate::{
    Error, mounts,
    session::{Keyed, Session},
};
use rbuild_cache::{CacheKey, KeyBuilder, LayerId, StepHash};
use rbuild_executor::{RunSurroundings, Selection, SelectionSummary, SourceRoot, StepDescription};
use rbuild_planner::{Action, CopyAction, Filesystem, RunAction, Step};
use std::sync::Arc;

/// Keys `step`, whose inputs have been keyed before.
pub(crate) fn key(session: &Session, step: &Step) -> Result<(), Error> {
    let parent = session.key_of(&step.parent).ok_or_else(|| out_of_order("its parent"))?;
    let mut mount_contents = Vec::new();
    let (description, selection) = match &step.action {
        Action::Workdir(action) => {
            (rbuild_executor::describe_workdir(action, session.plan.source_date_epoch), None)
        }
        Action::Copy(action) => describe_copy(session, action)?,
        Action::Run(action) => {
            mount_contents = contents_of_mounts(session, action)?;
            (describe_run(session, step, action, &mount_contents), None)
        }
    };
    let key = CacheKey::definition(Some(&parent), &description.step);
    session.set_keyed(step.id, Keyed { key, parent, description, selection, mount_contents });
    Ok(())
}

/// The key of a COPY by the content of `selection`, whatever made it.
pub(crate) fn by_content(keyed: &Keyed, action: &CopyAction, selection: &Selection) -> CacheKey {
    let description = rbuild_executor::describe_copy(action, &SelectionSummary::of(selection));
    CacheKey::definition(Some(&keyed.parent), &description.step)
}

/// The files `action` selects.
pub(crate) fn select(session: &Session, action: &CopyAction) -> Result<Arc<Selection>, Error> {
    let root = match &action.from {
        Filesystem::Context => session.context(None)?,
        Filesystem::NamedContext(name) => session.context(Some(name))?,
        Filesystem::Scratch => Arc::new(SourceRoot::empty(&session.engine.store)?),
        Filesystem::Image(_) | Filesystem::Step(_) => {
            let stack = session.stack(&action.from).ok_or_else(|| out_of_order("its source"))?;
            Arc::new(SourceRoot::open_layers(&session.engine.store, &stack)?)
        }
    };
    Ok(Arc::new(rbuild_executor::select(&root, action, &session.cancel)?))
}

/// The layers of the stages and images that `step` takes files from, beside its parent; `None` when there are none, or
/// they are not all built. A record counts only with the very layers it was made from: a stage that was built again may
/// hold something else under the same key.
pub(crate) fn source_layers(session: &Session, step: &Step) -> Option<String> {
    let from: Vec<&Filesystem> = match &step.action {
        Action::Copy(action) => vec![&action.from],
        Action::Run(action) => action.mounts.iter().filter_map(mounts::source).collect(),
        Action::Workdir(_) => Vec::new(),
    };
    let layers = from.into_iter().filter(|from| matches!(from, Filesystem::Image(_) | Filesystem::Step(_)));
    let stacks = layers.map(|from| session.stack(from)).collect::<Option<Vec<_>>>()?;
    let ids: Vec<String> = stacks.iter().flat_map(|stack| stack.iter().map(LayerId::to_string)).collect();
    (!stacks.is_empty()).then(|| ids.join(" "))
}

/// Whether `action` copies from layers, which are keyed and not read.
pub(crate) fn copies_layers(action: &CopyAction) -> bool {
    matches!(action.from, Filesystem::Image(_) | Filesystem::Step(_))
}

type Described = (StepDescription, Option<Arc<Selection>>);

fn describe_copy(session: &Session, action: &CopyAction) -> Result<Described, Error> {
    if !copies_layers(action) {
        let selection = select(session, action)?;
        let summary = SelectionSummary::of(&selection);
        return Ok((rbuild_executor::describe_copy(action, &summary), Some(selection)));
    }
    let source = session.key_of(&action.from).ok_or_else(|| out_of_order("its source"))?;
    let files = KeyBuilder::new("files of layers")
        .field("of", source.as_bytes())
        .list("sources", action.sources.iter().map(|source| format!("{source:?}")))
        .finish_step();
    let summary = SelectionSummary {
        digest: rbuild_oci::Digest::from_bytes(*files.as_bytes()),
        inputs: vec![("from".to_owned(), source.to_string())],
    };
    Ok((rbuild_executor::describe_copy(action, &summary), None))
}

/// Of each mount, in order.
fn contents_of_mounts(session: &Session, action: &RunAction) -> Result<Vec<Option<StepHash>>, Error> {
    action.mounts.iter().map(|mount| mounts::content(session, mount)).collect()
}

fn describe_run(
    session: &Session,
    step: &Step,
    action: &RunAction,
    mount_contents: &[Option<StepHash>],
) -> StepDescription {
    let hosts = session.request.add_hosts.iter().map(|(host, _)| host.as_str()).collect::<Vec<_>>();
    let surroundings = RunSurroundings {
        platform: &session.plan.stages[step.stage.0].platform,
        mount_contents,
        host_names: &hosts,
        shm_size: session.request.shm_size,
    };
    rbuild_executor::describe_run(action, &surroundings)
}

/// The plan's order guarantees inputs first; this says so if it ever does not.
pub(crate) fn out_of_order(what: &str) -> Error {
    Error::Worker(format!("a step came before {what}"))
}
