//! `search`.

use crate::{
    app::App,
    args::SearchArgs,
    credentials::client_options,
    error::{CliError, UsageError},
    options::Certificates,
    streams::answer,
    table::{Column, Format, Listing},
    working::{style_for_people, work},
};
use rbuild::{FoundRepository, Reference, search_registry};
use serde::Serialize;

const COLUMNS: &[Column] = &[
    Column { field: "Name", heading: "NAME" },
    Column { field: "Description", heading: "DESCRIPTION" },
    Column { field: "StarCount", heading: "STARS" },
    Column { field: "IsOfficial", heading: "OFFICIAL" },
    Column { field: "IsAutomated", heading: "AUTOMATED" },
];

/// The longest description in a table, in characters.
const DESCRIPTION: usize = 45;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    description: String,
    is_automated: String,
    is_official: String,
    name: String,
    star_count: String,
}

/// What `--filter` admits.
#[derive(Default)]
struct Filters {
    official: Option<bool>,
    automated: Option<bool>,
    stars: u64,
}

/// Searches a registry.
pub(super) fn search(app: &App, args: &SearchArgs) -> Result<(), CliError> {
    if !(1..=100).contains(&args.limit) {
        let problem = format!("limit {} is outside the range of [1, 100]", args.limit);
        return Err(UsageError::new(problem).into());
    }
    let format = Format::parse(args.format.as_deref())?;
    let filters = Filters::parse(&args.filter)?;
    let (domain, term) = place(&args.term);
    if term.is_empty() {
        return Err(UsageError::new("a search needs a term").into());
    }
    let options = client_options(&app.environment, Certificates::from_flag(args.tls_verify))?;
    let style = style_for_people(&app.environment);
    let mut found =
        work(style, async |events| search_registry(options, (&domain, &term), args.limit, events).await)?;
    found.retain(|repository| filters.admit(repository));
    found.sort_by_key(|repository| std::cmp::Reverse(repository.star_count));
    let rows = found.into_iter().map(|repository| row(repository, &domain, args.no_trunc));
    let listing = Listing::of(COLUMNS, &["Name", "Description", "StarCount", "IsOfficial"], rows);
    answer(&listing.render(&format)?)
}

/// The registry, which may stand in front of the term as it does in an image's name, and the term.
fn place(written: &str) -> (String, String) {
    let (host, term) = written.split_once('/').unwrap_or(("", written));
    match format!("{host}/x").parse::<Reference>() {
        Ok(name) if !host.is_empty() && name.path() == "x" => (name.domain().to_owned(), term.to_owned()),
        Ok(name) if name.domain() != "docker.io" => (name.domain().to_owned(), term.to_owned()),
        Ok(_) | Err(_) if ["docker.io", "index.docker.io"].contains(&host) => {
            ("docker.io".to_owned(), term.to_owned())
        }
        Ok(_) | Err(_) => ("docker.io".to_owned(), written.to_owned()),
    }
}

fn row(found: FoundRepository, domain: &str, whole: bool) -> Row {
    let ok = |is: bool| if is { "[OK]".to_owned() } else { String::new() };
    let description: String = found.description.split(['\n', '\r']).collect::<Vec<_>>().join(" ");
    let name = if domain == "docker.io" { found.name } else { format!("{domain}/{}", found.name) };
    Row {
        description: if whole { description } else { shortened(&description) },
        is_automated: ok(found.is_automated),
        is_official: ok(found.is_official),
        name,
        star_count: found.star_count.to_string(),
    }
}

/// A text that fits into a table.
fn shortened(text: &str) -> String {
    if text.chars().count() <= DESCRIPTION {
        return text.to_owned();
    }
    text.chars().take(DESCRIPTION - 1).chain(['…']).collect()
}

impl Filters {
    fn parse(written: &[String]) -> Result<Self, CliError> {
        let mut filters = Self::default();
        for text in written {
            let invalid = || UsageError::new(format!("invalid filter '{text}'"));
            let (name, value) = text.split_once('=').ok_or_else(invalid)?;
            let truth = || match value {
                "true" | "1" => Ok(true),
                "false" | "0" => Ok(false),
                _ => Err(invalid()),
            };
            match name {
                "is-official" => filters.official = Some(truth()?),
                "is-automated" => filters.automated = Some(truth()?),
                "stars" => filters.stars = value.parse().map_err(|_| invalid())?,
                _ => return Err(invalid().into()),
            }
        }
        Ok(filters)
    }

    fn admit(&self, found: &FoundRepository) -> bool {
        self.official.is_none_or(|wanted| wanted == found.is_official)
            && self.automated.is_none_or(|wanted| wanted == found.is_automated)
            && found.star_count >= self.stars
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_may_stand_in_front_of_the_term() {
        let is = |written: &str, domain: &str, term: &str| {
            assert_eq!(place(written), (domain.to_owned(), term.to_owned()), "{written}");
        };
        is("alpine", "docker.io", "alpine");
        is("team/app", "docker.io", "team/app");
        is("quay.io/team/app", "quay.io", "team/app");
        is("127.0.0.1:5000/app", "127.0.0.1:5000", "app");
        is("docker.io/alpine", "docker.io", "alpine");
    }

    #[test]
    fn descriptions_fit_and_filters_admit() {
        assert_eq!(shortened(&"x".repeat(60)).chars().count(), DESCRIPTION);
        assert_eq!(shortened("ä"), "ä");
        let found = FoundRepository { star_count: 5, is_official: true, ..FoundRepository::default() };
        let admits = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            Filters::parse(&texts).unwrap().admit(&found)
        };
        assert!(admits(&[]) && admits(&["stars=5", "is-official=true"]));
        assert!(!admits(&["stars=6"]) && !admits(&["is-official=false"]));
        assert!(Filters::parse(&["color=red".to_owned()]).is_err());
    }
}
