//! Several plans of one Dockerfile as one plan: for several platforms, and for several targets. What is equal in them is in it
//! once, so that it is done once.

use crate::dependencies::graph_of;
use crate::graph::StepId;
use crate::plan::{
    Action, Filesystem, ImageIndex, MountKind, Plan, PlannedImage, PlannedLayer, PlannedStage, PlannedTarget,
    StageId, Step, TargetImage,
};
use rbuild_oci::Platform;
use rbuild_parser::{Lines, Lint};
use std::collections::HashMap;

impl Plan {
    /// This plan and `others`, which are of the same Dockerfile, as one plan with the targets of all in order. Steps that do
    /// the same to the same files become one step; commands do the same only if they run on the same platform.
    #[must_use]
    pub fn join(self, others: Vec<Self>) -> Self {
        if others.is_empty() {
            return self;
        }
        let mut joined = Joined::default();
        let (global_arguments, source_date_epoch) = (self.global_arguments.clone(), self.source_date_epoch);
        for plan in std::iter::once(self).chain(others) {
            joined.add(plan);
        }
        let Joined { steps, stages, images, targets, lints, fatal_rules, .. } = joined;
        let graph = graph_of(&steps);
        Self {
            steps,
            stages,
            images,
            targets,
            lints,
            global_arguments,
            source_date_epoch,
            fatal_rules,
            graph,
        }
    }
}

/// The joined plan so far.
#[derive(Default)]
struct Joined {
    steps: Vec<Step>,
    /// The platform of each step's stage.
    platforms: Vec<Platform>,
    /// Steps that may be equal: those of the same lines on the same files.
    alike: HashMap<(Filesystem, Lines), Vec<StepId>>,
    stages: Vec<PlannedStage>,
    images: Vec<PlannedImage>,
    targets: Vec<PlannedTarget>,
    lints: Vec<Lint>,
    fatal_rules: Vec<String>,
}

/// Where the parts of one plan are in the joined one.
#[derive(Default)]
struct Places {
    images: Vec<ImageIndex>,
    steps: Vec<StepId>,
    stages: Vec<StageId>,
}

impl Joined {
    fn add(&mut self, plan: Plan) {
        let mut places = Places::default();
        for image in plan.images {
            places.images.push(self.image(image));
        }
        let first_new = self.steps.len();
        for step in plan.steps {
            let platform = &plan.stages[step.stage.0].platform;
            let step = self.step(step, platform, &places);
            places.steps.push(step);
        }
        let first_stage = self.stages.len();
        for stage in plan.stages {
            let stage = self.stage(stage, &places);
            places.stages.push(stage);
        }
        for stage in &mut self.stages[first_stage..] {
            stage.parent = stage.parent.map(|parent| places.stages[parent.0]);
            stage.uses.iter_mut().for_each(|used| *used = places.stages[used.0]);
        }
        // a stage with a step that is new is new itself
        for step in &mut self.steps[first_new..] {
            step.stage = places.stages[step.stage.0];
        }
        self.targets.extend(plan.targets.into_iter().map(|target| places.target(target)));
        add_new(&mut self.lints, plan.lints);
        add_new(&mut self.fatal_rules, plan.fatal_rules);
    }

    fn image(&mut self, image: PlannedImage) -> ImageIndex {
        let same = |known: &PlannedImage| known.id == image.id && known.reference == image.reference;
        let known = self.images.iter().position(same);
        ImageIndex(known.unwrap_or_else(|| {
            self.images.push(image);
            self.images.len() - 1
        }))
    }

    fn step(&mut self, step: Step, platform: &Platform, places: &Places) -> StepId {
        let parent = places.files(&step.parent);
        let action = places.action(step.action);
        let alike = self.alike.entry((parent.clone(), step.lines)).or_default();
        let same = |known: &&StepId| {
            let known_step = &self.steps[known.0];
            let on_same = match action {
                Action::Run(_) => self.platforms[known.0] == *platform,
                Action::Copy(_) | Action::Workdir(_) => true,
            };
            on_same && known_step.action == action && known_step.cache == step.cache
        };
        if let Some(known) = alike.iter().find(same) {
            return *known;
        }
        let id = StepId(self.steps.len());
        alike.push(id);
        self.steps.push(Step { id, parent, action, ..step });
        self.platforms.push(platform.clone());
        id
    }

    /// The place of `stage`, whose parent and uses are left to the caller.
    fn stage(&mut self, stage: PlannedStage, places: &Places) -> StageId {
        let stage = PlannedStage {
            base: places.files(&stage.base),
            result: places.files(&stage.result),
            steps: stage.steps.iter().map(|step| places.steps[step.0]).collect(),
            ..stage
        };
        // a stage of the same steps has the same sources
        let same = |known: &PlannedStage| {
            let same_place = known.lines == stage.lines && known.steps == stage.steps;
            let (parent, uses) = (known.parent, known.uses.clone());
            same_place && *known == PlannedStage { parent, uses, ..stage.clone() }
        };
        let known = self.stages.iter().position(same);
        StageId(known.unwrap_or_else(|| {
            self.stages.push(stage);
            self.stages.len() - 1
        }))
    }
}

impl Places {
    fn files(&self, files: &Filesystem) -> Filesystem {
        match files {
            Filesystem::Image(image) => Filesystem::Image(self.images[image.0]),
            Filesystem::Step(step) => Filesystem::Step(self.steps[step.0]),
            Filesystem::Scratch | Filesystem::Context | Filesystem::NamedContext(_) => files.clone(),
        }
    }

    fn action(&self, mut action: Action) -> Action {
        match &mut action {
            Action::Copy(copy) => copy.from = self.files(&copy.from),
            Action::Run(run) => {
                for mount in &mut run.mounts {
                    match &mut mount.kind {
                        MountKind::Bind { from, .. } | MountKind::Cache { from, .. } => {
                            *from = self.files(from);
                        }
                        MountKind::Tmpfs { .. } | MountKind::Secret { .. } | MountKind::Ssh { .. } => {}
                    }
                }
            }
            Action::Workdir(_) => {}
        }
        action
    }

    fn target(&self, target: PlannedTarget) -> PlannedTarget {
        let layer = |layer: PlannedLayer| PlannedLayer { step: self.steps[layer.step.0], ..layer };
        let layers = target.image.layers.into_iter().map(layer).collect();
        PlannedTarget { stage: self.stages[target.stage.0], image: TargetImage { layers, ..target.image } }
    }
}

/// Adds those of `found` that are not in `all`.
fn add_new<T: PartialEq>(all: &mut Vec<T>, found: Vec<T>) {
    for one in found {
        if !all.contains(&one) {
            all.push(one);
        }
    }
}
