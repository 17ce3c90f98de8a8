//! `explain`: why the steps of a build ran.

use crate::{
    app::App,
    args::ExplainArgs,
    error::{CliError, UsageError},
    explanation,
    streams::{Answer, answer},
};
use rbuild::find_step;
use rbuild_docker_api::{CacheReport, StepInspect};
use serde_json::json;

/// Answers from the record of a build.
pub(super) fn explain(app: &App, args: &ExplainArgs) -> Result<(), CliError> {
    let as_json = match args.format.as_deref() {
        None | Some("text") => false,
        Some("json") => true,
        Some(other) => {
            return Err(UsageError::new(format!("invalid format {other:?}: give text or json")).into());
        }
    };
    let build = app.engine()?.find_build(&args.build)?;
    let Some(text) = &args.step else {
        return answer(&if as_json {
            Answer::Data(format!("{:#}\n", json!(CacheReport::from(&build))))
        } else {
            Answer::Text(explanation::text(&build))
        });
    };
    let no_number =
        || UsageError::new(format!("invalid step {text:?}: give its number, as builds inspect shows it"));
    let number: u32 = text.parse().map_err(|_| no_number())?;
    let step = find_step(&build, number)?;
    answer(&if as_json {
        Answer::Data(format!("{:#}\n", json!(StepInspect::from(step))))
    } else {
        Answer::Text(explanation::step_text(&build, step))
    })
}
