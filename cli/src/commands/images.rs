//! `images`.

use crate::{
    app::App,
    args::ImagesArgs,
    error::CliError,
    options::detail,
    streams::answer,
    table::{Column, Format, Listing},
};
use rbuild_docker_api::{ImageFilter, image_rows};

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
    let format = Format::parse(args.format.as_deref())?;
    let engine = app.engine()?;
    let filter = |text: &String| {
        let filter = ImageFilter::parse(text)?;
        Ok::<_, CliError>(filter.resolve(|image| engine.image(image).map(|image| image.config.created))?)
    };
    let filters = args.filter.iter().map(filter).collect::<Result<Vec<_>, _>>()?;
    let images = engine.images()?;
    let (pattern, now) = (args.pattern.as_deref().filter(|text| !text.is_empty()), app.environment.now);
    let rows = images
        .iter()
        .filter(|image| filters.iter().all(|filter| filter.admits(image)))
        .flat_map(|image| image_rows(image, pattern, detail(args.no_trunc), now));
    let shown: &[_] = if args.digests {
        &["Repository", "Tag", "Digest", "ID", "CreatedSince", "Size"]
    } else {
        &["Repository", "Tag", "ID", "CreatedSince", "Size"]
    };
    let listing = Listing::of(COLUMNS, shown, rows);
    answer(&if args.quiet && args.format.is_none() { listing.ids() } else { listing.render(&format)? })
}
