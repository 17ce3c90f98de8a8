//! The graph of steps: which step waits for which. Only this file uses petgraph.

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use std::collections::HashSet;

/// Index of a step in [`crate::Plan::steps`]; a step's inputs have smaller indexes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StepId(pub usize);

/// Steps as vertices, an edge from each input to the step that needs it. It has no cycle, because a step is
/// always added after its inputs.
#[derive(Clone, Debug, Default)]
pub(crate) struct StepGraph(DiGraph<StepId, ()>);

impl StepGraph {
    /// Adds `step`, which must be the next in order, with the steps that it needs.
    pub(crate) fn add(&mut self, step: StepId, inputs: &[StepId]) {
        let vertex = self.0.add_node(step);
        let mut seen = HashSet::with_capacity(inputs.len());
        for input in inputs.iter().filter(|input| seen.insert(**input)) {
            self.0.add_edge(NodeIndex::new(input.0), vertex, ());
        }
    }

    /// The steps whose results `step` needs.
    pub(crate) fn inputs(&self, step: StepId) -> impl Iterator<Item = StepId> {
        self.neighbours(step, Direction::Incoming)
    }

    /// The steps that need the result of `step`.
    pub(crate) fn users(&self, step: StepId) -> impl Iterator<Item = StepId> {
        self.neighbours(step, Direction::Outgoing)
    }

    fn neighbours(&self, step: StepId, direction: Direction) -> impl Iterator<Item = StepId> {
        let graph = &self.0;
        graph.neighbors_directed(NodeIndex::new(step.0), direction).map(|vertex| graph[vertex])
    }
}
