//! `build` with `--check` or `--call`: answers about a Dockerfile, in Docker's form.

use crate::{
    app::App,
    error::CliError,
    options::{BuildOptions, Call, CallFormat, CallOptions, FindingsStatus},
    table::spaced,
    working::print,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rbuild::{BuildRequest, Checked, Engine, Finding, MountOutline, Outline, Target};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// Answers `call`.
pub(super) fn answer(app: &App, options: &BuildOptions, call: CallOptions) -> Result<(), CliError> {
    let (engine, configuration) = app.configured_engine(options.certificates, 1)?;
    let mut request = options.request.clone();
    configuration.proxies.add_to(&mut request.build_args);
    match call.call {
        Call::Check => check_and_tell(&engine, &request, call),
        Call::Outline => {
            let outline = engine.outline(&request).map_err(failed)?;
            print(&match call.format {
                CallFormat::Text => outline_text(&outline),
                CallFormat::Json => pretty(&outline_json(&outline)),
            })
        }
        Call::Targets => {
            let (targets, file) = engine.targets(&request).map_err(failed)?;
            print(&match call.format {
                CallFormat::Text => targets_text(&targets),
                CallFormat::Json => pretty(&targets_json(&targets, &file)),
            })
        }
    }
}

fn failed(error: rbuild::Error) -> CliError {
    CliError::Build(Box::new(error))
}

/// The failure of a check as Docker tells it: first the message, then the place.
fn unbuildable(error: &rbuild::Error) -> CliError {
    let excerpt = error.diagnostic().map(|diagnostic| diagnostic.excerpt.trim_end()).unwrap_or_default();
    let lines: Vec<String> = [message(error).as_str(), excerpt]
        .iter()
        .filter(|part| !part.is_empty())
        .map(|part| (*part).to_owned())
        .collect();
    CliError::Unbuildable(lines.join("\n"))
}

/// An error with its causes.
fn message(error: &rbuild::Error) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        if text.contains(&cause) { text } else { format!("{text}: {cause}") }
    })
}

fn check_and_tell(engine: &Engine, request: &BuildRequest, call: CallOptions) -> Result<(), CliError> {
    let checked = engine.check(request).map_err(failed)?;
    print(&match call.format {
        CallFormat::Text => checked_text(&checked),
        CallFormat::Json => pretty(&checked_json(&checked)),
    })?;
    match (checked.failure, checked.findings.is_empty(), call.status) {
        (Some(error), _, _) => Err(unbuildable(&error)),
        (None, true, _) | (None, false, FindingsStatus::Ignored) => Ok(()),
        (None, false, FindingsStatus::Fails) => Err(CliError::Told),
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

fn checked_json(checked: &Checked) -> Value {
    let warning = |finding: &Finding| {
        let mut warning = Map::new();
        warning.insert("ruleName".to_owned(), finding.rule.as_str().into());
        warning.insert("description".to_owned(), finding.description.into());
        if let Some(url) = &finding.url {
            warning.insert("url".to_owned(), url.as_str().into());
        }
        warning.insert("detail".to_owned(), finding.message.as_str().into());
        warning.insert("location".to_owned(), location(finding.lines));
        Value::Object(warning)
    };
    let source = json!({
        "filename": checked.file, "data": STANDARD.encode(&checked.text), "language": "Dockerfile"
    });
    let warnings: Vec<Value> = checked.findings.iter().map(warning).collect();
    // no list is null, as Go writes it
    let warnings = if warnings.is_empty() { Value::Null } else { warnings.into() };
    let mut whole = json!({"warnings": warnings, "sources": [source]});
    if let Some(error) = &checked.failure {
        let location = checked.failure_lines.map_or_else(|| json!({}), location);
        whole["buildError"] = json!({"message": message(error), "location": location});
    }
    whole
}

/// A range a line, as Docker has it.
fn location((first, last): (usize, usize)) -> Value {
    let range = |line: usize| json!({"start": {"line": line}, "end": {"line": line}});
    json!({"ranges": (first..=last).map(range).collect::<Vec<_>>()})
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// Blanks between the columns of an outline's tables.
const OUTLINE_GAP: usize = 3;
/// Blanks between the columns of the table of targets.
const TARGETS_GAP: usize = 1;

fn outline_text(outline: &Outline) -> String {
    let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
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

fn outline_json(outline: &Outline) -> Value {
    let mut whole = Object::default();
    whole.text("name", outline.name.as_deref().unwrap_or(""));
    whole.text("description", &outline.description);
    let argument = |argument: &rbuild::ArgumentOutline| {
        let mut object = Object::default();
        object.text("name", &argument.name);
        object.text("description", &argument.description);
        object.text("value", argument.value.as_deref().unwrap_or(""));
        object.0.insert("location".to_owned(), location(argument.lines));
        Value::Object(object.0)
    };
    let mount = |mount: &MountOutline| {
        let mut object = Object::default();
        object.text("name", &mount.id);
        if mount.required {
            object.0.insert("required".to_owned(), true.into());
        }
        object.0.insert("location".to_owned(), location(mount.lines));
        Value::Object(object.0)
    };
    whole.list("args", outline.arguments.iter().map(argument).collect());
    whole.list("secrets", outline.secrets.iter().map(mount).collect());
    whole.list("ssh", outline.agents.iter().map(mount).collect());
    whole.list("sources", vec![STANDARD.encode(&outline.text).into()]);
    Value::Object(whole.0)
}

fn targets_text(targets: &[Target]) -> String {
    let name = |target: &Target| match (target.name.as_deref(), target.default) {
        (None, true) => "(default)".to_owned(),
        (Some(name), true) => format!("{name} (default)"),
        (name, false) => name.unwrap_or("").to_owned(),
    };
    let head = vec!["TARGET".to_owned(), "DESCRIPTION".to_owned()];
    let rows = targets.iter().map(|target| vec![name(target), target.description.clone()]);
    spaced(&std::iter::once(head).chain(rows).collect::<Vec<_>>(), 0, TARGETS_GAP)
}

fn targets_json(targets: &[Target], file: &[u8]) -> Value {
    let target = |target: &Target| {
        let mut object = Object::default();
        object.text("name", target.name.as_deref().unwrap_or(""));
        if target.default {
            object.0.insert("default".to_owned(), true.into());
        }
        object.text("description", &target.description);
        object.text("base", &target.base);
        object.text("platform", target.platform.as_deref().unwrap_or(""));
        object.0.insert("location".to_owned(), location(target.lines));
        Value::Object(object.0)
    };
    let targets: Vec<Value> = targets.iter().map(target).collect();
    json!({"targets": targets, "sources": [STANDARD.encode(file)]})
}

/// An object without its empty members, as Go's `omitempty` writes it.
#[derive(Default)]
struct Object(Map<String, Value>);

impl Object {
    fn text(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.0.insert(name.to_owned(), value.into());
        }
    }

    fn list(&mut self, name: &str, values: Vec<Value>) {
        if !values.is_empty() {
            self.0.insert(name.to_owned(), values.into());
        }
    }
}
