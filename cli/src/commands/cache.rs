//! The parts of the build cache: `buildx du`, and what a prune of it has removed.

use crate::{
    app::App,
    args::DuArgs,
    error::CliError,
    streams::{Answer, answer, print},
    table::{Column, Format, Listing, aligned, spaced},
};
use rbuild::{CacheEntry, Timestamp};
use rbuild_docker_api::{CacheFilter, CacheRow, Detail, cache_totals, human_size};

const COLUMNS: &[Column] = &[
    Column { field: "CacheType", heading: "CACHE TYPE" },
    Column { field: "CreatedAt", heading: "CREATED AT" },
    Column { field: "CreatedSince", heading: "CREATED" },
    Column { field: "Description", heading: "DESCRIPTION" },
    Column { field: "ID", heading: "CACHE ID" },
    Column { field: "InUse", heading: "IN USE" },
    Column { field: "LastUsedAt", heading: "LAST USED AT" },
    Column { field: "LastUsedSince", heading: "LAST USED" },
    Column { field: "Mutable", heading: "MUTABLE" },
    Column { field: "Parents", heading: "PARENTS" },
    Column { field: "Reclaimable", heading: "RECLAIMABLE" },
    Column { field: "Shared", heading: "SHARED" },
    Column { field: "Size", heading: "SIZE" },
    Column { field: "UsageCount", heading: "USAGE" },
];

/// Shows the parts of the cache, the largest first.
pub(super) fn disk_usage(app: &App, args: &DuArgs) -> Result<(), CliError> {
    let now = app.environment.now;
    let filter = CacheFilter::parse(&args.filter, now)?;
    let mut entries = app.engine()?.cache_entries()?;
    entries.retain(|entry| filter.admits(entry));
    entries.sort_by(|a, b| (b.size, &a.id).cmp(&(a.size, &b.id)));
    if args.format.is_some() {
        let format = Format::parse(args.format.as_deref())?;
        return answer(&rows(&entries, now, &format)?);
    }
    let parts = if args.verbose { details(&entries, now) } else { table(&entries, now) };
    let totals = cache_totals(&entries).map(|(name, bytes)| vec![format!("{name}:"), human_size(bytes)]);
    print(&format!("{parts}{}", spaced(&totals, 8, 2)))
}

/// All fields of each part, for a table of `df -v` and for `--format`.
pub(super) fn rows(entries: &[CacheEntry], now: Timestamp, format: &Format) -> Result<Answer, CliError> {
    let shown = ["ID", "CacheType", "Size", "CreatedSince", "LastUsedSince", "InUse", "Shared"];
    let rows = entries.iter().map(|entry| CacheRow::new(entry, Detail::Short, now));
    Listing::of(COLUMNS, &shown, rows).render(format)
}

/// The table of `buildx`.
pub(super) fn table(entries: &[CacheEntry], now: Timestamp) -> String {
    let head = ["ID", "RECLAIMABLE", "SIZE", "LAST ACCESSED"].map(str::to_owned).to_vec();
    let row = |entry: &CacheEntry| {
        let CacheRow { id, reclaimable, size, last_used_since, .. } = CacheRow::new(entry, Detail::Full, now);
        vec![id, reclaimable, size, last_used_since]
    };
    aligned(&std::iter::once(head).chain(entries.iter().map(row)).collect::<Vec<_>>())
}

/// The ids, a line each, under a heading, as `docker builder prune` has them.
pub(super) fn summary(entries: &[CacheEntry], _: Timestamp) -> String {
    if entries.is_empty() {
        return String::new();
    }
    let ids: String = entries.iter().map(|entry| format!("{}\n", entry.id)).collect();
    format!("Deleted build cache objects:\n{ids}\n")
}

/// Everything about each part, as `--verbose` of `buildx` shows it.
pub(super) fn details(entries: &[CacheEntry], now: Timestamp) -> String {
    let one = |entry: &CacheEntry| {
        let row = CacheRow::new(entry, Detail::Full, now);
        let lines = [
            ("ID", row.id),
            ("Parents", row.parents),
            ("Created at", row.created_at),
            ("Mutable", row.mutable),
            ("Reclaimable", row.reclaimable),
            ("Shared", row.shared),
            ("Size", row.size),
            ("Description", row.description),
            ("Last used", row.last_used_since),
            ("Type", row.cache_type),
        ];
        let told = lines.into_iter().filter(|(_, value)| !value.is_empty());
        let lines: Vec<Vec<String>> = told.map(|(name, value)| vec![format!("{name}:"), value]).collect();
        format!("{}\n", spaced(&lines, 16, 1))
    };
    entries.iter().map(one).collect()
}
