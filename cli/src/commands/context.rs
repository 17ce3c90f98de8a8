//! `context ls`.

use super::build::{look_elsewhere, settled};
use crate::{
    app::App,
    args::ContextLsArgs,
    error::{CliError, UsageError},
    streams::{Answer, answer},
    table::{Column, Format, Listing},
};
use rbuild::{ContextDecision, Error};
use rbuild_docker_api::{ContextRow, directory_rows};
use serde_json::json;

const COLUMNS: &[Column] = &[
    Column { field: "Files", heading: "FILES" },
    Column { field: "Kind", heading: "KIND" },
    Column { field: "Path", heading: "PATH" },
    Column { field: "Size", heading: "SIZE" },
];

/// Shows what is in a context, how large its directories are, or why a path is in it.
pub(super) fn list(app: &App, args: &ContextLsArgs) -> Result<(), CliError> {
    let mut options = settled(app, args.to_build())?;
    look_elsewhere(app, &mut options)?;
    let engine = app.engine_with_registries(options.certificates)?;
    let failed = |error: Error| CliError::Build(Box::new(error));
    if let Some(path) = &args.why {
        let decision = engine.context_decision(&options.request, path).map_err(failed)?;
        return answer(&match args.format.as_deref() {
            None | Some("" | "text") => Answer::Text(why(&decision)),
            Some("json") => Answer::Data(why_json(&decision)),
            Some(other) => {
                let message =
                    format!("invalid value {other:?} for --format with --why: must be text or json");
                return Err(UsageError::new(message).into());
            }
        });
    }
    let format = Format::parse(args.format.as_deref())?;
    let listing = engine.context_files(&options.request).map_err(failed)?;
    let (rows, shown): (Vec<ContextRow>, &[&str]) = if args.size {
        (directory_rows(&listing.files), &["Size", "Files", "Path"])
    } else {
        (listing.files.iter().map(ContextRow::new).collect(), &["Size", "Path"])
    };
    answer(&Listing::of(COLUMNS, shown, rows).render(&format)?)
}

/// One line that says what decided.
fn why(decision: &ContextDecision) -> String {
    let ContextDecision { path, exists, is_kept, ignore_file, pattern } = decision;
    let shown = if path.is_empty() { "." } else { path };
    let verdict = match (exists, is_kept) {
        (true, true) => "is in the context",
        (true, false) => "is left out of the context",
        (false, true) => "does not exist, and would be in the context",
        (false, false) => "does not exist, and would be left out of the context",
    };
    let reason = match (ignore_file, pattern) {
        (None, _) => "there is no ignore file".to_owned(),
        (Some(file), None) => format!("no pattern of {file} matches it"),
        (Some(file), Some(pattern)) if pattern.matched == *path => {
            format!("{file}:{}: {}", pattern.line, pattern.text)
        }
        (Some(file), Some(pattern)) => {
            format!("{file}:{}: {} (matches {})", pattern.line, pattern.text, pattern.matched)
        }
    };
    format!("{shown} {verdict}: {reason}\n")
}

fn why_json(decision: &ContextDecision) -> String {
    let pattern = decision.pattern.as_ref();
    let document = json!({
        "Path": decision.path,
        "Exists": decision.exists,
        "InContext": decision.is_kept,
        "IgnoreFile": decision.ignore_file,
        "Line": pattern.map(|pattern| pattern.line),
        "Pattern": pattern.map(|pattern| &pattern.text),
        "Matched": pattern.map(|pattern| &pattern.matched),
    });
    format!("{document}\n")
}
