//! One stage being lowered: its variables, config and files as they are before the next instruction.

use crate::env::Env;
use crate::graph::StepId;
use crate::history;
use crate::instructions::{self, OnlyOnce};
use crate::lints;
use crate::lower::Lowering;
use crate::ordered::Ordered;
use crate::plan::{Action, CachePolicy, Filesystem, PlannedArgument, StageId, Step};
use crate::position::Positions;
use crate::scope::{expand_word, is_literal, unset_in};
use crate::sources::is_defined_before;
use crate::stage_graph::{Base, ImageOrigin, Input, NodeId, StageNode};
use crate::{PlanError, PlanErrorKind};
use rbuild_oci::{DEFAULT_PATH, HistoryEntry, ImageConfig, ImagePath};
use rbuild_parser::{Escape, Expanded, Instruction, Lines, Node, Rule, WordError, WordMode, expand};
use std::collections::HashSet;
use std::sync::Arc;

/// The state that a stage hands on to the stages built on it.
#[derive(Clone, Debug)]
pub(crate) struct StageState {
    /// The config so far; history and DiffIds are the base image's.
    pub(crate) config: ImageConfig,
    /// The variables that expansion and RUN see.
    pub(crate) env: Env,
    /// The variables that ENV set. Until the config is finished, it has only those of the base image.
    own_env: Env,
    /// True if `env` has other values than the config, or another order.
    differs: bool,
    /// The labels that LABEL set, as for `own_env`.
    pub(crate) labels: Ordered<Arc<str>>,
    /// ARGs declared so far, with their values.
    pub(crate) args: Ordered<Option<Arc<str>>>,
    /// The directory in which relative paths start and commands run. In the config it may be empty or end in slashes.
    pub(crate) cwd: ImagePath,
    /// The files so far.
    pub(crate) files: Filesystem,
    /// True if this file has set a working directory.
    pub(crate) workdir_set: bool,
}

impl StageState {
    pub(crate) fn new(config: ImageConfig, files: Filesystem) -> Self {
        let cwd = ImagePath::root();
        Self {
            config,
            env: Env::default(),
            own_env: Env::default(),
            differs: false,
            labels: Ordered::default(),
            args: Ordered::default(),
            cwd,
            files,
            workdir_set: false,
        }
    }

    /// The state for a stage `FROM` this one: everything but the triggers.
    pub(crate) fn child(mut self) -> Self {
        self.config.config.on_build.clear();
        self
    }

    /// Initializes the stage from its base's config.
    fn enter(&mut self) {
        let config = &mut self.config.config;
        config.on_build.clear();
        // one without a value counts as set
        let has_path = config.env.iter().any(|pair| pair == "PATH" || pair.starts_with("PATH="));
        if !has_path && self.config.os != "windows" {
            config.set_env("PATH", DEFAULT_PATH);
        }
        for (pair, own) in config.env.iter().zip(replacements(&config.env, &self.own_env)) {
            let (name, value) = variable(pair);
            self.env.set_last(name, own.unwrap_or(value).to_owned());
        }
        if std::mem::take(&mut self.differs) {
            for (name, value) in added(&config.env, &self.own_env) {
                self.env.set_last(name, value.to_string());
            }
        }
        if !config.working_dir.is_empty() {
            // a relative one, which only odd images have, is joined to itself, as Docker does
            let written = config.working_dir.clone();
            self.cwd = ImagePath::root().join(&written);
            self.enter_directory(&written);
        }
    }

    /// ENV: sets a variable in the config, where it keeps its place, and in what expansion and RUN see, where it becomes
    /// the last, as for Docker.
    pub(crate) fn set_env(&mut self, name: &str, value: &str) {
        self.differs |= self.env.get(name).is_some();
        self.own_env.set(name, value.to_owned());
        self.env.set_last(name, value.to_owned());
    }

    /// ARG: sets a variable in what expansion and RUN see, where it becomes the last.
    pub(crate) fn set_arg(&mut self, name: &str, value: &str) {
        self.differs = true;
        self.env.set_last(name, value.to_owned());
    }

    /// The config as it is now, in full.
    pub(crate) fn finished_config(&self) -> ImageConfig {
        let mut config = self.config.clone();
        let base = &self.config.config.env;
        config.config.env = base
            .iter()
            .zip(replacements(base, &self.own_env))
            .map(|(pair, own)| match own {
                Some(own) => format!("{}={own}", variable(pair).0),
                None => pair.clone(),
            })
            .chain(added(base, &self.own_env).map(|(name, value)| format!("{name}={value}")))
            .collect();
        let labels = self.labels.entries().into_iter();
        config.config.labels.extend(labels.map(|(name, value)| (name.to_owned(), value.to_string())));
        config
    }

    /// Sets the working directory. As for Docker, an absolute path stays as it is written in the config, a relative one
    /// is joined to the one before and cleaned, and an empty one changes nothing.
    pub(crate) fn enter_directory(&mut self, written: &str) {
        self.cwd = self.cwd.join(written);
        let shown = &mut self.config.config.working_dir;
        if written.starts_with('/') {
            written.clone_into(shown);
        } else if !written.is_empty() || shown.is_empty() {
            *shown = self.cwd.to_string();
        }
    }
}

/// Lowers the instructions of one stage.
pub(crate) struct StageLowering<'l, 'a> {
    lowering: &'l mut Lowering<'a>,
    node: &'a StageNode,
    id: NodeId,
    stage_id: StageId,
    pub(crate) state: StageState,
    pub(crate) positions: Positions,
    history: Vec<HistoryEntry>,
    pub(crate) arguments: Vec<PlannedArgument>,
    cache: CachePolicy,
    /// The instructions of which only the last counts.
    pub(crate) once: OnlyOnce,
    /// The instruction being lowered.
    current: Current<'a>,
}

/// The origin of the instruction being lowered.
#[derive(Clone, Copy)]
struct Current<'a> {
    lines: Lines,
    keyword: &'a str,
    text: &'a str,
    prefix: &'static str,
    sources: &'a [Option<NodeId>],
}

impl<'l, 'a> StageLowering<'l, 'a> {
    pub(crate) fn new(
        lowering: &'l mut Lowering<'a>,
        id: NodeId,
        stage_id: StageId,
        mut state: StageState,
    ) -> Self {
        let graph = lowering.graph;
        let node = &graph.nodes[id];
        let options = &graph.input.options;
        let cache = match options.ignores_cache(node.name.as_deref()) {
            true => CachePolicy::Ignore,
            false => CachePolicy::Use,
        };
        let total = countable(&graph.input, node);
        state.enter();
        Self {
            positions: Positions::new(node.shown_name.clone(), total, options.position, &node.platform),
            current: Current { lines: node.lines, keyword: "", text: "", prefix: "", sources: &[] },
            lowering,
            node,
            id,
            stage_id,
            state,
            history: Vec::new(),
            arguments: Vec::new(),
            cache,
            once: OnlyOnce::default(),
        }
    }

    /// `[stage 1/n] FROM image`, which counts as a step when the base is an image with files.
    pub(crate) fn name_base(&mut self, base: &Filesystem) -> Option<String> {
        let (Base::Image(slot, ImageOrigin::Reference), Filesystem::Image(_)) = (&self.node.base, base)
        else {
            return None;
        };
        let slot = &self.lowering.graph.slots[*slot];
        let position = self.positions.take(&Env::default());
        Some(format!("{position} FROM {}", slot.request.reference))
    }

    /// Triggers first, then the stage's own instructions.
    pub(crate) fn run_all(&mut self) -> Result<(), PlanError> {
        for trigger in self.node.triggers.iter().flatten() {
            self.instruction(&trigger.node, &trigger.sources, "ONBUILD ")?;
        }
        let graph = self.lowering.graph;
        let Some(stage) = self.node.file_stage else { return Ok(()) };
        let mut links = self.node.links.iter().peekable();
        for (i, node) in graph.input.dockerfile.stages[stage].instructions.iter().enumerate() {
            let sources = links.next_if(|(instruction, _)| *instruction == i);
            self.instruction(node, sources.map_or(&[], |(_, sources)| sources.as_slice()), "")?;
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> (StageState, Vec<HistoryEntry>, Vec<PlannedArgument>) {
        (self.state, self.history, self.arguments)
    }

    fn instruction(
        &mut self,
        node: &'a Node<Instruction>,
        sources: &'a [Option<NodeId>],
        prefix: &'static str,
    ) -> Result<(), PlanError> {
        let keyword = node.keyword.value.as_str();
        self.current = Current { lines: node.lines, keyword, text: &node.text, prefix, sources };
        instructions::lower(self, &node.value)
    }

    /// The stage's name as messages have it.
    pub(crate) fn display_name(&self) -> &str {
        &self.node.display_name
    }

    pub(crate) fn input(&self) -> &'a Input {
        &self.lowering.graph.input
    }

    pub(crate) fn escape(&self) -> Escape {
        self.input().dockerfile.directives.escape
    }

    /// The current instruction's text.
    pub(crate) fn text(&self) -> &'a str {
        self.current.text
    }

    /// The stages the current instruction uses.
    pub(crate) fn sources(&self) -> &'a [Option<NodeId>] {
        self.current.sources
    }

    /// The files of stage `source`; `None` when it is only defined later. A trigger may name the stage it runs in, which
    /// then is what it has become so far.
    pub(crate) fn files_of(&self, source: NodeId) -> Option<Filesystem> {
        if source == self.id {
            return Some(self.state.files.clone());
        }
        if !is_defined_before(self.lowering.graph, source, self.id) {
            return None;
        }
        self.lowering.results[source].clone()
    }

    /// `kind` at the current instruction.
    pub(crate) fn error(&self, kind: PlanErrorKind) -> PlanError {
        kind.at(self.current.lines)
    }

    /// Records a finding at the current instruction.
    pub(crate) fn lint(&mut self, rule: Rule, message: String) {
        self.lint_at(rule, message, self.current.lines);
    }

    /// Records a finding of the current instruction at other lines.
    pub(crate) fn lint_at(&mut self, rule: Rule, message: String, lines: Lines) {
        let maker = self.current.prefix.is_empty().then_some(self.current.lines);
        self.lowering.report(rule, message, (lines, maker));
    }

    /// The current instruction's first word as it was typed.
    pub(crate) fn keyword(&self) -> &'a str {
        self.current.keyword
    }

    /// The lines of the current instruction.
    pub(crate) fn lines(&self) -> Lines {
        self.current.lines
    }

    /// True if the ignore file excludes `path` from the context.
    pub(crate) fn is_ignored(&self, path: &str) -> bool {
        (self.lowering.ignored)(path)
    }

    /// Expands a word, or a here-document, in the stage's environment.
    pub(crate) fn expand(&mut self, word: &str) -> Result<String, PlanError> {
        let escape = self.escape();
        let expanded = expand_word(word, escape, &self.state.env);
        self.report_unset(unset_in(&expanded));
        expanded.map(|word| word.text).map_err(|e| self.error(PlanErrorKind::Word(e)))
    }

    /// Expands the body of an inline file.
    pub(crate) fn expand_heredoc(&mut self, body: &str) -> Result<String, PlanError> {
        let expanded = self.expand_in(body, Escape::Backslash, WordMode::Heredoc);
        self.report_unset(match &expanded {
            Ok(body) => &body.unset,
            Err(error) => &error.unset,
        });
        let expanded = expanded.map_err(|e| self.error(PlanErrorKind::Word(e)))?;
        Ok(expanded.words.into_iter().next().unwrap_or_default())
    }

    /// Expands a word that may become several, or none; Docker has no UndefinedVar for those.
    pub(crate) fn expand_list(&self, word: &str) -> Result<Vec<String>, PlanError> {
        if is_literal(word, self.escape()) {
            return Ok(word.split_whitespace().map(str::to_owned).collect());
        }
        let expanded = self.expand_in(word, self.escape(), WordMode::List);
        expanded.map(|list| list.words).map_err(|e| self.error(PlanErrorKind::Word(e)))
    }

    fn expand_in(&self, text: &str, escape: Escape, mode: WordMode) -> Result<Expanded, WordError> {
        expand(text, escape, mode, &|name| self.state.env.get(name).map(str::to_owned))
    }

    /// UndefinedVar for names that are neither set nor declared.
    fn report_unset(&mut self, unset: &[String]) {
        for name in unset {
            if self.state.args.get(name).is_some() {
                continue;
            }
            let hint = lints::hint(self.lowering.suggest(name, &self.state.env), "$");
            self.lint(Rule::UndefinedVar, format!("Usage of undefined variable '${name}'{hint}"));
        }
    }

    /// Adds a history entry without a layer.
    pub(crate) fn record(&mut self, created_by: String) {
        self.history.push(HistoryEntry { empty_layer: true, ..entry(created_by) });
    }

    /// Adds a step and its history entry. `created_by` comes without the mark that most steps have at their end.
    pub(crate) fn push_step(&mut self, action: Action, name: &str, created_by: String) {
        let id = StepId(self.lowering.steps.len());
        let cache = match &action {
            Action::Run(_) | Action::Copy(_) => self.cache,
            Action::Workdir(_) => CachePolicy::Use,
        };
        let position = self.positions.take(&self.state.env);
        let parent = std::mem::replace(&mut self.state.files, Filesystem::Step(id));
        self.lowering.steps.push(Step {
            id,
            stage: self.stage_id,
            parent,
            action,
            name: format!("{}{name}", self.current.prefix),
            position,
            lines: self.current.lines,
            cache,
        });
        self.history.push(entry(created_by));
    }
}

/// A new history entry, for a layer, without a time.
fn entry(created_by: String) -> HistoryEntry {
    HistoryEntry { created_by, comment: history::COMMENT.to_owned(), ..HistoryEntry::default() }
}

/// For each variable of a base image the value that `own` gives it instead. Of several with one name the first is
/// replaced, as Docker does.
fn replacements<'e>(base: &[String], own: &'e Env) -> Vec<Option<&'e str>> {
    let mut replaced = HashSet::new();
    let names = base.iter().map(|pair| variable(pair).0);
    names.map(|name| own.get(name).filter(|_| replaced.insert(name))).collect()
}

/// The variables of `own` that a base image does not have.
fn added<'e>(base: &'e [String], own: &'e Env) -> impl Iterator<Item = (&'e str, &'e Arc<str>)> {
    let known: HashSet<&str> = base.iter().map(|pair| variable(pair).0).collect();
    own.entries().into_iter().filter(move |(name, _)| !known.contains(name))
}

/// Name and value of a variable of an image; one may have no `=`.
fn variable(pair: &str) -> (&str, &str) {
    pair.split_once('=').unwrap_or((pair, ""))
}

/// The n of `[stage i/n]`: a base that is neither scratch nor a stage, what may make a layer, and every trigger.
fn countable(input: &Input, node: &StageNode) -> usize {
    let base = usize::from(node.written != "scratch" && !matches!(node.base, Base::Stage(_)));
    let instructions = node.file_stage.map(|stage| &input.dockerfile.stages[stage].instructions);
    let own = instructions.into_iter().flatten().filter(|node| {
        matches!(
            node.value,
            Instruction::Add(_) | Instruction::Copy(_) | Instruction::Run(_) | Instruction::Workdir(_)
        )
    });
    base + own.count() + node.triggers.as_ref().map_or(0, Vec::len)
}
