//! Links between stages: `COPY --from` and `RUN --mount=from`, and the implicit stages they make.

use crate::instructions::mount;
use crate::options::Purpose;
use crate::run_modes::{is_security, parse_network};
use crate::stage_graph::{Body, NodeId, StageGraph, StageNode};
use crate::{PlanError, PlanErrorKind};
use rbuild_parser::{Instruction, Lines, WordMode, expand};

impl StageGraph {
    /// Links every stage of the file, reachable or not: bad links are errors everywhere.
    pub(crate) fn link_stages(&mut self) -> Result<(), PlanError> {
        for index in 0..self.input.dockerfile.stages.len() {
            for i in 0..self.input.dockerfile.stages[index].instructions.len() {
                let node = &self.input.dockerfile.stages[index].instructions[i];
                let Some(names) = self.named_sources(&node.value, node.lines)? else { continue };
                let lines = node.lines;
                let sources = self.find_sources(names, lines)?;
                self.nodes[index].links.push((i, sources));
            }
        }
        Ok(())
    }

    /// The stages `instruction` uses, found or made.
    pub(crate) fn sources_of(
        &mut self,
        instruction: &Instruction,
        lines: Lines,
    ) -> Result<Vec<Option<NodeId>>, PlanError> {
        match self.named_sources(instruction, lines)? {
            Some(names) => self.find_sources(names, lines),
            None => Ok(Vec::new()),
        }
    }

    fn find_sources(
        &mut self,
        names: Vec<Option<SourceName>>,
        lines: Lines,
    ) -> Result<Vec<Option<NodeId>>, PlanError> {
        let found = names.into_iter().map(|name| match name {
            None => Ok(None),
            Some(SourceName::Index(index)) => Ok(Some(index)),
            Some(SourceName::Name(name)) => self.find_or_make(&name, lines).map(Some),
        });
        found.collect()
    }

    /// The sources that `instruction` names: one entry for COPY, one for each mount of RUN; `None` for other
    /// instructions.
    fn named_sources(
        &self,
        instruction: &Instruction,
        lines: Lines,
    ) -> Result<Option<Vec<Option<SourceName>>>, PlanError> {
        match instruction {
            Instruction::Copy(copy) => match copy.from.as_ref().filter(|from| !from.value.is_empty()) {
                None => Ok(None),
                Some(from) => Ok(Some(vec![Some(self.copy_source(&from.value, lines)?)])),
            },
            Instruction::Run(run) => {
                if let Some(mode) = &run.network {
                    parse_network(&mode.value).map_err(|kind| kind.on_line(lines))?;
                }
                if let Some(mode) = run.security.as_ref().filter(|m| !is_security(&m.value)) {
                    return Err(PlanErrorKind::SecurityMode(mode.value.clone()).on_line(lines));
                }
                let from = |word: &rbuild_parser::Word| {
                    mount::from_of(&word.value).map_err(|e| PlanErrorKind::Mount(e).on_line(lines))
                };
                let names = run.mounts.iter().map(|word| Ok(from(word)?.map(SourceName::Name)));
                Ok((!run.mounts.is_empty()).then(|| names.collect()).transpose()?)
            }
            Instruction::Add(_)
            | Instruction::Arg(_)
            | Instruction::Cmd(_)
            | Instruction::Entrypoint(_)
            | Instruction::Env(_)
            | Instruction::Expose(_)
            | Instruction::Healthcheck(_)
            | Instruction::Label(_)
            | Instruction::Maintainer(_)
            | Instruction::Onbuild(_)
            | Instruction::Shell(_)
            | Instruction::Stopsignal(_)
            | Instruction::User(_)
            | Instruction::Volume(_)
            | Instruction::Workdir(_) => Ok(None),
        }
    }

    fn copy_source(&self, from: &str, lines: Lines) -> Result<SourceName, PlanError> {
        let escape = self.input.dockerfile.directives.escape;
        let expanded = expand(from, escape, WordMode::Single, &|_| None)
            .map_err(|e| PlanErrorKind::Word(e).at(lines))?;
        if expanded.words.first().is_none_or(|word| word != from) {
            return Err(PlanErrorKind::VariableInFrom.at(lines));
        }
        let Ok(index) = from.parse::<i64>() else { return Ok(SourceName::Name(from.to_owned())) };
        let stages = self.input.dockerfile.stages.len();
        usize::try_from(index)
            .ok()
            .filter(|index| *index < stages)
            .map(SourceName::Index)
            .ok_or_else(|| PlanErrorKind::StageIndex(index).at(lines))
    }

    /// The stage called `name` (in any case; the last of that name), else an implicit `FROM name`.
    fn find_or_make(&mut self, name: &str, lines: Lines) -> Result<NodeId, PlanError> {
        let known = self.by_name.get(&name.to_lowercase()).or_else(|| self.implicit.get(name));
        if let Some(known) = known {
            return Ok(*known);
        }
        let platform = self.input.options.target_platform().clone();
        let base = self.outside_base(name, &platform, lines, Purpose::Files)?;
        let id = self.nodes.len();
        self.implicit.insert(name.to_owned(), id);
        self.nodes.push(StageNode {
            file_stage: None,
            display_name: name.to_owned(),
            shown_name: None,
            name: None,
            written: name.to_owned(),
            lines,
            from_arguments: Vec::new(),
            base,
            body: Body::Replaced,
            platform,
            links: Vec::new(),
            triggers: Some(Vec::new()),
        });
        Ok(id)
    }
}

enum SourceName {
    Index(NodeId),
    Name(String),
}

/// True if stage `user` can use the files of `source`: always for files from outside, and for a stage if it is defined
/// before `user`.
pub(crate) fn is_defined_before(graph: &StageGraph, source: NodeId, user: NodeId) -> bool {
    graph.nodes[source].body == Body::Replaced || source < user
}
