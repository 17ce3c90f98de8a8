//! What each step waits for.

use crate::graph::{StepGraph, StepId};
use crate::plan::{Action, Filesystem, MountKind, Step};

/// The graph of `steps`, each of which comes after its inputs.
pub(crate) fn graph_of(steps: &[Step]) -> StepGraph {
    let mut graph = StepGraph::default();
    for step in steps {
        graph.add(step.id, &inputs(step));
    }
    graph
}

/// The steps whose results `step` works on.
fn inputs(step: &Step) -> Vec<StepId> {
    let mut inputs = Vec::new();
    let mut add = |files: &Filesystem| match files {
        Filesystem::Step(id) => inputs.push(*id),
        Filesystem::Scratch | Filesystem::Image(_) | Filesystem::Context | Filesystem::NamedContext(_) => {}
    };
    add(&step.parent);
    match &step.action {
        Action::Run(run) => {
            for mount in &run.mounts {
                match &mount.kind {
                    MountKind::Bind { from, .. } | MountKind::Cache { from, .. } => add(from),
                    MountKind::Tmpfs { .. } | MountKind::Secret { .. } | MountKind::Ssh { .. } => {}
                }
            }
        }
        Action::Copy(copy) => add(&copy.from),
        Action::Workdir(_) => {}
    }
    inputs
}
