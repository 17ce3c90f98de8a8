//! `history`.

use crate::{
    app::App,
    args::HistoryArgs,
    error::CliError,
    table::{Column, Format, Listing, ago, human_size_with, shortened_command, text},
    working::print,
};
use rbuild::HistoryLine;
use rbuild_oci::Timestamp;
use serde_json::{Map, Value};

const COLUMNS: &[Column] = &[
    Column { field: "Comment", heading: "COMMENT" },
    Column { field: "CreatedAt", heading: "CREATED AT" },
    Column { field: "CreatedBy", heading: "CREATED BY" },
    Column { field: "CreatedSince", heading: "CREATED" },
    Column { field: "ID", heading: "IMAGE" },
    Column { field: "Size", heading: "SIZE" },
];

/// Characters of an instruction that are shown.
const INSTRUCTION_WIDTH: usize = 45;

/// Shows how an image came to be.
pub(super) fn history(app: &App, args: &HistoryArgs) -> Result<(), CliError> {
    let format = Format::parse(args.format.as_deref())?;
    let lines = app.engine()?.history(&args.image)?;
    let rows: Vec<_> = lines.iter().map(|line| row(line, args, app.environment.now)).collect();
    if args.quiet && args.format.is_none() {
        let ids: String = rows.iter().map(|row| format!("{}\n", text(row, "ID"))).collect();
        return print(&ids);
    }
    let created = if args.human { "CreatedSince" } else { "CreatedAt" };
    let shown = vec!["ID", created, "CreatedBy", "Size", "Comment"];
    print(&Listing { columns: COLUMNS, shown, rows }.render(&format)?)
}

fn row(line: &HistoryLine, args: &HistoryArgs, now: Timestamp) -> Map<String, Value> {
    let id = match &line.id {
        Some(id) if args.no_trunc => id.to_string(),
        Some(id) => id.as_digest().hex()[..12].to_owned(),
        None => "<missing>".to_owned(),
    };
    let by = if args.no_trunc {
        line.created_by.replace('\t', " ")
    } else {
        shortened_command(&line.created_by, INSTRUCTION_WIDTH)
    };
    // to the second, as Docker has it
    let at = line.created.and_then(|moment| Timestamp::from_seconds(moment.seconds()));
    let fields = [
        ("Comment", line.comment.clone()),
        ("CreatedAt", at.map_or_else(String::new, |moment| moment.to_string())),
        ("CreatedBy", by),
        ("CreatedSince", ago(line.created, now)),
        ("ID", id),
        ("Size", if args.human { human_size_with(line.size, 3) } else { line.size.to_string() }),
    ];
    fields.into_iter().map(|(field, value)| (field.to_owned(), Value::from(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[test]
    fn lines_are_docker_s() {
        let line = HistoryLine {
            id: None,
            created: "2026-11-21T10:00:00.5Z".parse().ok(),
            created_by: "RUN /bin/sh -c apt-get update && apt-get install -y build-essential # buildkit"
                .to_owned(),
            size: 1_984_000,
            comment: "buildkit.dockerfile.v0".to_owned(),
        };
        let shown = |words: &[&str]| {
            let cli = crate::args::Cli::parse_from(["rbuild", "history", "x"].iter().chain(words));
            let crate::args::Command::History(args) = cli.command else { panic!("not history") };
            let row = row(&line, &args, "2026-11-21T13:00:00Z".parse().unwrap());
            ["ID", "CreatedSince", "CreatedAt", "CreatedBy", "Size"].map(|field| text(&row, field).to_owned())
        };
        assert_eq!(
            shown(&[]),
            [
                "<missing>",
                "3 hours ago",
                "2026-11-21T10:00:00Z",
                "RUN /bin/sh -c apt-get update && apt-get ins…",
                "1.98MB"
            ]
        );
        assert_eq!(shown(&["-H=false", "--no-trunc"])[4], "1984000");
        assert!(shown(&["--no-trunc"])[3].ends_with("# buildkit"));
    }
}
