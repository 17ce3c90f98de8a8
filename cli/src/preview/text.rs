//! The plan for people: a block a stage, a mark a step, arrows to what is needed.

use super::{name, one_line, word};
use rbuild::{Input, Outlook, PlannedBuild, StagePreview, StepPreview};
use std::fmt::Write;

/// Characters of an instruction that are shown.
const WIDTH: usize = 72;

/// The whole plan.
pub(crate) fn text(planned: &PlannedBuild) -> String {
    let mut out = String::new();
    for (index, stage) in planned.stages.iter().enumerate() {
        let target = if index == planned.target { " (target)" } else { "" };
        // writing to memory cannot fail
        let _ = writeln!(out, "{}{target} ← {}", stage.name, name(planned, &stage.base));
        steps(planned, stage, &mut out);
        out.push('\n');
    }
    out.push_str(&summary(planned));
    out
}

fn steps(planned: &PlannedBuild, stage: &StagePreview, out: &mut String) {
    let rows: Vec<(&StepPreview, String, String)> = stage
        .steps
        .iter()
        .map(|step| (step, one_line(&step.name, WIDTH), arrow(planned, &step.sources)))
        .collect();
    let with_arrow = rows.iter().filter(|(.., arrow)| !arrow.is_empty());
    let width = with_arrow.map(|(_, text, _)| text.chars().count()).max().unwrap_or(0);
    for (step, text, arrow) in rows {
        let line = format!("  {:<8}{text:<width$}{arrow}", word(step.outlook));
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

/// The arrow to the sources of a step; the main context goes without saying.
fn arrow(planned: &PlannedBuild, sources: &[Input]) -> String {
    let shown = sources.iter().filter(|source| **source != Input::Context);
    let names: Vec<String> = shown.map(|source| name(planned, source)).collect();
    if names.is_empty() { String::new() } else { format!("  ← {}", names.join(", ")) }
}

fn summary(planned: &PlannedBuild) -> String {
    let steps = || planned.stages.iter().flat_map(|stage| &stage.steps);
    let counts = [Outlook::Cached, Outlook::Run, Outlook::Maybe, Outlook::Unused]
        .map(|outlook| (outlook, steps().filter(|step| step.outlook == outlook).count()));
    let parts: Vec<String> = counts
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(outlook, count)| format!("{count} {}", word(*outlook)))
        .collect();
    let count = steps().count();
    let plural = if count == 1 { "" } else { "s" };
    let mut out = match parts.is_empty() {
        true => "no steps\n".to_owned(),
        false => format!("{count} step{plural}: {}\n", parts.join(", ")),
    };
    if counts.contains(&(Outlook::Maybe, 0)) {
        return out;
    }
    out.push_str("maybe: runs unless what it depends on turns out as in an earlier build\n");
    out
}
