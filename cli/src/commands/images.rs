//! `images`.

use super::listing_format::{asked, format};
use crate::{
    app::App,
    args::ImagesArgs,
    error::CliError,
    options::detail,
    shown::one_line,
    streams::{answer, print},
    table::{Column, Listing, spaced},
};
use rbuild::{Engine, ImageId, ImageSummary, Reference};
use rbuild_docker_api::{ImageFilter, ImageFilters, human_size_with, image_rows, names_image, with_tag};
use std::collections::BTreeSet;

pub(super) const COLUMNS: &[Column] = &[
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
    let digest = if args.digests { "digest: {{.Digest}}\n" } else { "" };
    let raw = format!(
        "repository: {{{{.Repository}}}}\ntag: {{{{.Tag}}}}\n{digest}image_id: {{{{.ID}}}}\ncreated_at: {{{{.CreatedAt}}}}\n\
         virtual_size: {{{{.Size}}}}"
    );
    let format = format(asked(app, args.format.as_deref(), "imagesFormat").as_deref(), &raw)?;
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
    let images = images.iter().filter(|image| filters.admits(image));
    if args.tree {
        return print(&tree(&engine, images, shown)?);
    }
    let rows = images.flat_map(|image| image_rows(image, shown, detail(args.no_trunc), now));
    let columns: &[_] = if args.digests {
        &["Repository", "Tag", "Digest", "ID", "CreatedSince", "Size"]
    } else {
        &["Repository", "Tag", "ID", "CreatedSince", "Size"]
    };
    let listing = Listing::of(COLUMNS, columns, rows);
    answer(&if args.quiet && args.format.is_none() { listing.ids() } else { listing.render(&format)? })
}

/// Images by all of their names, and below each those for its platforms, as docker's tree has them.
fn tree<'a>(
    engine: &Engine,
    images: impl Iterator<Item = &'a ImageSummary>,
    shown: impl Fn(Option<&Reference>) -> bool,
) -> Result<String, CliError> {
    let used: BTreeSet<ImageId> = engine.containers()?.iter().map(|container| container.image_id).collect();
    let line = |name: String, id: &ImageId, size: u64, is_used: bool| {
        let short = id.as_digest().hex()[..12].to_owned();
        let mark = if is_used { "U" } else { "" };
        vec![name, short, human_size_with(size, 3), mark.to_owned()]
    };
    let mut rows = vec![["IMAGE", "ID", "DISK USAGE", "EXTRA"].map(str::to_owned).to_vec()];
    for image in images {
        let mut names: Vec<String> =
            image.names.iter().filter(|name| shown(Some(name))).map(with_tag).collect();
        if image.names.is_empty() && shown(None) {
            names.push("<untagged>".to_owned());
        }
        let Some(last) = names.pop() else { continue };
        let parts = engine.image_parts(&image.id)?;
        let is_used = used.contains(&image.id) || parts.iter().any(|part| used.contains(&part.id));
        rows.extend(names.into_iter().map(|name| vec![name]));
        rows.push(line(last, &image.id, image.size, is_used));
        for (at, part) in parts.iter().enumerate() {
            let branch = if at + 1 == parts.len() { "└─" } else { "├─" };
            let name = format!("{branch} {}", one_line(&part.platform.to_string()));
            rows.push(line(name, &part.id, part.size, used.contains(&part.id)));
        }
        rows.push(vec![String::new()]);
    }
    rows.truncate(rows.len().max(2) - 1);
    let text = spaced(&rows, 10, 3);
    Ok(text.lines().map(|line| format!("{}\n", line.trim_end())).collect())
}
