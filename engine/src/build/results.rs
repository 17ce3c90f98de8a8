//! Which steps are done, and with which layers. The scheduler alone writes here; a step gets the layers it works on as
//! a value ([`Inputs`]).

use crate::{Error, bases::resolve::BaseImages, lookup::source_files::layer_sources};
use rbuild_cache::{CacheRecord, LayerId};
use rbuild_oci::Timestamp;
use rbuild_planner::{Filesystem, Plan, PlannedTarget, Step, StepId};
use std::{collections::BTreeSet, sync::Arc};

/// A step that is done.
#[derive(Clone, Debug)]
pub(crate) struct StepResult {
    /// The whole stack, its own layer on top.
    pub(crate) stack: Arc<[LayerId]>,
    /// Its record, for the records kept of this build.
    pub(crate) record: Arc<CacheRecord>,
    pub(crate) origin: Origin,
}

/// Where a result came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Cache,
    Executed,
}

impl StepResult {
    /// The result `record` stands for, on the layers `parent`.
    pub(crate) fn new(record: impl Into<Arc<CacheRecord>>, parent: &[LayerId], origin: Origin) -> Self {
        let record = record.into();
        let stack = parent.iter().copied().chain([record.layer]).collect();
        Self { stack, record, origin }
    }

    /// Its own layer.
    pub(crate) fn layer(&self) -> LayerId {
        self.record.layer
    }

    /// The time at which the layer was made.
    pub(crate) fn created(&self) -> Timestamp {
        self.record.created
    }
}

/// The results of a plan's steps so far.
pub(crate) struct Results {
    plan: Arc<Plan>,
    /// The layers of the plan's images, by their index.
    images: Vec<Arc<[LayerId]>>,
    steps: Vec<Option<StepResult>>,
}

impl Results {
    /// No step of `plan` is done.
    pub(crate) fn new(plan: &Arc<Plan>, images: &BaseImages) -> Self {
        let layers = |image: &rbuild_planner::PlannedImage| {
            let record = images.get(&image.id);
            record.into_iter().flat_map(|record| &record.layers).map(|layer| layer.layer).collect()
        };
        Self {
            plan: plan.clone(),
            images: plan.images.iter().map(layers).collect(),
            steps: vec![None; plan.steps.len()],
        }
    }

    /// The result of `step`, if it is done.
    pub(crate) fn step(&self, step: StepId) -> Option<&StepResult> {
        self.steps[step.0].as_ref()
    }

    /// `step` is done.
    pub(crate) fn insert(&mut self, step: StepId, result: StepResult) {
        self.steps[step.0] = Some(result);
    }

    /// Forgets the results that have one of `layers` in their stack, since it turned out to be unusable.
    pub(crate) fn discard(&mut self, layers: &[LayerId]) {
        for result in &mut self.steps {
            if result.as_ref().is_some_and(|result| result.stack.iter().any(|layer| layers.contains(layer))) {
                *result = None;
            }
        }
    }

    /// The layers of `filesystem`, lowest first; `None` when the step that makes it is not done, or it is a context.
    pub(crate) fn stack(&self, filesystem: &Filesystem) -> Option<Arc<[LayerId]>> {
        match filesystem {
            Filesystem::Scratch => Some(Arc::new([])),
            Filesystem::Image(index) => Some(self.images[index.0].clone()),
            Filesystem::Step(step) => self.step(*step).map(|result| result.stack.clone()),
            Filesystem::Context | Filesystem::NamedContext(_) => None,
        }
    }

    /// The inputs of `step`; `None` until all of them are done.
    pub(crate) fn inputs(&self, step: &Step) -> Option<Inputs> {
        let stack = |from: &Filesystem| Some((from.clone(), self.stack(from)?));
        let sources = layer_sources(step).into_iter().map(stack).collect::<Option<_>>()?;
        Some(Inputs { parent: self.stack(&step.parent)?, sources })
    }

    /// The layers of the plan's images.
    pub(crate) fn image_layers(&self) -> BTreeSet<LayerId> {
        self.images.iter().flat_map(|stack| stack.iter().copied()).collect()
    }

    /// Every layer that the results and the plan's images stand for, once.
    pub(crate) fn layers(&self) -> BTreeSet<LayerId> {
        let own = self.steps.iter().flatten().map(StepResult::layer);
        self.images.iter().flat_map(|stack| stack.iter().copied()).chain(own).collect()
    }

    /// Steps without a result that the targets cannot do without.
    pub(crate) fn missing(&self) -> BTreeSet<StepId> {
        let mut missing = BTreeSet::new();
        let targets = self.plan.targets.iter();
        let mut open: Vec<Filesystem> =
            targets.map(|target| self.plan.stages[target.stage.0].result.clone()).collect();
        while let Some(filesystem) = open.pop() {
            if let Filesystem::Step(step) = filesystem
                && self.step(step).is_none()
                && missing.insert(step)
            {
                open.extend(self.plan.dependencies(step).map(Filesystem::Step));
            }
        }
        missing
    }

    /// The layers of the target; empty while it is not done.
    pub(crate) fn target(&self, target: &PlannedTarget) -> Arc<[LayerId]> {
        self.stack(&self.plan.stages[target.stage.0].result).unwrap_or_default()
    }

    /// The number of results with this origin.
    pub(crate) fn count(&self, origin: Origin) -> usize {
        self.steps.iter().flatten().filter(|result| result.origin == origin).count()
    }
}

/// The layers a step works on.
#[derive(Clone, Debug)]
pub(crate) struct Inputs {
    /// The stack it stands on, lowest first.
    pub(crate) parent: Arc<[LayerId]>,
    /// The stages and images it takes files from, in the order of its sources.
    pub(crate) sources: Vec<(Filesystem, Arc<[LayerId]>)>,
}

impl Inputs {
    /// The layers of `from`, which is one of the step's sources.
    ///
    /// # Errors
    /// When it is not.
    pub(crate) fn source(&self, from: &Filesystem) -> Result<&[LayerId], Error> {
        let found = self.sources.iter().find(|(source, _)| source == from);
        found
            .map(|(_, layers)| &**layers)
            .ok_or_else(|| Error::Worker("a step reads layers that are not among its inputs".to_owned()))
    }

    /// The layers of all sources, one after another. A record counts only with the very layers it was made from: a stage
    /// that was built again may hold something else under the same key.
    pub(crate) fn source_layers(&self) -> Vec<LayerId> {
        self.sources.iter().flat_map(|(_, layers)| layers.iter().copied()).collect()
    }
}
