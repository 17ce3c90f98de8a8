//! `tag` and `rmi`.

use crate::{
    app::App,
    args::{RmiArgs, TagArgs},
    error::{CliError, UsageError},
    exit,
    shown::Color,
    streams::print,
};
use rbuild::{Force, ParseError, RemovedImage};
use rbuild_docker_api::with_tag;

/// Gives an image another name.
pub(super) fn tag(app: &App, args: &TagArgs) -> Result<(), CliError> {
    let text = &args.target;
    let target = text.parse().map_err(|error| match error {
        ParseError::DigestGiven | ParseError::AmbiguousName => UsageError::new(format!("{error} ({text})")),
        error => UsageError::new(format!(
            "Error parsing reference: {text:?} is not a valid repository/tag: {error}"
        )),
    })?;
    Ok(app.engine()?.tag(&args.source, &target)?)
}

/// Removes images, and goes on after each that cannot be removed.
pub(super) fn remove_images(app: &App, args: &RmiArgs) -> Result<(), CliError> {
    let engine = app.engine()?;
    each(&args.images, force(args.force), app.environment.color(), |name| {
        let removed = engine.remove_image(name, force(args.force))?;
        let lines = removed.iter().map(|removed| match removed {
            RemovedImage::Untagged(reference) => format!("Untagged: {}\n", with_tag(reference)),
            RemovedImage::Deleted(id) => format!("Deleted: {id}\n"),
        });
        print(&lines.collect::<String>())
    })
}

/// Removes each name; reports every failure, and fails in the end if there was one. With force, what is not there is reported
/// too and is not a failure, as with Docker.
pub(super) fn each(
    names: &[String],
    force: Force,
    color: Color,
    mut act: impl FnMut(&str) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let mut code = 0;
    for name in names {
        if let Err(error) = act(name) {
            exit::report(&error, color);
            if force == Force::No || !is_absent(&error) {
                code = code.max(exit::code(&error));
            }
        }
    }
    if code == 0 { Ok(()) } else { Err(CliError::Reported { code }) }
}

fn is_absent(error: &CliError) -> bool {
    use rbuild::Error::{NoSuchContainer, NoSuchImage};
    matches!(error, CliError::Engine(NoSuchImage(_) | NoSuchContainer(_)))
}

/// The meaning of `--force`.
pub(super) fn force(flag: bool) -> Force {
    if flag { Force::Yes } else { Force::No }
}
