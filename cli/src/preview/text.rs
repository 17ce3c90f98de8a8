//! The plan for people: a block a stage with what it needs and how it stands, a line a step with its place in the Dockerfile,
//! and behind the steps with which running begins, why.

use super::{name, one_line, platform, word};
use crate::explanation::miss;
use rbuild::{Input, MissReason, Outlook, PlannedBuild, StagePreview, StepPreview};
use std::fmt::Write;

/// Characters of an instruction that are shown.
const WIDTH: usize = 64;
/// Characters of a reason that are shown.
const REASON: usize = 120;
const OUTLOOKS: [Outlook; 4] = [Outlook::Cached, Outlook::Run, Outlook::Maybe, Outlook::Unused];

/// The whole plan.
pub(crate) fn text(planned: &PlannedBuild) -> String {
    let mut out = String::new();
    for (index, stage) in planned.stages.iter().enumerate() {
        let target = if planned.targets.contains(&index) { " (target)" } else { "" };
        let platform = platform(planned, stage);
        let standing = standing(stage).map(|standing| format!("  [{standing}]")).unwrap_or_default();
        // writing to memory cannot fail
        let _ = writeln!(out, "{}{target}{platform} ← {}{standing}", stage.name, needs(planned, stage));
        steps(planned, stage, &mut out);
        out.push('\n');
    }
    out.push_str(&summary(planned));
    out
}

/// The base of a stage, then the other sources of its files; the main context is not named.
fn needs(planned: &PlannedBuild, stage: &StagePreview) -> String {
    let mut names = vec![name(planned, &stage.base)];
    for source in stage.steps.iter().flat_map(|step| &step.sources) {
        let name = name(planned, source);
        if *source != Input::Context && !names.contains(&name) {
            names.push(name);
        }
    }
    names.join(", ")
}

/// `cached`, `2 run, 1 maybe of 5`; nothing for a stage without steps.
fn standing(stage: &StagePreview) -> Option<String> {
    let all = stage.steps.len();
    let count = |outlook: Outlook| stage.steps.iter().filter(|step| step.outlook == outlook).count();
    if let Some(outlook) = OUTLOOKS.iter().find(|outlook| all > 0 && count(**outlook) == all) {
        return Some(word(*outlook).to_owned());
    }
    let others = OUTLOOKS.iter().filter(|outlook| **outlook != Outlook::Cached && count(**outlook) > 0);
    let parts: Vec<String> =
        others.map(|outlook| format!("{} {}", count(*outlook), word(*outlook))).collect();
    (!parts.is_empty()).then(|| format!("{} of {all}", parts.join(", ")))
}

fn steps(planned: &PlannedBuild, stage: &StagePreview, out: &mut String) {
    let rows: Vec<(&StepPreview, String, String)> =
        stage.steps.iter().map(|step| (step, one_line(&step.name, WIDTH), remark(planned, step))).collect();
    let remarked = rows.iter().filter(|(.., remark)| !remark.is_empty());
    let width = remarked.map(|(_, text, _)| text.chars().count()).max().unwrap_or(0);
    for (step, text, remark) in rows {
        let line = format!("{:>4}  {:<8}{text:<width$}{remark}", step.line, word(step.outlook));
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

/// The arrow to the sources of a step, and why it is the first to run.
fn remark(planned: &PlannedBuild, step: &StepPreview) -> String {
    let shown = step.sources.iter().filter(|source| **source != Input::Context);
    let names: Vec<String> = shown.map(|source| name(planned, source)).collect();
    let mut remark = if names.is_empty() { String::new() } else { format!("  ← {}", names.join(", ")) };
    if let Some(why) = step.reason.as_ref().filter(|reason| **reason != MissReason::Input) {
        // writing to memory cannot fail
        let _ = write!(remark, "  ({})", one_line(&miss(why), REASON));
    }
    remark
}

fn summary(planned: &PlannedBuild) -> String {
    let steps = || planned.stages.iter().flat_map(|stage| &stage.steps);
    let counts = OUTLOOKS.map(|outlook| (outlook, steps().filter(|step| step.outlook == outlook).count()));
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
