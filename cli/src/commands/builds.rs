//! `builds`: what is remembered of builds.

use super::build_logs;
use crate::{
    app::App,
    args::{BuildsCommand, BuildsInspectArgs, BuildsLsArgs},
    build_report,
    error::CliError,
    options::detail,
    streams::{Answer, answer},
    table::{Column, Format, Listing},
    template::Template,
};
use rbuild_docker_api::{BuildFilter, BuildInspect, BuildRow};
use serde_json::json;

const COLUMNS: &[Column] = &[
    Column { field: "CachedSteps", heading: "CACHED STEPS" },
    Column { field: "CompletedAt", heading: "COMPLETED AT" },
    Column { field: "CompletedSteps", heading: "COMPLETED STEPS" },
    Column { field: "CreatedAt", heading: "CREATED AT" },
    Column { field: "CreatedSince", heading: "CREATED" },
    Column { field: "Duration", heading: "DURATION" },
    Column { field: "ID", heading: "BUILD ID" },
    Column { field: "Name", heading: "NAME" },
    Column { field: "Ref", heading: "REF" },
    Column { field: "Status", heading: "STATUS" },
    Column { field: "TotalSteps", heading: "TOTAL STEPS" },
];

/// Does what `command` says.
pub(super) fn builds(app: &App, command: &BuildsCommand) -> Result<(), CliError> {
    match command {
        BuildsCommand::Ls(args) => list(app, args),
        BuildsCommand::Inspect(args) => inspect(app, args),
        BuildsCommand::Logs(args) => build_logs::logs(app, args),
    }
}

fn list(app: &App, args: &BuildsLsArgs) -> Result<(), CliError> {
    let format = Format::parse(args.format.as_deref())?;
    let filters = args.filter.iter().map(|text| BuildFilter::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let builds = app.engine()?.builds()?;
    let rows = builds
        .iter()
        .filter(|build| filters.iter().all(|filter| filter.admits(build)))
        .map(|build| BuildRow::new(build, detail(args.no_trunc), app.environment.now));
    let listing = Listing::of(COLUMNS, &["ID", "Name", "Status", "CreatedSince", "Duration"], rows);
    answer(&if args.quiet && args.format.is_none() { listing.ids() } else { listing.render(&format)? })
}

fn inspect(app: &App, args: &BuildsInspectArgs) -> Result<(), CliError> {
    let template = match args.format.as_deref() {
        None | Some("") => None,
        Some("json") => Some(Template::parse("{{json .}}")?),
        Some(text) => Some(Template::parse(text)?),
    };
    let build = app.engine()?.find_build(&args.build)?;
    answer(&match template {
        None => Answer::Text(build_report::text(&build)),
        Some(template) => Answer::Data(format!("{}\n", template.render(&json!(BuildInspect::from(&build)))?)),
    })
}
