//! `build` with `--check` or `--call`: answers about a Dockerfile, in Docker's form.

use crate::{
    app::App,
    credentials::build_proxies,
    error::CliError,
    failure::in_full,
    options::{BuildOptions, Call, CallFormat, CallOptions, FindingsStatus},
    shown::one_line,
    streams::{self, Answer},
    table::spaced,
};
use rbuild::{BuildRequest, Checked, Engine, Finding, Outline, Target};
use rbuild_docker_api::{CheckAnswer, OutlineAnswer, TargetsAnswer};
use serde::Serialize;
use serde_json::json;
use std::fmt::Write as _;

/// Answers `call`.
pub(super) fn answer(app: &App, options: &BuildOptions, call: CallOptions) -> Result<(), CliError> {
    let engine = app.engine_with_registries(options.certificates)?;
    let mut request = options.request.clone();
    build_proxies(&app.environment)?.add_to(&mut request.build_args);
    match call.call {
        Call::Check => check_and_tell(&engine, &request, call),
        Call::Outline => {
            let outline = engine.outline(&request).map_err(failed)?;
            streams::answer(&match call.format {
                CallFormat::Text => Answer::Text(outline_text(&outline)),
                CallFormat::Json => Answer::Data(pretty(&OutlineAnswer::from(&outline))),
            })
        }
        Call::Targets => {
            let (targets, file) = engine.targets(&request).map_err(failed)?;
            streams::answer(&match call.format {
                CallFormat::Text => Answer::Text(targets_text(&targets)),
                CallFormat::Json => Answer::Data(pretty(&TargetsAnswer::new(&targets, &file))),
            })
        }
    }
}

fn failed(error: rbuild::Error) -> CliError {
    CliError::Build(Box::new(error))
}

/// The failure of a check as Docker prints it: first the message, then the place.
fn unbuildable(error: &rbuild::Error) -> CliError {
    let excerpt = error.diagnostic().map(|diagnostic| diagnostic.excerpt.trim_end()).unwrap_or_default();
    let lines: Vec<String> = [&*one_line(&message(error)), excerpt]
        .iter()
        .filter(|part| !part.is_empty())
        .map(|part| (*part).to_owned())
        .collect();
    CliError::Unbuildable(lines.join("\n"))
}

fn message(error: &rbuild::Error) -> String {
    in_full(error, error.hint().as_ref())
}

fn check_and_tell(engine: &Engine, request: &BuildRequest, call: CallOptions) -> Result<(), CliError> {
    let checked = engine.check(request).map_err(failed)?;
    streams::answer(&match call.format {
        CallFormat::Text => Answer::Text(checked_text(&checked)),
        CallFormat::Json => {
            Answer::Data(pretty(&CheckAnswer::new(&checked, checked.failure.as_ref().map(message))))
        }
    })?;
    match (checked.failure, checked.findings.is_empty(), call.status) {
        (Some(error), _, _) => Err(unbuildable(&error)),
        (None, true, _) | (None, false, FindingsStatus::Ignored) => Ok(()),
        (None, false, FindingsStatus::Fails) => Err(CliError::Reported { code: 1 }),
    }
}

fn checked_text(checked: &Checked) -> String {
    let mut text = match checked.findings.len() {
        0 if checked.failure.is_some() => String::new(),
        0 => "Check complete, no warnings found.\n".to_owned(),
        1 => "Check complete, 1 warning has been found!\n".to_owned(),
        count => format!("Check complete, {count} warnings have been found!\n"),
    };
    // sorted by place; the JSON has them in the order in which they were made
    let mut findings: Vec<&Finding> = checked.findings.iter().collect();
    findings.sort_by_key(|finding| finding.lines.0);
    for Finding { rule, url, message, excerpt, .. } in findings {
        let url = url.as_ref().map(|url| format!(" - {url}")).unwrap_or_default();
        // writing to memory cannot fail
        let _ = write!(text, "\nWARNING: {rule}{url}\n{message}\n{excerpt}\n");
    }
    if checked.failure.is_some() && !checked.findings.is_empty() {
        text.push('\n');
    }
    text
}

fn pretty(answer: &impl Serialize) -> String {
    format!("{:#}\n", json!(answer))
}

/// Blanks between the columns of an outline's tables.
const OUTLINE_GAP: usize = 3;
/// Blanks between the columns of the table of targets.
const TARGETS_GAP: usize = 1;

fn outline_text(outline: &Outline) -> String {
    let row = |cells: &[&str]| cells.iter().map(|cell| one_line(cell).into_owned()).collect::<Vec<_>>();
    let mut text = String::new();
    if outline.name.is_some() || !outline.description.is_empty() {
        let mut rows = vec![row(&["TARGET:", outline.name.as_deref().unwrap_or("(default)")])];
        if !outline.description.is_empty() {
            rows.push(row(&["DESCRIPTION:", &outline.description]));
        }
        text.push_str(&spaced(&rows, 0, 1));
        text.push('\n');
    }
    if !outline.arguments.is_empty() {
        let mut rows = vec![row(&["BUILD ARG", "VALUE", "DESCRIPTION"])];
        rows.extend(outline.arguments.iter().map(|argument| {
            row(&[&argument.name, argument.value.as_deref().unwrap_or(""), &argument.description])
        }));
        text.push_str(&spaced(&rows, 0, OUTLINE_GAP));
        text.push('\n');
    }
    for (heading, mounts) in [("SECRET", &outline.secrets), ("SSH", &outline.agents)] {
        if !mounts.is_empty() {
            let mut rows = vec![row(&[heading, "REQUIRED"])];
            rows.extend(mounts.iter().map(|m| row(&[&m.id, if m.required { "true" } else { "" }])));
            text.push_str(&spaced(&rows, 0, OUTLINE_GAP));
            text.push('\n');
        }
    }
    text
}

fn targets_text(targets: &[Target]) -> String {
    let name = |target: &Target| match (target.name.as_deref(), target.default) {
        (None, true) => "(default)".to_owned(),
        (Some(name), true) => format!("{name} (default)"),
        (name, false) => name.unwrap_or("").to_owned(),
    };
    let head = vec!["TARGET".to_owned(), "DESCRIPTION".to_owned()];
    let rows = targets
        .iter()
        .map(|target| [&name(target), &target.description].map(|cell| one_line(cell).into_owned()).into());
    spaced(&std::iter::once(head).chain(rows).collect::<Vec<_>>(), 0, TARGETS_GAP)
}
