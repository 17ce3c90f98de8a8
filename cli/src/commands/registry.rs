//! `pull` and `push`.

use crate::{
    app::App,
    args::{PullArgs, PushArgs},
    error::{CliError, UsageError},
    exit::warn,
    options::{Certificates, default_platform, packing, platform, reference, size},
    progress::Style,
    streams::print,
    working::{style_for_people, work},
};
use rbuild::{Engine, EventSink, ImageName, Platform, PullStatus, Pulled, Pushed, Reference};
use rbuild_docker_api::with_tag;

/// Fetches an image, or all that a repository has.
pub(super) fn pull(app: &App, args: &PullArgs) -> Result<(), CliError> {
    let name = reference(&args.name)?;
    if args.all_tags {
        repository_only(&name)?;
    }
    let platform = default_platform(args.platform.as_deref(), &app.environment)?;
    let limits = size::limits(&args.budget)?;
    let engine = app.engine_with_registries(Certificates::from_flag(args.registry.tls_verify))?;
    let engine = app.limited(engine, limits)?;
    let style = style(app, args.registry.quiet);
    if !args.all_tags {
        let asked = platform.clone();
        let pulled = work(style, async |events| engine.pull(&name, asked, events).await)?;
        warn_of_platform(&name, platform.as_ref(), &pulled);
        if args.registry.quiet {
            return print(&format!("{name}\n"));
        }
        let (digest, status) = (pulled.digest, status(&[pulled.status]));
        return print(&format!("Digest: {digest}\nStatus: {status} for {}\n{name}\n", with_tag(&name)));
    }
    let fetch_all = async |events: EventSink| {
        let mut fetched = Vec::new();
        for name in engine.remote_names(&name).await? {
            let pulled = engine.pull(name.as_reference(), platform.clone(), events.clone()).await?;
            fetched.push((name, pulled));
        }
        Ok::<_, rbuild::Error>(fetched)
    };
    let fetched = work(style, fetch_all)?;
    for (name, pulled) in &fetched {
        warn_of_platform(name.as_reference(), platform.as_ref(), pulled);
    }
    let repository = format!("{}/{}\n", name.domain(), name.path());
    if args.registry.quiet {
        return print(&repository);
    }
    let line = |(name, pulled): &(ImageName, Pulled)| format!("{}: digest: {}\n", name.tag(), pulled.digest);
    let lines: String = fetched.iter().map(line).collect();
    let statuses: Vec<PullStatus> = fetched.iter().map(|(_, pulled)| pulled.status).collect();
    let status = status(&statuses);
    print(&format!("{lines}Status: {status} for {}\n{repository}", name.familiar_repository()))
}

/// Warns, in Docker's words, of an image that is not for the platform that was asked for.
fn warn_of_platform(name: &Reference, asked: Option<&Platform>, pulled: &Pulled) {
    let found = &pulled.platform;
    if let Some(asked) = asked
        && found.distance(asked).is_none()
    {
        warn(&format!(
            "image with reference {} was found but its platform ({found}) does not match the specified platform ({asked})",
            with_tag(name)
        ));
    }
}

/// Docker's words for what became of the images that were asked for.
fn status(all: &[PullStatus]) -> &'static str {
    if all.contains(&PullStatus::Downloaded) { "Downloaded newer image" } else { "Image is up to date" }
}

/// Refuses a tag or digest beside `--all-tags`.
fn repository_only(name: &Reference) -> Result<(), UsageError> {
    if name.is_name_only() {
        return Ok(());
    }
    Err(UsageError::new("tag can't be used with --all-tags/-a"))
}

/// Sends an image, or all that a repository has here.
pub(super) fn push(app: &App, args: &PushArgs) -> Result<(), CliError> {
    let reference = reference(&args.name)?;
    if args.all_tags {
        repository_only(&reference)?;
    }
    let pushed_pin = |_| UsageError::new(format!("cannot push a digest reference ({})", args.name));
    let name = ImageName::new(reference.clone()).map_err(pushed_pin)?;
    let platform = platform(args.platform.as_deref())?;
    let level = args.compression_level.as_deref();
    let packing = packing(args.compression_format.as_deref(), level, args.force_compression)?;
    let engine = app.engine_with_registries(Certificates::from_flag(args.registry.tls_verify))?;
    let names = if args.all_tags { engine.names_in(&reference)? } else { vec![name.clone()] };
    if names.is_empty() {
        let name = reference.familiar_repository();
        return Err(UsageError::new(format!("an image does not exist locally with the tag: {name}")).into());
    }
    let send_all = async |events: EventSink| {
        let mut sent = Vec::with_capacity(names.len());
        for name in &names {
            let pushed = engine.push((name, platform.as_ref()), &packing, events.clone()).await?;
            sent.push((name, pushed));
        }
        Ok::<_, rbuild::Error>(sent)
    };
    let sent = match work(style(app, args.registry.quiet), send_all) {
        Err(CliError::Engine(missing @ rbuild::Error::NoSuchImage(_))) => {
            return Err(match under_another_name(&engine, &args.name, &name)? {
                Some(advice) => CliError::Refused(format!("{missing}: {advice}")),
                None => missing.into(),
            });
        }
        sent => sent?,
    };
    let repository = format!("{}/{}", reference.domain(), reference.path());
    if args.registry.quiet {
        return print(&if args.all_tags { format!("{repository}\n") } else { format!("{name}\n") });
    }
    let line = |(name, Pushed { digest, size }): &(&ImageName, Pushed)| {
        format!("{}: digest: {digest} size: {size}\n", name.tag())
    };
    let lines: String = sent.iter().map(line).collect();
    print(&format!("The push refers to repository [{repository}]\n{lines}"))
}

/// How to give an image the name `name`, which none has, if one is there that is probably meant by `typed`.
fn under_another_name(engine: &Engine, typed: &str, name: &ImageName) -> Result<Option<String>, CliError> {
    let short = name.as_reference().familiar();
    if engine.has_image(typed, None)? {
        return Ok(Some(format!(
            "it is the id of an image, and a push goes to a name: give it one with 'rbuild tag {typed} REGISTRY/NAME'"
        )));
    }
    let at_home = format!("{}:{}", name.as_reference().path(), name.tag());
    let there = match engine.has_image(&at_home, None)? {
        true => Some(at_home),
        false => engine.names_in(name.as_reference())?.first().map(|other| other.as_reference().familiar()),
    };
    Ok(there.map(|other| format!("name it so first with 'rbuild tag {other} {short}'")))
}

/// Fetches `name` for a command that needs it, saying so as Docker does.
pub(super) fn fetch(
    app: &App,
    engine: &Engine,
    name: &Reference,
    platform: Option<Platform>,
) -> Result<(), CliError> {
    let style = style_for_people(&app.environment);
    work(style, async |events| engine.pull(name, platform, events).await).map(|_| ())
}

/// The same without a word about how that goes.
pub(super) fn fetch_quietly(
    engine: &Engine,
    name: &Reference,
    platform: Option<Platform>,
) -> Result<(), CliError> {
    work(Style::Quiet, async |events| engine.pull(name, platform, events).await).map(|_| ())
}

/// Fetches what a build has left of the image at its registry.
pub(super) fn fetch_layers(
    app: &App,
    engine: &Engine,
    (image, platforms): (&str, &[Platform]),
) -> Result<(), CliError> {
    let style = style_for_people(&app.environment);
    work(style, async |events| engine.fetch_layers(image, platforms, events).await)
}

fn style(app: &App, quiet: bool) -> Style {
    if quiet { Style::Quiet } else { style_for_people(&app.environment) }
}
