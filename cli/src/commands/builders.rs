//! `buildx version`, `ls`, `inspect`, `create`, `use`, `stop` and `rm`, which scripts for docker call before and after they build.
//! There is one builder, this program; what they make are other names of it.

use crate::{
    app::App,
    args::{BuilderCreateArgs, BuilderRmArgs, BuilderStopArgs, BuildxInspectArgs},
    error::{CliError, UsageError},
    exit::tell,
    options::{no_further_builder, platforms},
    streams::print,
    table::aligned,
};
use rbuild::{BuilderName, Engine, InvalidBuilderName, Platform};

/// The name by which docker knows the builder that is always there.
const NAME: &str = "default";
/// The kind of it, where docker has `docker` or `docker-container`.
const DRIVER: &str = "rbuild";

/// Shows the version.
pub(super) fn version() -> Result<(), CliError> {
    print(&format!("rbuild v{}\n", env!("CARGO_PKG_VERSION")))
}

/// Lists the names of the one builder.
pub(super) fn list(app: &App) -> Result<(), CliError> {
    let engine = app.engine()?;
    let chosen = chosen(&engine)?;
    let (version, platforms) = (own_version(), runnable());
    let mut rows =
        vec![["NAME/NODE", "DRIVER/ENDPOINT", "STATUS", "BUILDKIT", "PLATFORMS"].map(str::to_owned)];
    let names = engine.builders()?.iter().map(BuilderName::to_string).collect::<Vec<_>>();
    for name in names.iter().map(String::as_str).chain([NAME]) {
        let mark = if name == chosen { "*" } else { "" };
        rows.push([&format!("{name}{mark}"), DRIVER, "", "", ""].map(str::to_owned));
        let node = format!(" \\_ {name}");
        rows.push([&node, &format!(" \\_ {NAME}"), "running", &version, &platforms].map(str::to_owned));
    }
    print(&aligned(&rows.into_iter().map(Vec::from).collect::<Vec<_>>()))
}

/// Describes the one builder.
pub(super) fn inspect(app: &App, args: &BuildxInspectArgs) -> Result<(), CliError> {
    let engine = app.engine()?;
    let name = args.name.as_deref().or(args.builder.as_deref()).filter(|name| !name.is_empty());
    let name = match name {
        Some(name) => known(&engine, name)?.map_or_else(|| NAME.to_owned(), |name| name.to_string()),
        None => chosen(&engine)?,
    };
    print(&format!(
        "Name:   {name}\nDriver: {DRIVER}\n\nNodes:\nName:             {name}\nEndpoint:         {}\n\
         Status:           running\nBuildKit version: {}\nPlatforms:        {}\n",
        app.root().display(),
        own_version(),
        runnable()
    ))
}

/// Gives the builder another name.
pub(super) fn create(app: &App, args: &BuilderCreateArgs) -> Result<(), CliError> {
    no_further_builder(args)?;
    let own = rbuild::runnable_platforms();
    if let Some(other) = platforms(&args.platform)?.into_iter().find(|platform| !own.contains(platform)) {
        let message = format!("--platform {other}: programs of this platform do not run here");
        return Err(UsageError::refused(message).into());
    }
    let engine = app.engine()?;
    let name = match args.name.as_deref().filter(|name| !name.is_empty()) {
        None => engine.unused_builder_name()?,
        Some(NAME) => {
            let message = "default is a reserved name and cannot be used to identify builder instance";
            return Err(UsageError::refused(message).into());
        }
        Some(name) => {
            name.parse().map_err(|error: InvalidBuilderName| UsageError::refused(error.to_string()))?
        }
    };
    if engine.builders()?.contains(&name) {
        let name = name.to_string();
        return Err(CliError::Refused(format!(
            "existing instance for {name:?}: remove it with 'buildx rm {name}'"
        )));
    }
    engine.add_builder(&name)?;
    if args.choose {
        engine.choose_builder(Some(&name))?;
    }
    tell(&format!("{name} is another name of the one builder, which is this program"));
    print(&format!("{name}\n"))
}

/// Takes the one builder, by one of its names, as that of later builds, which it is.
pub(super) fn choose(app: &App, name: &str) -> Result<(), CliError> {
    let engine = app.engine()?;
    let name = known(&engine, name)?;
    Ok(engine.choose_builder(name.as_ref())?)
}

/// Stops the builder, which only runs while it builds.
pub(super) fn stop(app: &App, args: &BuilderStopArgs) -> Result<(), CliError> {
    exists(app, args.name.as_deref().unwrap_or(NAME))
}

/// Forgets names of the builder.
pub(super) fn remove(app: &App, args: &BuilderRmArgs) -> Result<(), CliError> {
    let engine = app.engine()?;
    let names = if args.names.is_empty() { vec![chosen(&engine)?] } else { args.names.clone() };
    let mut failed = false;
    for name in &names {
        let removed = match known(&engine, name) {
            Ok(Some(known)) => engine.remove_builder(&known).map(drop).map_err(CliError::from),
            Ok(None) => Err(CliError::Refused("it is this program, which is always there".to_owned())),
            Err(CliError::Usage(_)) if args.force => continue,
            Err(error) => Err(error),
        };
        match removed {
            Ok(()) => tell(&format!("{name} removed")),
            Err(error) => {
                tell(&format!("failed to remove {name}: {error}"));
                failed = true;
            }
        }
    }
    if failed { Err(CliError::Refused("failed to remove one or more builders".to_owned())) } else { Ok(()) }
}

/// Sees that the builder has this name.
pub(super) fn exists(app: &App, name: &str) -> Result<(), CliError> {
    if matches!(name, "" | NAME) { Ok(()) } else { known(&app.engine()?, name).map(drop) }
}

/// A name that the builder was given; `None` for the one that it always has.
fn known(engine: &Engine, name: &str) -> Result<Option<BuilderName>, CliError> {
    if matches!(name, "" | NAME) {
        return Ok(None);
    }
    match name.parse::<BuilderName>() {
        Ok(known) if engine.builders()?.contains(&known) => Ok(Some(known)),
        _ => Err(UsageError::refused(format!("no builder {name:?} found")).into()),
    }
}

fn chosen(engine: &Engine) -> Result<String, CliError> {
    Ok(engine.chosen_builder()?.map_or_else(|| NAME.to_owned(), |name| name.to_string()))
}

fn own_version() -> String {
    format!("rbuild v{}", env!("CARGO_PKG_VERSION"))
}

/// The platforms whose programs run here.
fn runnable() -> String {
    rbuild::runnable_platforms().iter().map(Platform::to_string).collect::<Vec<_>>().join(", ")
}
