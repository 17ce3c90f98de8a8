//! `pull` and `push`.

use crate::{
    app::App,
    args::{PullArgs, PushArgs},
    error::{CliError, UsageError},
    options::{Certificates, default_platform, packing, platform, reference, refuse, size},
    progress::Style,
    streams::print,
    working::{style_for_people, work},
};
use rbuild::{ImageName, Platform, PullStatus, Reference};
use rbuild_docker_api::with_tag;

/// Fetches an image.
pub(super) fn pull(app: &App, args: &PullArgs) -> Result<(), CliError> {
    refuse(&[("all-tags", args.registry.all_tags)])?;
    let name = reference(&args.name)?;
    let platform = default_platform(args.platform.as_deref(), &app.environment)?;
    let limits = size::limits(&args.budget)?;
    let engine = app.engine_with_registries(Certificates::from_flag(args.registry.tls_verify))?;
    let engine = app.limited(engine, limits)?;
    let pulled =
        work(style(app, args.registry.quiet), async |events| engine.pull(&name, platform, events).await)?;
    if args.registry.quiet {
        return print(&format!("{name}\n"));
    }
    let status = match pulled.status {
        PullStatus::UpToDate => "Image is up to date",
        PullStatus::Downloaded => "Downloaded newer image",
    };
    print(&format!("Digest: {}\nStatus: {status} for {}\n{name}\n", pulled.digest, with_tag(&name)))
}

/// Sends an image.
pub(super) fn push(app: &App, args: &PushArgs) -> Result<(), CliError> {
    refuse(&[("all-tags", args.registry.all_tags)])?;
    let reference = reference(&args.name)?;
    let pushed_pin = |_| UsageError::new(format!("cannot push a digest reference ({})", args.name));
    let name = ImageName::new(reference.clone()).map_err(pushed_pin)?;
    let platform = platform(args.platform.as_deref())?;
    let level = args.compression_level.as_deref();
    let packing = packing(args.compression_format.as_deref(), level, args.force_compression)?;
    let engine = app.engine_with_registries(Certificates::from_flag(args.registry.tls_verify))?;
    let push = async |events| engine.push((&name, platform.as_ref()), &packing, events).await;
    let pushed = work(style(app, args.registry.quiet), push)?;
    if args.registry.quiet {
        return print(&format!("{name}\n"));
    }
    let repository = format!("The push refers to repository [{}/{}]", reference.domain(), reference.path());
    print(&format!("{repository}\n{}: digest: {} size: {}\n", name.tag(), pushed.digest, pushed.size))
}

/// Fetches `name` for a command that needs it, saying so as Docker does.
pub(super) fn fetch(
    app: &App,
    engine: &rbuild::Engine,
    name: &Reference,
    platform: Option<Platform>,
) -> Result<(), CliError> {
    let style = style_for_people(&app.environment);
    work(style, async |events| engine.pull(name, platform, events).await).map(|_| ())
}

/// Fetches what a build has left of the image at its registry.
pub(super) fn fetch_layers(
    app: &App,
    engine: &rbuild::Engine,
    (image, platforms): (&str, &[Platform]),
) -> Result<(), CliError> {
    let style = style_for_people(&app.environment);
    work(style, async |events| engine.fetch_layers(image, platforms, events).await)
}

fn style(app: &App, quiet: bool) -> Style {
    if quiet { Style::Quiet } else { style_for_people(&app.environment) }
}
