//! `buildx version`, `ls`, `inspect` and `use`, which scripts for docker call before they build. There is one builder: this program.

use crate::{
    app::App,
    args::BuildxInspectArgs,
    error::{CliError, UsageError},
    streams::print,
    table::aligned,
};
use rbuild::Platform;

/// The name by which docker knows the builder that is always there.
const NAME: &str = "default";
/// The kind of it, where docker has `docker` or `docker-container`.
const DRIVER: &str = "rbuild";

/// Shows the version.
pub(super) fn version() -> Result<(), CliError> {
    print(&format!("rbuild v{}\n", env!("CARGO_PKG_VERSION")))
}

/// Lists the one builder.
pub(super) fn list() -> Result<(), CliError> {
    let row = ["NAME/NODE", "DRIVER/ENDPOINT", "STATUS", "BUILDKIT", "PLATFORMS"];
    let platforms = platforms();
    let builder = [&format!("{NAME}*"), DRIVER, "", "", ""];
    let node = [&format!(" \\_ {NAME}"), &format!(" \\_ {NAME}"), "running", &own_version(), &platforms];
    let rows = [row, builder, node].map(|row| row.map(str::to_owned).to_vec());
    print(&aligned(&rows))
}

/// Describes the one builder.
pub(super) fn inspect(app: &App, args: &BuildxInspectArgs) -> Result<(), CliError> {
    exists(args.name.as_deref())?;
    if args.bootstrap {
        // nothing has to run, but the store has to be there
        app.engine()?;
    }
    print(&format!(
        "Name:   {NAME}\nDriver: {DRIVER}\n\nNodes:\nName:             {NAME}\nEndpoint:         {}\n\
         Status:           running\nBuildKit version: {}\nPlatforms:        {}\n",
        app.root().display(),
        own_version(),
        platforms()
    ))
}

/// Takes the one builder as that of later builds, which it is.
pub(super) fn choose(name: &str) -> Result<(), CliError> {
    exists(Some(name))
}

fn exists(name: Option<&str>) -> Result<(), CliError> {
    match name {
        None | Some(NAME | "") => Ok(()),
        Some(other) => Err(UsageError::new(format!("no builder {other:?} found")).into()),
    }
}

fn own_version() -> String {
    format!("rbuild v{}", env!("CARGO_PKG_VERSION"))
}

/// The platforms whose programs run here.
fn platforms() -> String {
    rbuild::runnable_platforms().iter().map(Platform::to_string).collect::<Vec<_>>().join(", ")
}
