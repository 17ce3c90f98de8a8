//! `history`.

use crate::{
    app::App,
    args::HistoryArgs,
    error::CliError,
    options::{detail, platform},
    streams::answer,
    table::{Column, Format, Listing},
};
use rbuild_docker_api::{HistoryRow, Sizes};

const COLUMNS: &[Column] = &[
    Column { field: "Comment", heading: "COMMENT" },
    Column { field: "CreatedAt", heading: "CREATED AT" },
    Column { field: "CreatedBy", heading: "CREATED BY" },
    Column { field: "CreatedSince", heading: "CREATED" },
    Column { field: "ID", heading: "IMAGE" },
    Column { field: "Size", heading: "SIZE" },
];

/// Shows how an image came to be.
pub(super) fn history(app: &App, args: &HistoryArgs) -> Result<(), CliError> {
    let platform = platform(args.platform.as_deref())?;
    let format = Format::parse(args.format.as_deref())?;
    let lines = app.engine()?.history(&args.image, platform.as_ref())?;
    let sizes = if args.human { Sizes::Human } else { Sizes::Bytes };
    let rows =
        lines.iter().map(|line| HistoryRow::new(line, detail(args.no_trunc), sizes, app.environment.now));
    let created = if args.human { "CreatedSince" } else { "CreatedAt" };
    let listing = Listing::of(COLUMNS, &["ID", created, "CreatedBy", "Size", "Comment"], rows);
    answer(&if args.quiet && args.format.is_none() { listing.ids() } else { listing.render(&format)? })
}
