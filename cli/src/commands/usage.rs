//! `df`.

use super::{cache, containers, images, volumes};
use crate::{
    app::App,
    args::DfArgs,
    error::CliError,
    streams::{Answer, answer, print},
    table::{Column, Format, Listing},
    template::Template,
};
use rbuild_docker_api::{
    CacheRow, ContainerRow, Detail, ImageRow, Row, UsageRow, VolumeRow, human_size, image_rows,
};
use serde_json::json;

const COLUMNS: &[Column] = &[
    Column { field: "Active", heading: "ACTIVE" },
    Column { field: "Reclaimable", heading: "RECLAIMABLE" },
    Column { field: "Size", heading: "SIZE" },
    Column { field: "TotalCount", heading: "TOTAL" },
    Column { field: "Type", heading: "TYPE" },
];

/// Shows what takes how much space.
pub(super) fn usage(app: &App, args: &DfArgs) -> Result<(), CliError> {
    if args.verbose {
        return details(app, args.format.as_deref());
    }
    let format = Format::parse(args.format.as_deref())?;
    let usage = app.engine()?.usage()?;
    let shown = ["Type", "TotalCount", "Active", "Size", "Reclaimable"];
    answer(&Listing::of(COLUMNS, &shown, usage.iter().map(UsageRow::from)).render(&format)?)
}

/// Shows every image, container and part of the build cache; a template gets them all at once, as docker's does.
fn details(app: &App, format: Option<&str>) -> Result<(), CliError> {
    let (engine, now) = (app.engine()?, app.environment.now);
    let mut usage = engine.detailed_usage()?;
    usage.cache.sort_by(|a, b| b.last_used.cmp(&a.last_used).then_with(|| a.id.cmp(&b.id)));
    let images = engine.images()?;
    let image_rows: Vec<ImageRow<'_>> = images
        .iter()
        .filter_map(|image| Some((image, usage.images.iter().find(|usage| usage.id == image.id)?)))
        .flat_map(|(image, usage)| {
            image_rows(image, |_| true, Detail::Short, now).map(|row| row.with_usage(usage))
        })
        .collect();
    let container_rows: Vec<ContainerRow> = usage
        .containers
        .iter()
        .map(|(container, written)| {
            let row = containers::row(&engine, container, Detail::Short, now)?;
            Ok(ContainerRow { size: human_size(*written), ..row })
        })
        .collect::<Result<_, CliError>>()?;
    let volume_rows: Vec<VolumeRow> = usage
        .volumes
        .iter()
        .map(|usage| {
            let mountpoint = engine.volume_mountpoint(&usage.volume.name);
            VolumeRow::new(&usage.volume, &mountpoint).with_usage(usage)
        })
        .collect();
    match format.map(str::trim) {
        None | Some("" | "table") => {}
        Some(format) => {
            let parts = usage.cache.iter().map(|entry| CacheRow::new(entry, Detail::Short, now));
            let document = json!({
                "Images": image_rows.iter().map(Row::object).collect::<Vec<_>>(),
                "Containers": container_rows,
                "Volumes": volume_rows.iter().map(Row::object).collect::<Vec<_>>(),
                "BuildCache": parts.collect::<Vec<_>>(),
            });
            return match format {
                "json" | "{{json .}}" => answer(&Answer::Data(format!("{document}\n"))),
                template => answer(&Answer::Data(Template::parse(template)?.render(&document)? + "\n")),
            };
        }
    }
    let shown = ["Repository", "Tag", "ID", "CreatedSince", "Size", "SharedSize", "UniqueSize", "Containers"];
    let of_images = Listing::of(images::COLUMNS, &shown, image_rows).render(&Format::Table)?;
    let shown = ["ID", "Image", "Command", "LocalVolumes", "Size", "RunningFor", "Status", "Names"];
    let of_containers = Listing::of(containers::COLUMNS, &shown, container_rows).render(&Format::Table)?;
    print("Images space usage:\n\n")?;
    answer(&of_images)?;
    print("\nContainers space usage:\n\n")?;
    answer(&of_containers)?;
    print("\nLocal Volumes space usage:\n\n")?;
    answer(&Listing::of(volumes::COLUMNS, &["Name", "Links", "Size"], volume_rows).render(&Format::Table)?)?;
    print(&format!("\nBuild cache usage: {}\n\n", human_size(usage.cache_bytes)))?;
    answer(&cache::rows(&usage.cache, now, &Format::Table)?)
}
