//! `images`.

use crate::{
    app::App,
    args::ImagesArgs,
    error::{CliError, UsageError},
    glob,
    table::{Column, Format, Listing, ago, human_size, human_size_with, local_style},
    working::print,
};
use rbuild::{Engine, ImageSummary};
use rbuild_oci::{Reference, Timestamp};
use serde_json::{Map, Value};

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

const NONE: &str = "<none>";

/// Lists images.
pub(super) fn images(app: &App, args: &ImagesArgs) -> Result<(), CliError> {
    let format = Format::parse(args.format.as_deref())?;
    let engine = app.engine()?;
    let filters =
        args.filter.iter().map(|text| Filter::parse(text, &engine)).collect::<Result<Vec<_>, _>>()?;
    let mut rows = Vec::new();
    for image in engine.images()? {
        if !filters.iter().all(|filter| filter.admits(&image)) {
            continue;
        }
        rows.extend(image_rows(&image, args, app.environment.now));
    }
    if args.quiet && args.format.is_none() {
        let ids: String = rows.iter().map(|row| format!("{}\n", crate::table::text(row, "ID"))).collect();
        return print(&ids);
    }
    let shown = if args.digests {
        vec!["Repository", "Tag", "Digest", "ID", "CreatedSince", "Size"]
    } else {
        vec!["Repository", "Tag", "ID", "CreatedSince", "Size"]
    };
    print(&Listing { columns: COLUMNS, shown, rows }.render(&format)?)
}

/// One row for each name that fits; one without a name for an image that has none.
fn image_rows(image: &ImageSummary, args: &ImagesArgs, now: Timestamp) -> Vec<Map<String, Value>> {
    let fits = |name: &&Reference| args.pattern.as_deref().is_none_or(|pattern| names_image(pattern, name));
    let named: Vec<&Reference> = image.names.iter().filter(fits).collect();
    if image.names.is_empty() && args.pattern.is_none() {
        return vec![row(image, None, args, now)];
    }
    named.into_iter().map(|name| row(image, Some(name), args, now)).collect()
}

fn row(
    image: &ImageSummary,
    name: Option<&Reference>,
    args: &ImagesArgs,
    now: Timestamp,
) -> Map<String, Value> {
    let digest = name.and_then(|name| image.digests.iter().find(|(of, _)| of == name));
    let id = if args.no_trunc { image.id.to_string() } else { image.id.as_digest().hex()[..12].to_owned() };
    let fields = [
        ("Containers", "N/A".to_owned()),
        ("CreatedAt", local_style(image.created)),
        ("CreatedSince", ago(image.created, now)),
        ("Digest", digest.map_or_else(|| NONE.to_owned(), |(_, digest)| digest.to_string())),
        ("ID", id),
        ("Repository", name.map_or_else(|| NONE.to_owned(), Reference::familiar_repository)),
        ("SharedSize", "N/A".to_owned()),
        ("Size", human_size_with(image.size, 3)),
        ("Tag", name.and_then(Reference::tag).unwrap_or(NONE).to_owned()),
        ("UniqueSize", "N/A".to_owned()),
        ("VirtualSize", human_size(image.size)),
    ];
    fields.into_iter().map(|(field, value)| (field.to_owned(), Value::from(value))).collect()
}

/// Whether `pattern` names `reference`: by repository, or by repository and tag.
fn names_image(pattern: &str, reference: &Reference) -> bool {
    let with_tag = reference.tag().map(|tag| format!("{}:{tag}", reference.familiar_repository()));
    with_tag.is_some_and(|text| glob::matches(pattern, &text))
        || glob::matches(pattern, &reference.familiar())
        || glob::matches(pattern, &reference.familiar_repository())
        // `docker.io/library/debian` and `debian` are the same question
        || pattern.parse::<Reference>().is_ok_and(|asked| {
            asked.domain() == reference.domain()
                && asked.path() == reference.path()
                && (asked.tag() == reference.tag() || !pattern.rsplit('/').next().unwrap_or_default().contains(':'))
        })
}

/// What `--filter` lets through.
#[derive(Debug)]
enum Filter {
    Dangling(bool),
    Label(String, Option<String>),
    Reference(String),
    Before(Option<Timestamp>),
    Since(Option<Timestamp>),
}

impl Filter {
    fn parse(text: &str, engine: &Engine) -> Result<Self, CliError> {
        let Some((name, value)) = text.split_once('=') else {
            return Err(UsageError::new(format!(
                "invalid argument {text:?} for \"-f, --filter\" flag: invalid filter '{text}'"
            ))
            .into());
        };
        let created = || Ok::<_, CliError>(engine.image(value)?.config.created);
        match name {
            "dangling" => match value {
                "true" | "1" => Ok(Self::Dangling(true)),
                "false" | "0" => Ok(Self::Dangling(false)),
                _ => Err(UsageError::new(format!("invalid filter 'dangling=[{value}]'")).into()),
            },
            "label" => {
                let (name, value) =
                    value.split_once('=').map_or((value, None), |(name, value)| (name, Some(value)));
                Ok(Self::Label(name.to_owned(), value.map(str::to_owned)))
            }
            "reference" => Ok(Self::Reference(value.to_owned())),
            "before" => Ok(Self::Before(created()?)),
            "since" => Ok(Self::Since(created()?)),
            "until" => Err(UsageError::unsupported("--filter until").into()),
            other => Err(UsageError::new(format!("invalid filter '{other}'")).into()),
        }
    }

    fn admits(&self, image: &ImageSummary) -> bool {
        match self {
            Self::Dangling(wanted) => image.names.is_empty() == *wanted,
            Self::Label(name, value) => {
                image.labels.get(name).is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
            }
            Self::Reference(pattern) => image.names.iter().any(|name| names_image(pattern, name)),
            Self::Before(moment) => image.created < *moment,
            Self::Since(moment) => image.created > *moment,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_as_people_ask_for_them() {
        let name = |text: &str| text.parse::<Reference>().unwrap();
        for (pattern, reference, expected) in [
            ("debian", "debian:12", true),
            ("debian:12", "debian:12", true),
            ("debian:11", "debian:12", false),
            ("deb*", "debian:12", true),
            ("*:12", "debian:12", true),
            ("docker.io/library/debian", "debian:12", true),
            ("me/*", "me/app", true),
            ("r.example:5000/a", "r.example:5000/a:1", true),
            ("a", "r.example:5000/a:1", false),
        ] {
            assert_eq!(names_image(pattern, &name(reference)), expected, "{pattern} {reference}");
        }
    }

    #[test]
    fn a_row_has_docker_s_fields() {
        let id = "sha256:ed94c19508b905342b334d3f7dc2c349ffcbfdd1e2a952cc29ba958224a71f36";
        let image = ImageSummary {
            id: id.parse().unwrap(),
            names: vec!["debian:12".parse().unwrap()],
            digests: Vec::new(),
            created: "2026-11-21T10:48:38.69Z".parse().ok(),
            size: 173_313_053,
            labels: std::collections::BTreeMap::new(),
        };
        let args = <crate::args::Cli as clap::Parser>::parse_from(["rbuild", "images"]);
        let crate::args::Command::Images(args) = args.command else { panic!("not images") };
        let rows = image_rows(&image, &args, "2026-11-21T11:18:00Z".parse().unwrap());
        assert_eq!(
            crate::template::to_json(&Value::Object(rows[0].clone())),
            r#"{"Containers":"N/A","CreatedAt":"2026-11-21 10:48:38 +0000 UTC","CreatedSince":"29 minutes ago","Digest":"\u003cnone\u003e","ID":"ed94c19508b9","Repository":"debian","SharedSize":"N/A","Size":"173MB","Tag":"12","UniqueSize":"N/A","VirtualSize":"173.3MB"}"#
        );
    }
}
