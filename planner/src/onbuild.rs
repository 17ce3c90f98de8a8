//! ONBUILD: triggers of the base image or base stage become the first instructions of the stage built on it.
//!
//! They run once: a stage's own ONBUILDs reach the stages directly above it, never those above them.

use crate::stage_graph::{Base, Body, NodeId, StageGraph, Trigger};
use crate::{PlanError, PlanErrorKind};
use rbuild_parser::{Escape, Instruction, Lines, parse_instruction};

impl StageGraph {
    /// Parses the triggers of every reachable stage whose base is known by now. A trigger may make more stages
    /// reachable, which are looked at next, until nothing is new.
    pub(crate) fn read_triggers(&mut self) -> Result<(), PlanError> {
        let mut reachable = self.reachable();
        let mut fresh: Vec<NodeId> = (0..reachable.len()).filter(|id| reachable[*id]).collect();
        while !fresh.is_empty() {
            let mut found = Vec::new();
            for id in fresh {
                if self.nodes[id].triggers.is_some() || self.nodes[id].body == Body::Replaced {
                    continue;
                }
                let Some(texts) = self.trigger_texts(id) else { continue };
                let lines = self.nodes[id].lines;
                let triggers = texts
                    .into_iter()
                    .map(|text| self.parse_trigger(&text, lines))
                    .collect::<Result<Vec<_>, _>>()?;
                found.extend(triggers.iter().flat_map(|trigger| trigger.sources.iter().flatten().copied()));
                self.nodes[id].triggers = Some(triggers);
            }
            fresh = self.reach(found, &mut reachable);
        }
        Ok(())
    }

    /// The triggers stage `id` inherits; `None` while its image is unknown.
    fn trigger_texts(&self, id: NodeId) -> Option<Vec<String>> {
        match &self.nodes[id].base {
            Base::Scratch | Base::Directory(_) => Some(Vec::new()),
            Base::Image(slot, _) => {
                let image = self.slots[*slot].answer.as_ref()?;
                Some(image.config.config.on_build.clone())
            }
            Base::Stage(base) => {
                let base = &self.nodes[*base];
                let stage = base.file_stage.filter(|_| base.body == Body::Instructions);
                let Some(stage) = stage else { return Some(Vec::new()) };
                let instructions = &self.input.dockerfile.stages[stage].instructions;
                let texts = instructions.iter().filter_map(|node| {
                    let Instruction::Onbuild(onbuild) = &node.value else { return None };
                    Some(onbuild.text.clone())
                });
                Some(texts.collect())
            }
        }
    }

    /// A trigger is a file of its own, without directives: whatever the escape character is here, its is the usual one.
    fn parse_trigger(&mut self, text: &str, lines: Lines) -> Result<Trigger, PlanError> {
        let mut node =
            parse_instruction(text, Escape::default()).map_err(|e| PlanErrorKind::Trigger(e).at(lines))?;
        node.lines = lines;
        // the trigger's line is not in a file of the user
        let sources = self.sources_of(&node.value, lines).map_err(PlanError::without_line)?;
        Ok(Trigger { node, sources })
    }
}
