//! `tag` and `rmi`.

use crate::{
    app::App,
    args::{RmiArgs, TagArgs},
    error::{CliError, UsageError},
    exit,
    options::platforms,
    shown::Color,
    streams::print,
};
use rbuild::{Engine, Force, ParseError, RemovedImage};
use rbuild_docker_api::{names_image, with_tag};
use std::thread;

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
    let platforms = platforms(&args.platform)?;
    let engine = app.engine()?;
    each(&named(&engine, &args.images)?, force(args.force), app.environment.color(), |name| {
        let removed = match platforms.as_slice() {
            [] => engine.remove_image(name, force(args.force))?,
            platforms => engine.remove_image_platforms(name, platforms, force(args.force))?,
        };
        let lines = removed.iter().map(|removed| match removed {
            RemovedImage::Untagged(reference) => format!("Untagged: {}\n", with_tag(reference)),
            RemovedImage::Deleted(id) => format!("Deleted: {id}\n"),
        });
        print(&lines.collect::<String>())
    })
}

/// The names that are asked for: a pattern stands for every name that it fits, and for itself when it fits none.
fn named(engine: &Engine, asked: &[String]) -> Result<Vec<String>, CliError> {
    let is_pattern = |text: &String| text.contains(['*', '?', '[']);
    if !asked.iter().any(is_pattern) {
        return Ok(asked.to_vec());
    }
    let images = engine.images()?;
    let mut names = Vec::new();
    for text in asked {
        let all = images.iter().flat_map(|image| &image.names);
        let mut fitting: Vec<String> = if is_pattern(text) {
            all.filter(|name| names_image(text, name)).map(with_tag).collect()
        } else {
            Vec::new()
        };
        fitting.sort();
        if fitting.is_empty() {
            fitting.push(text.clone());
        }
        fitting.retain(|name| !names.contains(name));
        names.extend(fitting);
    }
    Ok(names)
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

/// Acts on so many containers at the same time at most, as docker's client does.
const AT_ONCE: usize = 50;

/// The same for containers that are waited for: all of them at the same time. Prints the name of each that went well, in their order.
pub(super) fn together(
    names: &[String],
    force: Force,
    color: Color,
    act: impl Fn(&str) -> Result<(), CliError> + Sync,
) -> Result<(), CliError> {
    let act = &act;
    // what is named twice is acted on twice, one time after the other
    let mut rest: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut done = Ok(());
    while !rest.is_empty() {
        let mut turn: Vec<&str> = Vec::new();
        while turn.len() < AT_ONCE && rest.first().is_some_and(|name| !turn.contains(name)) {
            turn.push(rest.remove(0));
        }
        let ended = thread::scope(|scope| {
            let acting: Vec<_> = turn.iter().map(|name| (*name, scope.spawn(move || act(name)))).collect();
            let mut ended = acting.into_iter().map(|(name, thread)| {
                let result = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                (name.to_owned(), result)
            });
            let names: Vec<String> = turn.iter().map(|name| (*name).to_owned()).collect();
            each(&names, force, color, |_| {
                let (name, result) = ended.next().expect("one for each name");
                result.and_then(|()| print(&format!("{name}\n")))
            })
        });
        done = done.and(ended);
    }
    done
}

fn is_absent(error: &CliError) -> bool {
    use rbuild::Error::{NoSuchContainer, NoSuchImage};
    matches!(error, CliError::Engine(NoSuchImage(_) | NoSuchContainer(_)))
}

/// The meaning of `--force`.
pub(super) fn force(flag: bool) -> Force {
    if flag { Force::Yes } else { Force::No }
}
