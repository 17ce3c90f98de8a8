//! `df`.

use crate::{
    app::App,
    args::DfArgs,
    error::CliError,
    options::refuse,
    streams::answer,
    table::{Column, Format, Listing},
};
use rbuild_docker_api::UsageRow;

const COLUMNS: &[Column] = &[
    Column { field: "Active", heading: "ACTIVE" },
    Column { field: "Reclaimable", heading: "RECLAIMABLE" },
    Column { field: "Size", heading: "SIZE" },
    Column { field: "TotalCount", heading: "TOTAL" },
    Column { field: "Type", heading: "TYPE" },
];

/// Shows what takes how much space.
pub(super) fn usage(app: &App, args: &DfArgs) -> Result<(), CliError> {
    refuse(&[("verbose", args.verbose)])?;
    let format = Format::parse(args.format.as_deref())?;
    let usage = app.engine()?.usage()?;
    let shown = ["Type", "TotalCount", "Active", "Size", "Reclaimable"];
    answer(&Listing::of(COLUMNS, &shown, usage.iter().map(UsageRow::from)).render(&format)?)
}
