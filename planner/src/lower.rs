//! The second pass: turns reachable stages into steps, configs and history, and each stage after those that it needs.

use crate::PlanError;
use crate::dependencies::graph_of;
use crate::env::Env;
use crate::graph::StepId;
use crate::lints::MOST_COMPARED;
use crate::plan::{
    Action, CachePolicy, CopyAction, CopySource, Filesystem, ImageIndex, Plan, PlannedImage, PlannedLayer,
    PlannedStage, PlannedTarget, StageId, Step, TargetImage,
};
use crate::stage_graph::{
    Base, Body, ImageOrigin, ImageSlot, NodeId, ResolvedGraph, SlotId, StageGraph, StageNode,
};
use crate::stage_lowering::{StageLowering, StageState};
use rbuild_oci::{ContainerConfig, HistoryEntry, ImageConfig, ImagePath, Platform};
use rbuild_parser::{Lint, Rule};
use std::collections::BTreeMap;

/// Makes the plan of the target.
///
/// # Errors
/// [`PlanError`] with Docker's message and the instruction's lines.
pub fn lower(graph: ResolvedGraph) -> Result<Plan, PlanError> {
    lower_beside(graph, &|_| false)
}

/// Makes the plan of the target for a build whose ignore file excludes the cleaned paths for which `ignored` returns
/// true. Only the findings of the build checks depend on it.
///
/// # Errors
/// As [`lower`].
pub fn lower_beside(graph: ResolvedGraph, ignored: &dyn Fn(&str) -> bool) -> Result<Plan, PlanError> {
    let ResolvedGraph { graph, reachable } = graph;
    let needed = |implicit: bool| {
        let nodes = graph.nodes.iter().zip(&reachable).enumerate();
        nodes
            .filter(move |(_, (node, reachable))| **reachable && node.file_stage.is_none() == implicit)
            .map(|(id, _)| id)
    };
    let ids: Vec<NodeId> = needed(false).chain(needed(true)).collect();
    let mut lowering = Lowering::new(&graph, ignored, &ids);
    // a stage without instructions is ready before any that has some
    for body in [Body::Replaced, Body::Instructions] {
        for id in ids.iter().filter(|id| graph.nodes[**id].body == body) {
            if let Err(error) = lowering.stage(*id) {
                return Err(graph.input.with_findings(error, lowering.lints));
            }
        }
    }
    Ok(lowering.finish(&ids))
}

/// The plan so far.
pub(crate) struct Lowering<'a> {
    pub(crate) graph: &'a StageGraph,
    pub(crate) steps: Vec<Step>,
    pub(crate) lints: Vec<Lint>,
    /// The paths that the ignore file excludes.
    pub(crate) ignored: &'a dyn Fn(&str) -> bool,
    /// The steps that make layers of named contexts.
    unpacked: BTreeMap<String, StepId>,
    /// The files each finished stage ends with.
    pub(crate) results: Vec<Option<Filesystem>>,
    images: Vec<PlannedImage>,
    image_index: Vec<Option<ImageIndex>>,
    stage_ids: Vec<Option<StageId>>,
    planned: Vec<Option<PlannedStage>>,
    /// The new history entries of each finished stage.
    histories: Vec<Vec<HistoryEntry>>,
    /// The end states of the target and of stages that others are still to be built on.
    states: Vec<Option<StageState>>,
    /// Number of reachable stages that are still to be built on each stage.
    children: Vec<usize>,
    /// Number of names that were compared so far to suggest one.
    compared: usize,
}

impl<'a> Lowering<'a> {
    fn new(graph: &'a StageGraph, ignored: &'a dyn Fn(&str) -> bool, ids: &[NodeId]) -> Self {
        let nodes = graph.nodes.len();
        let mut stage_ids = vec![None; nodes];
        let mut children = vec![0; nodes];
        for (stage, id) in ids.iter().enumerate() {
            stage_ids[*id] = Some(StageId(stage));
            if let Base::Stage(base) = graph.nodes[*id].base {
                children[base] += 1;
            }
        }
        Self {
            graph,
            steps: Vec::new(),
            lints: graph.lints.clone(),
            ignored,
            unpacked: BTreeMap::new(),
            results: vec![None; nodes],
            images: Vec::new(),
            image_index: vec![None; graph.slots.len()],
            stage_ids,
            planned: vec![None; nodes],
            histories: vec![Vec::new(); nodes],
            states: vec![None; nodes],
            children,
            compared: 0,
        }
    }

    /// The variable that was probably meant by `name`.
    pub(crate) fn suggest<'e>(&mut self, name: &str, env: &'e Env) -> Option<&'e str> {
        if self.compared > MOST_COMPARED {
            return None;
        }
        let names = env.entries();
        self.compared += names.len();
        rbuild_parser::suggest(name, names.into_iter().map(|(name, _)| name))
    }

    fn stage(&mut self, id: NodeId) -> Result<(), PlanError> {
        let node = &self.graph.nodes[id];
        let (mut state, base) = self.start(node);
        let stage_id = self.stage_ids[id].expect("only reachable stages are lowered, and each has an id");
        let first_step = self.steps.len();
        if let Filesystem::NamedContext(key) = &base
            && (node.body == Body::Instructions || self.children[id] > 0 || id == self.graph.target)
        {
            state.files = self.unpacked(key, node, stage_id);
        }
        let mut from_name = None;
        let (mut history, mut arguments) = (Vec::new(), Vec::new());
        if node.body == Body::Instructions {
            let mut stage = StageLowering::new(self, id, stage_id, state);
            from_name = stage.name_base(&base);
            stage.run_all()?;
            (state, history, arguments) = stage.finish();
        }
        let result = state.files.clone();
        self.results[id] = Some(result.clone());
        self.planned[id] = Some(PlannedStage {
            display_name: node.display_name.clone(),
            name: node.name.clone(),
            platform: node.platform.clone(),
            parent: self.parent(node),
            uses: self.uses(node),
            arguments,
            from_arguments: node.from_arguments.clone(),
            base,
            steps: (first_step..self.steps.len()).map(StepId).collect(),
            result,
            from_name,
            lines: node.lines,
        });
        self.histories[id] = history;
        if self.children[id] > 0 || id == self.graph.target {
            self.states[id] = Some(state);
        }
        Ok(())
    }

    /// The state a stage begins with, and the files it begins with.
    fn start(&mut self, node: &StageNode) -> (StageState, Filesystem) {
        let (mut config, files) = match &node.base {
            Base::Stage(base) => {
                self.children[*base] -= 1;
                let state = if self.children[*base] == 0 {
                    self.states[*base].take()
                } else {
                    self.states[*base].clone()
                };
                let state = state.expect("a base is an earlier stage, and reachable with its children");
                let files = state.files.clone();
                return (state.child(), files);
            }
            Base::Scratch => (ImageConfig::scratch(&node.platform), Filesystem::Scratch),
            Base::Directory(key) => {
                (ImageConfig::scratch(&node.platform), Filesystem::NamedContext(key.clone()))
            }
            Base::Image(slot, origin) => (self.image_config(node, *slot, *origin), self.image_files(*slot)),
        };
        if node.body == Body::Replaced {
            config.config.on_build.clear();
            if matches!(node.base, Base::Directory(_)) {
                config.config = ContainerConfig::default();
            }
        }
        (StageState::new(config, files.clone()), files)
    }

    /// A step that copies the files of the named context `key` into a layer, for stages that are built on them. No
    /// history has an entry for it, because no instruction makes it.
    fn unpacked(&mut self, key: &str, node: &StageNode, stage: StageId) -> Filesystem {
        if let Some(step) = self.unpacked.get(key) {
            return Filesystem::Step(*step);
        }
        let id = StepId(self.steps.len());
        self.unpacked.insert(key.to_owned(), id);
        self.steps.push(Step {
            id,
            stage,
            parent: Filesystem::Scratch,
            action: Action::Copy(whole_tree(Filesystem::NamedContext(key.to_owned()))),
            name: "load from client".to_owned(),
            position: format!("[context {key}]"),
            lines: node.lines,
            cache: CachePolicy::Use,
        });
        Filesystem::Step(id)
    }

    fn parent(&self, node: &StageNode) -> Option<StageId> {
        match node.base {
            Base::Stage(base) => self.stage_ids[base],
            Base::Scratch | Base::Image(..) | Base::Directory(_) => None,
        }
    }

    /// The stages the instructions of `node` and its triggers name.
    fn uses(&self, node: &StageNode) -> Vec<StageId> {
        let triggers = node.triggers.iter().flatten().map(|trigger| &trigger.sources);
        let named = triggers.chain(node.links.iter().map(|(_, sources)| sources)).flatten().flatten();
        let mut uses = Vec::new();
        for stage in named.filter_map(|id| self.stage_ids[*id]) {
            if !uses.contains(&stage) {
                uses.push(stage);
            }
        }
        uses
    }

    /// The config of an image that was found, checked against the platform asked for.
    fn image_config(&mut self, node: &StageNode, slot: SlotId, origin: ImageOrigin) -> ImageConfig {
        let ImageSlot { request, answer } = &self.graph.slots[slot];
        let image = answer.as_ref().expect("a resolved graph has an answer for every reachable image");
        let found = image.config.platform();
        let wanted = &request.platform;
        if origin == ImageOrigin::Reference
            && (found.os != wanted.os || found.architecture != wanted.architecture)
        {
            let message = format!(
                "Base image {} was pulled with platform \"{found}\", expected \"{wanted}\" for current build",
                node.written
            );
            self.report(Rule::InvalidBaseImagePlatform, message, (node.lines, Some(node.lines)));
        }
        image.config.clone()
    }

    fn image_files(&mut self, slot: SlotId) -> Filesystem {
        let ImageSlot { request, answer } = &self.graph.slots[slot];
        let image = answer.as_ref().expect("a resolved graph has an answer for every reachable image");
        let index = *self.image_index[slot].get_or_insert_with(|| {
            self.images.push(PlannedImage {
                reference: request.reference.clone(),
                id: image.id,
                layers: image.layers,
                platform: request.platform.clone(),
            });
            ImageIndex(self.images.len() - 1)
        });
        if image.layers == 0 { Filesystem::Scratch } else { Filesystem::Image(index) }
    }

    fn finish(mut self, ids: &[NodeId]) -> Plan {
        let input = &self.graph.input;
        let target = self.graph.target;
        let state = self.states[target].take().expect("the target is reachable, and its state is kept");
        let mut config = state.finished_config();
        for (name, value) in &input.options.labels {
            config.config.labels.insert(name.clone(), value.clone());
        }
        if let Some(requested) = &input.options.platform {
            set_platform(&mut config, requested);
        }
        normalise_platform(&mut config);
        let image = TargetImage { config, history: self.target_history(), layers: self.target_layers() };
        let lints = input.checks.after_the_parser_s(&input.dockerfile, self.lints);
        let stages = ids.iter().map(|id| self.planned[*id].take().expect("every reachable stage is planned"));
        Plan {
            stages: stages.collect(),
            targets: vec![PlannedTarget {
                stage: self.stage_ids[target].expect("the target is reachable"),
                image,
            }],
            graph: graph_of(&self.steps),
            steps: self.steps,
            images: self.images,
            fatal_rules: input.checks.fatal_rules(&lints),
            lints,
            global_arguments: input.globals.arguments.clone(),
            source_date_epoch: input.source_date_epoch,
        }
    }

    /// The target's new entries, those of the stages below it first.
    fn target_history(&mut self) -> Vec<HistoryEntry> {
        let mut chain = vec![self.graph.target];
        let mut node = &self.graph.nodes[self.graph.target];
        while let (Base::Stage(base), Body::Instructions) = (&node.base, node.body) {
            chain.push(*base);
            node = &self.graph.nodes[*base];
        }
        chain.into_iter().rev().flat_map(|id| std::mem::take(&mut self.histories[id])).collect()
    }

    /// The steps that make the target's layers, lowest first.
    fn target_layers(&self) -> Vec<PlannedLayer> {
        let mut layers = Vec::new();
        let mut top = self.results[self.graph.target].as_ref();
        while let Some(Filesystem::Step(id)) = top {
            let step = &self.steps[id.0];
            let description = match &step.action {
                Action::Run(run) => format!("mount / from exec {}", run.argv.join(" ")),
                Action::Copy(_) | Action::Workdir(_) => format!("{} {}", step.position, step.name),
            };
            layers.push(PlannedLayer { step: *id, description });
            top = Some(&step.parent);
        }
        layers.reverse();
        for (key, unpacked) in &self.unpacked {
            if let Some(first) = layers.first_mut().filter(|layer| layer.step == *unpacked) {
                first.description = format!("local source for {key}");
            }
        }
        layers
    }
}

/// A copy of everything in `from`.
fn whole_tree(from: Filesystem) -> CopyAction {
    CopyAction::plain(from, vec![CopySource::Path("/".to_owned())], ImagePath::root())
}

/// Sets the platform of the result to the requested one. Parts that the request leaves open stay those of the base.
fn set_platform(config: &mut ImageConfig, requested: &Platform) {
    let same = config.os == requested.os && config.architecture == requested.architecture;
    config.os.clone_from(&requested.os);
    config.architecture.clone_from(&requested.architecture);
    if requested.variant.is_some() || !same {
        config.variant = requested.variant.clone().unwrap_or_default();
    }
    if requested.os_version.is_some() || !same {
        config.os_version = requested.os_version.clone().unwrap_or_default();
    }
    if !same {
        config.os_features.clear();
    }
}

fn normalise_platform(config: &mut ImageConfig) {
    let Platform { architecture, os, os_version: _, os_features: _, variant } = config.platform();
    config.architecture = architecture;
    config.os = os;
    config.variant = variant.unwrap_or_default();
}
