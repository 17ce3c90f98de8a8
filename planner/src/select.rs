//! The first pass: FROM lines are expanded, stages are named and linked, and mistakes that do not need an image are
//! found, in stages that are never built as well (Docker reports those too).

use crate::contexts::ContextNames;
use crate::epoch;
use crate::lints::{self, CHECK_ARGUMENT, Checks, MOST_COMPARED};
use crate::options::{ImageRequest, PlanOptions, Purpose};
use crate::scope::{ExpandedWord, evaluate_globals, expand_word, unset_in};
use crate::stage_graph::{Base, Body, Input, NodeId, StageGraph, StageNode};
use crate::{PlanError, PlanErrorKind};
use rbuild_oci::{Platform, Reference};
use rbuild_parser::{Dockerfile, Instruction, Lines, Rule, Word};
use std::{collections::HashMap, sync::Arc};

/// Evaluates the global ARGs and the FROM lines, finds the stages the target needs and the images they start from. The
/// graph keeps the file.
///
/// # Errors
/// [`PlanError`] with Docker's message.
pub fn select(
    dockerfile: impl Into<Arc<Dockerfile>>,
    options: &PlanOptions,
) -> Result<StageGraph, PlanError> {
    let file = dockerfile.into();
    let dockerfile = &*file;
    let mut build_args: HashMap<String, String> = options.build_args.iter().cloned().collect();
    let checks = Checks::new(dockerfile, build_args.get(CHECK_ARGUMENT).map(String::as_str))?;
    let with_findings =
        |error| PlanError { lints: checks.after_the_parser_s(dockerfile, Vec::new()), ..error };
    let mut globals = evaluate_globals(dockerfile, options, &build_args).map_err(with_findings)?;
    let contexts = ContextNames::new(&options.named_contexts).map_err(with_findings)?;
    let is_context =
        |name: &str| name == epoch::MAIN || contexts.find(name, options.target_platform()).is_some();
    let epoch = epoch::settle(dockerfile, (&mut build_args, &mut globals), options, &is_context)
        .map_err(with_findings)?;
    let mut graph = StageGraph::new(Input {
        dockerfile: Arc::clone(&file),
        options: options.clone(),
        build_args,
        globals,
        checks,
        contexts,
        source_date_epoch: epoch,
    });
    match graph.find_stages() {
        Ok(()) => Ok(graph),
        Err(error) => Err(graph.input.with_findings(error, graph.lints)),
    }
}

impl StageGraph {
    fn find_stages(&mut self) -> Result<(), PlanError> {
        self.check_default_bases();
        for index in 0..self.input.dockerfile.stages.len() {
            self.add_stage(index)?;
        }
        self.target = self.find_target()?;
        self.link_stages()?;
        self.check_cycles()?;
        self.hide_lone_name();
        self.find_bases()?;
        self.read_triggers()
    }

    /// Adds stage `index` of the file. Its base is looked for among the stages before it; anything else waits for
    /// [`Self::find_bases`], since Docker reports bad links first.
    fn add_stage(&mut self, index: usize) -> Result<(), PlanError> {
        let node = &self.input.dockerfile.stages[index].from;
        let (lines, from) = (node.lines, node.value.clone());
        let written = self.expand_from(&from.image, lines)?;
        if written.text.is_empty() {
            return Err(PlanErrorKind::BlankBase(from.image.value).at(lines));
        }
        let name = from.name.map(|name| name.value);
        let mut from_arguments = written.used;
        let platform = match from.platform.as_ref().filter(|word| !word.value.is_empty()) {
            Some(word) => {
                let (platform, used) = self.stage_platform(word, name.as_deref().unwrap_or(""), lines)?;
                from_arguments.extend(used);
                platform
            }
            None => self.input.options.target_platform().clone(),
        };
        let mut stage = StageNode {
            file_stage: Some(index),
            display_name: name.clone().unwrap_or_else(|| format!("stage-{index}")),
            shown_name: None,
            name,
            written: written.text,
            lines,
            from_arguments,
            base: Base::Scratch,
            body: Body::Instructions,
            platform,
            links: Vec::new(),
            triggers: None,
        };
        stage.shown_name = Some(stage.display_name.clone());
        if !self.replace_by_context(&mut stage)
            && let Some(base) = self.by_name.get(&stage.written)
        {
            stage.base = Base::Stage(*base);
        }
        if let Some(name) = &stage.name {
            self.by_name.insert(name.clone(), self.nodes.len());
        }
        self.nodes.push(stage);
        Ok(())
    }

    /// Lets a named context of the stage's own name take its place.
    fn replace_by_context(&mut self, stage: &mut StageNode) -> bool {
        let Some(name) = &stage.name else { return false };
        let Some(key) = self.input.contexts.find(name, &stage.platform) else { return false };
        let Ok(reference) = name.parse::<Reference>() else { return false };
        let key = key.to_owned();
        let request = ImageRequest {
            reference,
            written: name.clone(),
            platform: stage.platform.clone(),
            lines: Some(stage.lines),
            purpose: Purpose::Base,
            layout: None,
        };
        stage.base = self.context_base(&key, request);
        stage.body = Body::Replaced;
        true
    }

    fn expand_from(&mut self, word: &Word, lines: Lines) -> Result<ExpandedWord, PlanError> {
        let escape = self.input.dockerfile.directives.escape;
        let expanded = expand_word(&word.value, escape, &self.input.globals.env);
        self.report_undeclared(unset_in(&expanded), lines);
        expanded.map_err(|e| PlanErrorKind::Word(e).at(lines))
    }

    /// The platform, and the arguments it is made of.
    fn stage_platform(
        &mut self,
        word: &Word,
        stage: &str,
        lines: Lines,
    ) -> Result<(Platform, Vec<String>), PlanError> {
        let escape = self.input.dockerfile.directives.escape;
        let expanded = expand_word(&word.value, escape, &self.input.globals.env);
        self.report_undeclared(unset_in(&expanded), lines);
        let expanded = expanded.map_err(|e| PlanErrorKind::PlatformWord(e).at(lines))?;
        self.report_platform(word, &expanded, stage, lines);
        let kind = if expanded.text.is_empty() {
            PlanErrorKind::EmptyPlatform(word.value.clone())
        } else {
            match expanded.text.parse() {
                Ok(platform) => return Ok((platform, expanded.used)),
                Err(reason) => PlanErrorKind::Platform { expression: word.value.clone(), reason },
            }
        };
        let mut error = kind.at(lines);
        for name in &expanded.unset {
            if error.suggestion.is_none() {
                error = error.suggesting(name, self.input.globals.env.names());
            }
        }
        Err(error)
    }

    /// `error` about the base of the stage `id`, and the argument that was probably meant by one that FROM mentions and nothing declares.
    fn naming_argument(&self, error: PlanError, id: NodeId) -> PlanError {
        let Some(index) = self.nodes[id].file_stage else { return error };
        let Input { dockerfile, globals, .. } = &self.input;
        let image = &dockerfile.stages[index].from.value.image.value;
        let expanded = expand_word(image, dockerfile.directives.escape, &globals.env);
        let is_declared = |name: &String| globals.arguments.iter().any(|argument| argument.name == *name);
        let declared = globals.arguments.iter().map(|argument| argument.name.as_str());
        match unset_in(&expanded).iter().find(|name| !is_declared(name)) {
            Some(name) => error.suggesting(name, declared.chain(globals.env.names())),
            None => error,
        }
    }

    fn report_undeclared(&mut self, unset: &[String], lines: Lines) {
        let globals = &self.input.globals;
        let known =
            || globals.arguments.iter().map(|argument| argument.name.as_str()).chain(globals.env.names());
        let mut findings = Vec::new();
        for name in unset {
            // what has a value was found
            if globals.arguments.iter().any(|argument| argument.name == *name) {
                continue;
            }
            let compared = self.lints.len() * globals.arguments.len();
            let meant = (compared <= MOST_COMPARED).then(|| rbuild_parser::suggest(name, known())).flatten();
            let hint = lints::hint(meant, "");
            let message = format!("FROM argument '{name}' is not declared{hint}");
            findings.push(message);
        }
        for message in findings {
            self.report(Rule::UndefinedArgInFrom, message, lines);
        }
    }

    fn report_platform(&mut self, word: &Word, expanded: &ExpandedWord, stage: &str, lines: Lines) {
        let [used, unset] = [&expanded.used, &expanded.unset].map(Vec::as_slice);
        if used == ["TARGETPLATFORM"] && unset.is_empty() {
            if self.input.globals.env.get("TARGETPLATFORM") == Some(&expanded.text) {
                let message = format!(
                    "Setting platform to predefined {} in FROM is redundant as this is the default behavior",
                    word.value
                );
                self.report(Rule::RedundantTargetPlatform, message, lines);
            }
        } else if used.is_empty()
            && unset.is_empty()
            && let Ok(Platform { os, architecture, .. }) = expanded.text.parse()
            && !stage.contains(os.as_str())
            && !stage.contains(architecture.as_str())
        {
            let text = &expanded.text;
            let message = format!("FROM --platform flag should not use constant value {text:?}");
            self.report(Rule::FromPlatformFlagConstDisallowed, message, lines);
        }
    }

    /// InvalidDefaultArgInFrom: the base must be a name even when no build argument is given.
    fn check_default_bases(&mut self) {
        let Some(defaults) = &self.input.globals.defaults else { return };
        let escape = self.input.dockerfile.directives.escape;
        let mut findings = Vec::new();
        for stage in &self.input.dockerfile.stages {
            let word = &stage.from.value.image.value;
            let Ok(base) = expand_word(word, escape, defaults) else { break };
            if base.text.parse::<Reference>().is_err() {
                let message =
                    format!("Default value for ARG {word} results in empty or invalid base image name");
                findings.push((message, stage.from.lines));
            }
        }
        for (message, lines) in findings {
            self.report(Rule::InvalidDefaultArgInFrom, message, lines);
        }
    }

    fn find_target(&self) -> Result<NodeId, PlanError> {
        let Some(target) = self.input.options.target() else { return Ok(self.nodes.len() - 1) };
        self.by_name.get(&target.to_lowercase()).copied().ok_or_else(|| {
            let names = self.nodes.iter().map(|node| node.display_name.as_str());
            PlanErrorKind::UnknownTarget(target.to_owned()).nowhere().suggesting(target, names)
        })
    }

    /// Looks for cycles among copies and mounts; a FROM cannot close one, since it only names earlier stages.
    fn check_cycles(&self) -> Result<(), PlanError> {
        #[derive(Clone, Copy, PartialEq)]
        enum Mark {
            New,
            OnPath,
            Done,
        }
        let sources = |id: NodeId| -> Vec<(usize, NodeId)> {
            let links = self.nodes[id].links.iter();
            links.flat_map(|(i, sources)| sources.iter().flatten().map(|source| (*i, *source))).collect()
        };
        let mut marks = vec![Mark::New; self.nodes.len()];
        for start in 0..self.nodes.len() {
            if marks[start] != Mark::New {
                continue;
            }
            marks[start] = Mark::OnPath;
            let mut path = vec![(start, sources(start).into_iter())];
            while let Some((id, rest)) = path.last_mut() {
                let id = *id;
                match rest.next() {
                    None => {
                        marks[id] = Mark::Done;
                        path.pop();
                    }
                    Some((instruction, source)) => match marks[source] {
                        Mark::Done => {}
                        Mark::OnPath => {
                            let name = self.nodes[start].display_name.clone();
                            return Err(
                                PlanErrorKind::Circular(name).at(self.instruction_lines(id, instruction))
                            );
                        }
                        Mark::New => {
                            marks[source] = Mark::OnPath;
                            path.push((source, sources(source).into_iter()));
                        }
                    },
                }
            }
        }
        Ok(())
    }

    fn instruction_lines(&self, id: NodeId, instruction: usize) -> Lines {
        let node = &self.nodes[id];
        let stage = node.file_stage.map(|index| &self.input.dockerfile.stages[index]);
        stage.map_or(node.lines, |stage| stage.instructions[instruction].lines)
    }

    /// A build of one stage that uses nothing else shows no stage name. Each mount without a source counts as another
    /// stage, as it does for Docker.
    fn hide_lone_name(&mut self) {
        let [only] = self.nodes.as_mut_slice() else { return };
        let instructions = &self.input.dockerfile.stages[0].instructions;
        let mounts =
            instructions.iter().any(|i| matches!(&i.value, Instruction::Run(run) if !run.mounts.is_empty()));
        if !mounts {
            only.shown_name = None;
        }
    }

    /// Finds the bases that are not stages, and hands the platform of each base on.
    fn find_bases(&mut self) -> Result<(), PlanError> {
        for id in 0..self.nodes.len() {
            let node = &self.nodes[id];
            match node.base {
                Base::Stage(base) => self.nodes[id].platform = self.nodes[base].platform.clone(),
                Base::Scratch if node.body == Body::Instructions && node.file_stage.is_some() => {
                    let (written, lines) = (node.written.clone(), node.lines);
                    // there is nothing in it that could be for a platform: Docker takes no notice of `--platform`
                    if written == "scratch" {
                        self.nodes[id].platform = self.input.options.target_platform().clone();
                    }
                    let platform = self.nodes[id].platform.clone();
                    self.nodes[id].base = self
                        .outside_base(&written, &platform, lines, Purpose::Base)
                        .map_err(|error| self.naming_argument(error, id))?;
                }
                Base::Scratch | Base::Image(..) | Base::Directory(_) => {}
            }
        }
        Ok(())
    }
}
