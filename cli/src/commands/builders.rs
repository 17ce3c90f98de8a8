//! `buildx version`, `ls`, `inspect`, `create`, `use`, `stop` and `rm`, which scripts for docker call before and after they build.
//! There is one builder, this program; what they make are other names of it.

use super::prune::confirm;
use crate::{
    app::App,
    args::{
        BuilderCreateArgs, BuilderLsArgs, BuilderRmArgs, BuilderStopArgs, BuilderUseArgs, BuildxInspectArgs,
    },
    error::{CliError, UsageError},
    exit::tell,
    failure::in_full,
    options::{no_further_builder, platforms},
    streams::{print, print_data},
    table::aligned,
    template::Template,
};
use rbuild::{BuilderName, Engine, InvalidBuilderName, Platform};
use serde_json::json;

/// The name by which docker knows the builder that is always there.
const NAME: &str = "default";
/// The kind of it, where docker has `docker` or `docker-container`.
const DRIVER: &str = "rbuild";

/// Shows the version.
pub(super) fn version() -> Result<(), CliError> {
    print(&format!("rbuild v{}\n", env!("CARGO_PKG_VERSION")))
}

/// Lists the names of the one builder, for a template as docker has it.
pub(super) fn list(app: &App, args: &BuilderLsArgs) -> Result<(), CliError> {
    let template = match args.format.as_deref() {
        None | Some("" | "table") => None,
        Some("json") => Some(Template::parse("{{json .}}")?),
        Some(text) => Some(Template::parse(text)?),
    };
    let engine = app.engine()?;
    let chosen = chosen(app, &engine)?;
    let names = engine.builders()?.iter().map(BuilderName::to_string).collect::<Vec<_>>();
    let all = names.iter().map(String::as_str).chain([NAME]);
    if let Some(template) = template {
        let (version, platforms) = (own_version(), rbuild::runnable_platforms());
        let line = |name: &str| {
            let platforms: Vec<String> = platforms.iter().map(Platform::to_string).collect();
            let node = json!({"Name": name, "Endpoint": NAME, "Status": "running", "Version": version, "Platforms": platforms});
            let builder = json!({"Name": name, "Driver": DRIVER, "Current": name == chosen, "Dynamic": false, "Nodes": [node]});
            Ok::<_, CliError>(format!("{}\n", template.render(&builder)?))
        };
        return print_data(&all.map(line).collect::<Result<String, _>>()?);
    }
    let (version, platforms) = (own_version(), runnable());
    let mut rows =
        vec![["NAME/NODE", "DRIVER/ENDPOINT", "STATUS", "BUILDKIT", "PLATFORMS"].map(str::to_owned)];
    for name in all {
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
        None => chosen(app, &engine)?,
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
pub(super) fn choose(app: &App, args: &BuilderUseArgs) -> Result<(), CliError> {
    let engine = app.engine()?;
    let name = known(&engine, &args.name)?;
    Ok(engine.choose_builder(name.as_ref())?)
}

/// Stops the builder, which only runs while it builds.
pub(super) fn stop(app: &App, args: &BuilderStopArgs) -> Result<(), CliError> {
    match args.name.as_deref() {
        Some(name) => exists(app, name),
        None => asked(app),
    }
}

/// Forgets names of the builder.
pub(super) fn remove(app: &App, args: &BuilderRmArgs) -> Result<(), CliError> {
    if args.all_inactive {
        let warning = "WARNING! This will remove all names of the builder that it was given.";
        confirm(args.force, warning)?;
    }
    let engine = app.engine()?;
    let names = match (args.names.as_slice(), args.all_inactive) {
        ([], false) => vec![chosen(app, &engine)?],
        // a builder that does not run until it is asked to build is inactive, as docker has it
        (_, true) => engine.builders()?.iter().map(BuilderName::to_string).collect(),
        (names, false) => names.to_vec(),
    };
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
                tell(&format!("failed to remove {name}: {}", in_full(&error, None)));
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

/// Sees that there is the builder that the environment, or an option before the command, asks for.
pub(super) fn asked(app: &App) -> Result<(), CliError> {
    app.environment.builder().map_or(Ok(()), |name| exists(app, name))
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

fn chosen(app: &App, engine: &Engine) -> Result<String, CliError> {
    if let Some(name) = app.environment.builder() {
        return Ok(known(engine, name)?.map_or_else(|| NAME.to_owned(), |name| name.to_string()));
    }
    Ok(engine.chosen_builder()?.map_or_else(|| NAME.to_owned(), |name| name.to_string()))
}

fn own_version() -> String {
    format!("rbuild v{}", env!("CARGO_PKG_VERSION"))
}

/// The platforms whose programs run here.
fn runnable() -> String {
    rbuild::runnable_platforms().iter().map(Platform::to_string).collect::<Vec<_>>().join(", ")
}
