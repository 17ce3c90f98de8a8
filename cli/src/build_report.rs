//! A build of the past for people: what it was, its steps and why each of them ran, and how it ended.

use crate::{explanation::miss, failure::in_one_line, shown::one_line, table::aligned};
use rbuild::{BuildOutcome, BuildRecord, BuildState, RecordedStep, StepOutcome};
use rbuild_docker_api::{
    BuildInspect, build_duration, build_name, build_status, go_style, human_size, shortened, step_status,
};
use std::fmt::Write;

/// Characters of an instruction that are shown.
const WIDTH: usize = 64;

/// The whole report.
pub(crate) fn text(build: &BuildRecord) -> String {
    let mut out = String::new();
    facts(build, &mut out);
    if !build.steps().is_empty() {
        out.push('\n');
        out.push_str(&steps(build));
    }
    if let BuildState::Ended(end) = &build.state {
        let findings = end
            .findings
            .iter()
            .map(|finding| format!("{}: {} (line {})", finding.rule, finding.message, finding.line));
        let warnings: Vec<String> = findings.chain(end.warnings.iter().cloned()).collect();
        if !warnings.is_empty() {
            out.push_str("\nWarnings:\n");
            out.extend(warnings.iter().map(|warning| format!(" - {}\n", one_line(warning))));
        }
    }
    out
}

/// The line above the output of a step.
pub(crate) fn heading(number: u32, step: Option<&RecordedStep>) -> String {
    match step {
        Some(step) => one_line(&format!("step {number} [{}] {}{}", step.stage, step.instruction, used(step)))
            .into_owned(),
        None => format!("step {number}"),
    }
}

/// What the processes of a step have used, if it is known.
fn used(step: &RecordedStep) -> String {
    let Some(time) = step.processor_ms.map(build_duration) else { return String::new() };
    match step.peak_memory {
        Some(memory) => format!(" (processor {time}, memory {})", human_size(memory)),
        None => format!(" (processor {time})"),
    }
}

fn facts(build: &BuildRecord, out: &mut String) {
    let known = BuildInspect::from(build);
    let steps = |known: &BuildInspect| {
        let cached = 100 * known.num_cached_steps / known.num_total_steps.max(1);
        format!("{}/{} ({cached}% cached)", known.num_completed_steps, known.num_total_steps)
    };
    let status = match &build.state {
        BuildState::Unfinished => "Killed before it ended".to_owned(),
        state @ (BuildState::Running | BuildState::Ended(_)) => build_status(state).to_owned(),
    };
    let facts = [
        ("Name:", Some(build_name(build))),
        ("Build:", Some(known.reference.clone())),
        ("Context:", known.context.clone()),
        ("Dockerfile:", known.dockerfile.clone()),
        ("Target:", known.target.clone()),
        ("Status:", Some(status)),
        ("Started:", Some(go_style(Some(build.begun)))),
        ("Duration:", known.duration.map(|took| build_duration(took / 1_000_000))),
        ("Build Steps:", (known.num_total_steps > 0).then(|| steps(&known))),
        ("Image:", known.image.clone()),
        ("Image Names:", (!known.names.is_empty()).then(|| known.names.join(", "))),
        ("Error:", known.error.as_ref().map(|error| messages(&error.causes))),
    ];
    for (name, value) in facts {
        if let Some(value) = value {
            // writing to memory cannot fail
            let _ = writeln!(out, "{name:<14}{}", one_line(&value));
        }
    }
}

fn steps(build: &BuildRecord) -> String {
    let outcome = match &build.state {
        BuildState::Ended(end) => Some(&end.outcome),
        BuildState::Running | BuildState::Unfinished => None,
    };
    let head = ["STEP", "LINE", "STATUS", "DURATION", "CPU", "MEMORY", "INSTRUCTION", "WHY"]
        .map(str::to_owned)
        .to_vec();
    let row = |step: &RecordedStep| {
        let duration = step.took_ms.map_or_else(String::new, build_duration);
        vec![
            step.number.to_string(),
            step.line.to_string(),
            status(step, outcome).to_owned(),
            duration,
            step.processor_ms.map_or_else(String::new, build_duration),
            step.peak_memory.map_or_else(String::new, human_size),
            shortened(&one_line(&format!("[{}] {}", step.stage, step.instruction)), WIDTH),
            one_line(&why(step, outcome)).into_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(build.steps().iter().map(row)).collect();
    aligned(&rows).lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// The outcome of a step in a word; empty where the record of a build without an end does not know it.
fn status(step: &RecordedStep, of_build: Option<&BuildOutcome>) -> &'static str {
    match (&step.outcome, of_build) {
        (StepOutcome::NotRun, None) => "",
        (outcome, _) => step_status(outcome),
    }
}

/// Why a step ran, and why it failed if the build's own failure does not say that.
fn why(step: &RecordedStep, outcome: Option<&BuildOutcome>) -> String {
    let missed = step.miss.as_ref().map(miss);
    let failed = match (&step.outcome, outcome) {
        (StepOutcome::Failed { causes }, Some(BuildOutcome::Failed { causes: of_build, .. }))
            if causes == of_build =>
        {
            None
        }
        (StepOutcome::Failed { causes }, _) => Some(messages(causes)),
        (StepOutcome::Done | StepOutcome::Cached | StepOutcome::Canceled | StepOutcome::NotRun, _) => None,
    };
    missed.into_iter().chain(failed).collect::<Vec<_>>().join("; ")
}

fn messages(causes: &[String]) -> String {
    in_one_line(causes.iter().map(String::as_str))
}
