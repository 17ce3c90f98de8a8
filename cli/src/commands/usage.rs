//! `df`.

use crate::{
    app::App,
    args::DfArgs,
    error::CliError,
    options::refuse,
    table::{Column, Format, Listing, human_size},
    working::print,
};
use rbuild::UsageLine;
use serde_json::{Map, Value};

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
    let rows = app.engine()?.usage()?.iter().map(row).collect();
    let shown = vec!["Type", "TotalCount", "Active", "Size", "Reclaimable"];
    print(&Listing { columns: COLUMNS, shown, rows }.render(&format)?)
}

fn row(line: &UsageLine) -> Map<String, Value> {
    let reclaimable = human_size(line.reclaimable);
    let share = match line.size {
        0 => String::new(),
        size => format!(" ({}%)", u128::from(line.reclaimable) * 100 / u128::from(size)),
    };
    let fields = [
        ("Active", line.active.to_string()),
        ("Reclaimable", format!("{reclaimable}{share}")),
        ("Size", human_size(line.size)),
        ("TotalCount", line.total.to_string()),
        ("Type", line.kind.to_owned()),
    ];
    fields.into_iter().map(|(field, value)| (field.to_owned(), Value::from(value))).collect()
}
