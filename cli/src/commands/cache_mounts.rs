//! `cache mount`: the directories of `RUN --mount=type=cache`.

use super::{archive_output::ArchiveOutput, naming::each};
use crate::{
    app::App,
    args::{
        CacheMountCommand, CacheMountExportArgs, CacheMountImportArgs, CacheMountLsArgs, CacheMountRmArgs,
    },
    error::{CliError, UsageError},
    streams::{answer, print},
    table::{Column, Format, Listing},
};
use rbuild::Force;
use rbuild_docker_api::{CacheMountRow, human_size};
use std::{
    fs::File,
    io::{self, IsTerminal},
};

const COLUMNS: &[Column] = &[
    Column { field: "CreatedSince", heading: "CREATED" },
    Column { field: "Directory", heading: "DIRECTORY" },
    Column { field: "ID", heading: "ID" },
    Column { field: "InUse", heading: "IN USE" },
    Column { field: "LastUsedSince", heading: "LAST USED" },
    Column { field: "Mode", heading: "MODE" },
    Column { field: "Owner", heading: "OWNER" },
    Column { field: "Size", heading: "SIZE" },
];

/// Does what one of the commands asks for.
pub(super) fn cache_mounts(app: &App, command: CacheMountCommand) -> Result<(), CliError> {
    match command {
        CacheMountCommand::Ls(args) => list(app, &args),
        CacheMountCommand::Export(args) => export(app, &args),
        CacheMountCommand::Import(args) => import(app, &args),
        CacheMountCommand::Rm(args) => remove(app, &args),
    }
}

fn list(app: &App, args: &CacheMountLsArgs) -> Result<(), CliError> {
    let format = Format::parse(args.format.as_deref())?;
    let mounts = app.engine()?.cache_mounts()?;
    let rows = mounts.iter().map(|mount| CacheMountRow::new(mount, app.environment.now));
    let listing =
        Listing::of(COLUMNS, &["ID", "Directory", "Size", "CreatedSince", "LastUsedSince", "InUse"], rows);
    answer(&if args.quiet && args.format.is_none() { listing.ids() } else { listing.render(&format)? })
}

fn export(app: &App, args: &CacheMountExportArgs) -> Result<(), CliError> {
    let output = ArchiveOutput::of(args.output.as_deref())?;
    output.write(|out| app.engine()?.export_cache_mount(&args.id, out).map_err(CliError::from))
}

fn import(app: &App, args: &CacheMountImportArgs) -> Result<(), CliError> {
    let engine = app.engine()?;
    let id = args.id.as_deref();
    let id =
        match args.input.as_deref().filter(|path| !matches!(path.as_os_str().as_encoded_bytes(), b"" | b"-"))
        {
            Some(path) => {
                let file = File::open(path).map_err(CliError::file("open", path))?;
                engine.import_cache_mount(id, file)?
            }
            None if io::stdin().is_terminal() => {
                return Err(UsageError::new("requested import from stdin, but stdin is empty").into());
            }
            None => engine.import_cache_mount(id, io::stdin())?,
        };
    print(&format!("{id}\n"))
}

fn remove(app: &App, args: &CacheMountRmArgs) -> Result<(), CliError> {
    let engine = app.engine()?;
    each(&args.ids, Force::No, app.environment.color(), |id| {
        let freed = engine.remove_cache_mount(id)?;
        print(&format!("{id}: {} freed\n", human_size(freed)))
    })
}
