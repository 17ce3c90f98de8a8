//! The graph of stages: what each starts from and copies from, which of them the target needs, and which images are
//! still unknown.
//!
//! It grows while images are resolved, since an ONBUILD trigger of an image may name more of them. All walks are loops,
//! not recursion: ten thousand stages in a row are fine.

use crate::contexts::ContextNames;
use crate::lints::Checks;
use crate::options::{ImageRequest, NamedContext, PlanOptions, Purpose, ResolvedImage, Selection};
use crate::scope::Globals;
use crate::{PlanError, PlanErrorKind};
use rbuild_oci::{Platform, Reference};
use rbuild_parser::{Dockerfile, Instruction, Lines, Lint, Node};
use std::{collections::HashMap, sync::Arc};

/// Stages with their images still being looked for; see [`crate::select`].
#[derive(Clone, Debug)]
pub struct StageGraph {
    pub(crate) input: Input,
    /// The file's stages in order, then the implicit ones.
    pub(crate) nodes: Vec<StageNode>,
    pub(crate) by_name: HashMap<String, NodeId>,
    pub(crate) implicit: HashMap<String, NodeId>,
    pub(crate) slots: Vec<ImageSlot>,
    slot_index: HashMap<(Reference, Platform, Option<String>), SlotId>,
    pub(crate) target: NodeId,
    pub(crate) lints: Vec<Lint>,
}

/// Stages that need no more images; [`crate::lower`] makes a plan of it.
#[derive(Clone, Debug)]
pub struct ResolvedGraph {
    pub(crate) graph: StageGraph,
    pub(crate) reachable: Vec<bool>,
}

/// The arguments of `select`, evaluated once.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    pub(crate) dockerfile: Arc<Dockerfile>,
    pub(crate) options: PlanOptions,
    pub(crate) build_args: HashMap<String, String>,
    pub(crate) globals: Globals,
    pub(crate) checks: Checks,
    pub(crate) contexts: ContextNames,
    pub(crate) source_date_epoch: Option<i64>,
}

/// Index of a [`StageNode`].
pub(crate) type NodeId = usize;
/// Index of an [`ImageSlot`].
pub(crate) type SlotId = usize;

/// A stage of the file, or an implicit one made by `COPY --from=IMAGE`.
#[derive(Clone, Debug)]
pub(crate) struct StageNode {
    /// Index in the file's stages; `None` for an implicit one.
    pub(crate) file_stage: Option<usize>,
    /// Its name, `stage-N`, or what was written for an implicit one.
    pub(crate) display_name: String,
    /// The name that `[stage i/n]` shows, if any.
    pub(crate) shown_name: Option<String>,
    /// Its name, lower-cased.
    pub(crate) name: Option<String>,
    /// The operand of FROM, expanded.
    pub(crate) written: String,
    /// The lines of FROM, or of the instruction that needs it.
    pub(crate) lines: Lines,
    /// The global arguments FROM mentions.
    pub(crate) from_arguments: Vec<String>,
    /// The base of the stage.
    pub(crate) base: Base,
    /// Treatment of its instructions.
    pub(crate) body: Body,
    /// The platform that it is built for.
    pub(crate) platform: Platform,
    /// The stages its instructions use: instruction index, then one entry for each source or mount.
    pub(crate) links: Vec<(usize, Vec<Option<NodeId>>)>,
    /// Triggers that run before its instructions; `None` until the base is known.
    pub(crate) triggers: Option<Vec<Trigger>>,
}

/// The base of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    Scratch,
    Stage(NodeId),
    Image(SlotId, ImageOrigin),
    /// Key of a named context that is a directory.
    Directory(String),
}

/// Treatment of the instructions of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Instructions,
    /// A named context of the stage's own name stands in for it.
    Replaced,
}

/// An ONBUILD trigger, parsed, with the stages it uses.
#[derive(Clone, Debug)]
pub(crate) struct Trigger {
    pub(crate) node: Node<Instruction>,
    pub(crate) sources: Vec<Option<NodeId>>,
}

/// The reason for which an image is requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ImageOrigin {
    /// By its own name.
    Reference,
    /// Through a named context; exempt from the check of platforms.
    NamedContext,
}

/// An image and, once found, what it is.
#[derive(Clone, Debug)]
pub(crate) struct ImageSlot {
    pub(crate) request: ImageRequest,
    pub(crate) answer: Option<ResolvedImage>,
}

impl Input {
    /// `error` with the findings made before it.
    pub(crate) fn with_findings(&self, error: PlanError, lints: Vec<Lint>) -> PlanError {
        PlanError { lints: self.checks.after_the_parser_s(&self.dockerfile, lints), ..error }
    }
}

impl StageGraph {
    pub(crate) fn new(input: Input) -> Self {
        let stages = input.dockerfile.stages.len();
        Self {
            input,
            nodes: Vec::with_capacity(stages),
            by_name: HashMap::new(),
            implicit: HashMap::new(),
            slots: Vec::new(),
            slot_index: HashMap::new(),
            target: 0,
            lints: Vec::new(),
        }
    }

    /// The images that must be found next, each once, in the order in which the Dockerfile needs them.
    #[must_use]
    pub fn unresolved(&self) -> Vec<ImageRequest> {
        let reachable = self.reachable();
        let mut asked = vec![false; self.slots.len()];
        let mut requests = Vec::new();
        for (node, _) in self.nodes.iter().zip(&reachable).filter(|(_, reachable)| **reachable) {
            if let Base::Image(slot, _) = node.base
                && self.slots[slot].answer.is_none()
                && !std::mem::replace(&mut asked[slot], true)
            {
                requests.push(self.slots[slot].request.clone());
            }
        }
        requests
    }

    /// Takes what was found. Triggers of the images may make [`Self::unresolved`] name more.
    ///
    /// # Errors
    /// [`PlanError`] when a trigger does not parse or names a stage wrongly.
    pub fn resolve(mut self, answers: Vec<(ImageRequest, ResolvedImage)>) -> Result<StageGraph, PlanError> {
        for (request, image) in answers {
            let key = (request.reference, request.platform, request.layout);
            if let Some(slot) = self.slot_index.get(&key) {
                self.slots[*slot].answer = Some(image);
            }
        }
        match self.read_triggers() {
            Ok(()) => Ok(self),
            Err(error) => Err(self.input.with_findings(error, self.lints)),
        }
    }

    /// The findings made so far, for when the images it waits for cannot be had.
    #[must_use]
    pub fn findings(&self) -> Vec<Lint> {
        self.input.checks.after_the_parser_s(&self.input.dockerfile, self.lints.clone())
    }

    /// The graph as one that can be lowered.
    ///
    /// # Errors
    /// Gives itself back while images are missing.
    #[expect(clippy::result_large_err, reason = "the error is the graph itself, to go on with")]
    pub fn finish(self) -> Result<ResolvedGraph, StageGraph> {
        let reachable = self.reachable();
        let missing = self.nodes.iter().zip(&reachable).any(|(node, reachable)| {
            *reachable && matches!(node.base, Base::Image(slot, _) if self.slots[slot].answer.is_none())
        });
        if missing { Err(self) } else { Ok(ResolvedGraph { graph: self, reachable }) }
    }

    /// The stage, named context or well-known image that was probably meant by `written`, an image that cannot be found.
    #[must_use]
    pub fn image_suggestion(&self, written: &str) -> Option<String> {
        const WELL_KNOWN: [&str; 7] = ["alpine", "busybox", "centos", "debian", "golang", "ubuntu", "fedora"];
        let latest = WELL_KNOWN.map(|name| format!("{name}:latest"));
        let stages = self.nodes.iter().filter_map(|node| node.shown_name.as_deref());
        let invented: Vec<&str> = stages.chain(self.context_names().map(|(_, name)| name)).collect();
        let images = WELL_KNOWN.iter().zip(&latest).flat_map(|(name, latest)| [*name, latest.as_str()]);
        let near = rbuild_parser::alike(written, &invented);
        near.or_else(|| rbuild_parser::suggest(written, images)).map(str::to_owned)
    }

    /// The named contexts that nothing uses, though something nearly does: each with the name that it is looked up by.
    #[must_use]
    pub fn misspelt_contexts(&self) -> Vec<(String, String)> {
        let (mut used, mut others) = (Vec::new(), Vec::new());
        for node in &self.nodes {
            for name in node.name.iter().chain([&node.written]) {
                match self.input.contexts.find(name, &node.platform) {
                    Some(key) => used.push(key),
                    None => others.push(name.as_str()),
                }
            }
        }
        let unused = self.context_names().filter(|(key, _)| !used.contains(key));
        let near = |name| Some((name, rbuild_parser::alike(name, &others)?));
        unused.filter_map(|(_, name)| near(name)).map(|(a, b)| (a.to_owned(), b.to_owned())).collect()
    }

    /// The named contexts, each with its name, without a platform.
    fn context_names(&self) -> impl Iterator<Item = (&str, &str)> {
        let keys = self.input.options.named_contexts.keys();
        keys.map(|key| (key.as_str(), key.split_once("::").map_or(key.as_str(), |(name, _)| name)))
    }

    /// The nodes that are needed.
    pub(crate) fn reachable(&self) -> Vec<bool> {
        let mut reachable = vec![false; self.nodes.len()];
        let roots = match self.input.options.selection {
            Selection::Target => vec![self.target],
            Selection::Everything => (0..self.nodes.len()).collect(),
        };
        self.reach(roots, &mut reachable);
        reachable
    }

    /// Adds the nodes that `todo` needs to `reachable`, and returns the new ones, lower ones first.
    pub(crate) fn reach(&self, mut todo: Vec<NodeId>, reachable: &mut Vec<bool>) -> Vec<NodeId> {
        reachable.resize(self.nodes.len(), false);
        let mut fresh = Vec::new();
        while let Some(id) = todo.pop() {
            if std::mem::replace(&mut reachable[id], true) {
                continue;
            }
            fresh.push(id);
            let node = &self.nodes[id];
            if let Base::Stage(base) = node.base {
                todo.push(base);
            }
            if node.body == Body::Instructions {
                let links = node.links.iter().flat_map(|(_, sources)| sources);
                let triggers = node.triggers.iter().flatten().flat_map(|trigger| &trigger.sources);
                todo.extend(links.chain(triggers).filter_map(|source| *source));
            }
        }
        fresh.sort_unstable();
        fresh
    }

    /// The base that `written` names: scratch, a named context or an image.
    pub(crate) fn outside_base(
        &mut self,
        written: &str,
        platform: &Platform,
        lines: Lines,
        purpose: Purpose,
    ) -> Result<Base, PlanError> {
        if written == "scratch" {
            return Ok(Base::Scratch);
        }
        let reference: Reference = written
            .parse()
            .map_err(|reason| PlanErrorKind::StageName { name: written.to_owned(), reason }.at(lines))?;
        let request = ImageRequest {
            reference,
            written: written.to_owned(),
            platform: platform.clone(),
            lines: Some(lines),
            purpose,
            layout: None,
        };
        match self.input.contexts.find(written, platform) {
            Some(key) => {
                let key = key.to_owned();
                Ok(self.context_base(&key, request))
            }
            None => Ok(Base::Image(self.slot(request), ImageOrigin::Reference)),
        }
    }

    /// The base that the named context `key` gives to the stage that made `request`.
    pub(crate) fn context_base(&mut self, key: &str, mut request: ImageRequest) -> Base {
        match self.input.options.named_contexts.get(key) {
            None | Some(NamedContext::Scratch) => Base::Scratch,
            Some(NamedContext::Directory) => Base::Directory(key.to_owned()),
            Some(NamedContext::Image(reference)) => {
                request.reference = reference.clone();
                Base::Image(self.slot(request), ImageOrigin::NamedContext)
            }
            Some(NamedContext::OciLayout) => {
                request.layout = Some(key.to_owned());
                Base::Image(self.slot(request), ImageOrigin::NamedContext)
            }
        }
    }

    fn slot(&mut self, request: ImageRequest) -> SlotId {
        let key = (request.reference.clone(), request.platform.clone(), request.layout.clone());
        if let Some(slot) = self.slot_index.get(&key) {
            if request.purpose == Purpose::Base {
                self.slots[*slot].request.purpose = Purpose::Base;
            }
            return *slot;
        }
        self.slots.push(ImageSlot { request, answer: None });
        self.slot_index.insert(key, self.slots.len() - 1);
        self.slots.len() - 1
    }
}
