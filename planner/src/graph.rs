//! The graph of steps: who waits for whom. The only place that knows petgraph.

use crate::plan::{Plan, StepId};
use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use std::collections::HashSet;

/// Steps as vertices, an edge from each input to the step that needs it. Acyclic, since a step is only ever added
/// after its inputs.
#[derive(Clone, Debug, Default)]
pub(crate) struct StepGraph(DiGraph<StepId, ()>);

impl StepGraph {
    /// Adds `step`, which must be the next in order, and what it needs.
    pub(crate) fn add(&mut self, step: StepId, inputs: &[StepId]) {
        let vertex = self.0.add_node(step);
        let mut seen = HashSet::with_capacity(inputs.len());
        for input in inputs.iter().filter(|input| seen.insert(**input)) {
            self.0.add_edge(NodeIndex::new(input.0), vertex, ());
        }
    }

    fn neighbours(&self, step: StepId, direction: Direction) -> impl Iterator<Item = StepId> {
        let graph = &self.0;
        graph.neighbors_directed(NodeIndex::new(step.0), direction).map(|vertex| graph[vertex])
    }
}

impl Plan {
    /// The steps whose results `step` needs.
    pub fn dependencies(&self, step: StepId) -> impl Iterator<Item = StepId> {
        self.graph.neighbours(step, Direction::Incoming)
    }

    /// The steps that need the result of `step`.
    pub fn dependents(&self, step: StepId) -> impl Iterator<Item = StepId> {
        self.graph.neighbours(step, Direction::Outgoing)
    }
}
