//! Keys of steps: from what a step says and what its inputs are, before anything is carried out.
//!
//! Every key of a plan can be computed at once. Context files are walked; layers are never read: a COPY from a stage or
//! an image is keyed by that stage's or image's own key. When that misses, what it would copy is digested after all
//! ([`by_content`]), so that a stage that was built again with the same files wakes nobody.

use crate::{
    Error,
    mounts::{self, Content},
    session::{Keyed, Session},
};
use rbuild_cache::{CacheKey, KeyBuilder};
use rbuild_executor::{RunSurroundings, Selection, SelectionSummary, SourceRoot, StepDescription};
use rbuild_planner::{Action, CopyAction, Filesystem, RunAction, Step};
use std::sync::Arc;

/// Keys `step`, whose inputs have been keyed before.
pub(crate) fn key(session: &Session, step: &Step) -> Result<(), Error> {
    let parent = session.key_of(&step.parent).ok_or_else(|| out_of_order("its parent"))?;
    let (description, selection) = match &step.action {
        Action::Workdir(action) => {
            (rbuild_executor::describe_workdir(action, session.plan.source_date_epoch), None)
        }
        Action::Copy(action) => describe_copy(session, action)?,
        Action::Run(action) => (describe_run(session, step, action)?, None),
    };
    let key = CacheKey::definition(Some(&parent), &description.step);
    session.set_keyed(step.id, Keyed { key, parent, description, selection });
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
    Ok(Arc::new(rbuild_executor::select(&root, action)?))
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

fn describe_run(session: &Session, step: &Step, action: &RunAction) -> Result<StepDescription, Error> {
    let mut contents = Vec::new();
    for mount in &action.mounts {
        match mounts::content(session, mount)? {
            Content::None => {}
            Content::Known(hash) => contents.push((mount.target.clone(), hash)),
        }
    }
    let hosts = session.request.add_hosts.iter().map(|(host, _)| host.as_str()).collect::<Vec<_>>();
    let surroundings = RunSurroundings {
        platform: &session.plan.stages[step.stage.0].platform,
        mount_contents: &contents,
        host_names: &hosts,
        shm_size: session.request.shm_size,
    };
    Ok(rbuild_executor::describe_run(action, &surroundings))
}

/// The plan's order guarantees inputs first; this says so if it ever does not.
pub(crate) fn out_of_order(what: &str) -> Error {
    Error::Worker(format!("a step came before {what}"))
}
