//! `images`.

use crate::{
    app::App,
    args::ImagesArgs,
    error::CliError,
    options::{detail, refuse},
    streams::answer,
    table::{Column, Format, Listing},
};
use rbuild::Reference;
use rbuild_docker_api::{ImageFilter, ImageFilters, image_rows, names_image};

const COLUMNS: &[Column] = &[
    Column { field: "Containers", heading: "CONTAINERS" },
    Column { field: "CreatedAt", heading: "CREATED AT" },
    Column { field: "CreatedSince", heading: "CREATED" },
    Column { field: "Digest", heading: "DIGEST" },
    Column { field: "ID", heading: "IMAGE ID" },
    Column { field: "Repository", heading: "REPOSITORY" },
    Column { field: "SharedSize", heading: "SHARED SIZE" },
    Column { field: "Size", heading: "SIZE" },
    Column { field: "Tag", heading: "TAG" },
    Column { field: "UniqueSize", heading: "UNIQUE SIZE" },
    Column { field: "VirtualSize", heading: "VIRTUAL SIZE" },
];

/// Lists images.
pub(super) fn images(app: &App, args: &ImagesArgs) -> Result<(), CliError> {
    refuse(&[("tree (rbuild image tree IMAGE shows the layers of an image)", args.tree)])?;
    let format = Format::parse(args.format.as_deref())?;
    let engine = app.engine()?;
    let now = app.environment.now;
    let filter = |text: &String| {
        let filter = ImageFilter::parse(text, now)?;
        Ok::<_, CliError>(filter.resolve(|image| engine.image(image).map(|image| image.config.created))?)
    };
    let filters = args.filter.iter().map(filter).collect::<Result<ImageFilters, _>>()?;
    let images = engine.images()?;
    let pattern = args.pattern.as_deref().filter(|text| !text.is_empty());
    let shown = |name: Option<&Reference>| match name {
        Some(name) => filters.names(name) && pattern.is_none_or(|pattern| names_image(pattern, name)),
        None => pattern.is_none(),
    };
    let rows = images
        .iter()
        .filter(|image| filters.admits(image))
        .flat_map(|image| image_rows(image, shown, detail(args.no_trunc), now));
    let columns: &[_] = if args.digests {
        &["Repository", "Tag", "Digest", "ID", "CreatedSince", "Size"]
    } else {
        &["Repository", "Tag", "ID", "CreatedSince", "Size"]
    };
    let listing = Listing::of(COLUMNS, columns, rows);
    answer(&if args.quiet && args.format.is_none() { listing.ids() } else { listing.render(&format)? })
}
