//! The plan as a graph, for Graphviz and for Mermaid: a cluster a stage, an edge from each input to what needs it.

use super::{name, one_line, platform, word};
use rbuild::{Input, Outlook, PlannedBuild, StagePreview};
use std::fmt::Write;

/// Characters of an instruction that are shown.
const WIDTH: usize = 48;
const OUTLOOKS: [Outlook; 4] = [Outlook::Cached, Outlook::Run, Outlook::Maybe, Outlook::Unused];

/// The nodes and edges that both languages draw.
struct Graph {
    /// Images and contexts.
    outside: Vec<Input>,
    /// From and to, by the names of vertices.
    edges: Vec<(String, String)>,
}

/// The plan in Graphviz's language.
pub(crate) fn dot(planned: &PlannedBuild) -> String {
    let graph = Graph::of(planned);
    let mut out = String::from(
        "digraph plan {\n  rankdir=LR;\n  node [shape=box, style=\"rounded,filled\", fillcolor=white];\n",
    );
    // writing to memory cannot fail
    for (index, input) in graph.outside.iter().enumerate() {
        let _ = writeln!(out, "  in{index} [label={}, shape=cylinder];", quoted(&name(planned, input)));
    }
    for (index, stage) in planned.stages.iter().enumerate() {
        let _ = writeln!(out, "  subgraph cluster_{index} {{");
        let _ = writeln!(out, "    label={};", quoted(&title(planned, index)));
        if stage.steps.is_empty() {
            let _ = writeln!(out, "    stage{index} [label=\"no steps\"];");
        }
        for step in &stage.steps {
            let (label, color) = (quoted(&one_line(&step.name, WIDTH)), color(step.outlook));
            let _ = writeln!(
                out,
                "    step{} [label={label}, fillcolor=\"{color}\", tooltip=\"{}\"];",
                step.id,
                word(step.outlook)
            );
        }
        out.push_str("  }\n");
    }
    for (from, to) in &graph.edges {
        let _ = writeln!(out, "  {from} -> {to};");
    }
    out.push_str("}\n");
    out
}

/// The plan in Mermaid's language.
pub(crate) fn mermaid(planned: &PlannedBuild) -> String {
    let graph = Graph::of(planned);
    let mut out = String::from("flowchart LR\n");
    // writing to memory cannot fail
    for (index, input) in graph.outside.iter().enumerate() {
        let _ = writeln!(out, "  in{index}[(\"{}\")]", entities(&name(planned, input)));
    }
    for (index, stage) in planned.stages.iter().enumerate() {
        let _ = writeln!(out, "  subgraph cluster{index}[\"{}\"]", entities(&title(planned, index)));
        if stage.steps.is_empty() {
            let _ = writeln!(out, "    stage{index}[\"no steps\"]");
        }
        for step in &stage.steps {
            let label = entities(&one_line(&step.name, WIDTH));
            let _ = writeln!(out, "    step{}[\"{label}\"]:::{}", step.id, word(step.outlook));
        }
        out.push_str("  end\n");
    }
    for (from, to) in &graph.edges {
        let _ = writeln!(out, "  {from} --> {to}");
    }
    for outlook in OUTLOOKS {
        let _ = writeln!(out, "  classDef {} fill:{},color:#000", word(outlook), color(outlook));
    }
    out
}

impl Graph {
    fn of(planned: &PlannedBuild) -> Self {
        let mut graph = Self { outside: Vec::new(), edges: Vec::new() };
        for (index, stage) in planned.stages.iter().enumerate() {
            let first = stage.steps.first().map_or_else(|| format!("stage{index}"), |step| vertex(step.id));
            match &stage.base {
                // what a step is built on is one of its inputs
                Input::Stage(_) if !stage.steps.is_empty() => {}
                Input::Stage(base) => graph.edge(end(*base, &planned.stages[*base]), &first),
                outside => graph.outside_edge(outside, &first),
            }
            for step in &stage.steps {
                let to = vertex(step.id);
                for input in &step.after {
                    graph.edge(vertex(*input), &to);
                }
                for source in &step.sources {
                    graph.outside_edge(source, &to);
                }
            }
        }
        graph
    }

    /// Adds an edge from an image or context; stages are reached through their steps.
    fn outside_edge(&mut self, input: &Input, to: &str) {
        match input {
            Input::Scratch | Input::Stage(_) => {}
            Input::Image(_) | Input::Context | Input::NamedContext(_) => {
                let known = self.outside.iter().position(|known| known == input);
                let index = known.unwrap_or_else(|| {
                    self.outside.push(input.clone());
                    self.outside.len() - 1
                });
                self.edge(format!("in{index}"), to);
            }
        }
    }

    fn edge(&mut self, from: String, to: &str) {
        let edge = (from, to.to_owned());
        if !self.edges.contains(&edge) {
            self.edges.push(edge);
        }
    }
}

fn vertex(step: usize) -> String {
    format!("step{step}")
}

/// The last vertex of a stage.
fn end(index: usize, stage: &StagePreview) -> String {
    stage.steps.last().map_or_else(|| format!("stage{index}"), |step| vertex(step.id))
}

fn title(planned: &PlannedBuild, index: usize) -> String {
    let target = if planned.targets.contains(&index) { " (target)" } else { "" };
    format!("{}{target}{}", planned.stages[index].name, platform(planned, &planned.stages[index]))
}

fn color(outlook: Outlook) -> &'static str {
    match outlook {
        Outlook::Cached => "#cdeac0",
        Outlook::Run => "#ffd6a5",
        Outlook::Maybe => "#fdffb6",
        Outlook::Unused => "#e0e0e0",
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// `text` with Mermaid's entities for what would end or format a label.
fn entities(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => out.push_str("#quot;"),
            '#' => out.push_str("#35;"),
            '<' => out.push_str("#lt;"),
            '>' => out.push_str("#gt;"),
            '&' => out.push_str("#amp;"),
            '`' => out.push_str("#96;"),
            other => out.push(other),
        }
    }
    out
}
