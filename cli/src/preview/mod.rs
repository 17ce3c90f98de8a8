//! A planned build as text, as JSON, and as graphs. Everything here is a function of the plan.

mod graph;
mod json;
mod text;

pub(crate) use graph::{dot, mermaid};
pub(crate) use json::json;
pub(crate) use text::text;

use rbuild::{Input, Outlook, PlannedBuild, Platform, StagePreview};

/// The word for an outlook, in every format.
fn word(outlook: Outlook) -> &'static str {
    match outlook {
        Outlook::Cached => "cached",
        Outlook::Run => "run",
        Outlook::Maybe => "maybe",
        Outlook::Unused => "unused",
    }
}

/// The name of an input, as people know it.
fn name(planned: &PlannedBuild, input: &Input) -> String {
    match input {
        Input::Scratch => "scratch".to_owned(),
        Input::Image(name) => name.clone(),
        Input::Stage(index) => planned.stages[*index].name.clone(),
        Input::Context => "context".to_owned(),
        Input::NamedContext(name) => format!("context {name}"),
    }
}

/// The platform of a stage in brackets, when not all stages are for this machine's.
fn platform(planned: &PlannedBuild, stage: &StagePreview) -> String {
    let host = Platform::host();
    let is_plain = planned.stages.iter().all(|stage| stage.platform == host);
    if is_plain { String::new() } else { format!(" [{}]", stage.platform) }
}

/// An instruction in one line of at most `width` characters.
fn one_line(instruction: &str, width: usize) -> String {
    let words: Vec<&str> = instruction.split_whitespace().collect();
    rbuild_docker_api::shortened(&words.join(" "), width)
}

#[cfg(test)]
#[path = "preview_tests.rs"]
mod tests;
