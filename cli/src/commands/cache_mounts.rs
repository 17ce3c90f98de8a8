//! `cache mount`: the directories of `RUN --mount=type=cache`.

use super::naming::each;
use crate::{
    app::App,
    args::{
        CacheMountCommand, CacheMountExportArgs, CacheMountImportArgs, CacheMountLsArgs, CacheMountRmArgs,
    },
    error::{CliError, UsageError},
    new_file::NewFile,
    streams::{self, answer, print},
    table::{Column, Format, Listing},
};
use rbuild::Force;
use rbuild_docker_api::{CacheMountRow, human_size};
use std::{
    fs::File,
    io::{self, BufWriter, IsTerminal},
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

/// What is written at once.
const BUFFER: usize = 256 << 10;

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
    let stdout = streams::stdout();
    match args.output.as_deref().filter(|path| !path.as_os_str().is_empty()) {
        None if stdout.is_terminal() => {
            Err(UsageError::new("cowardly refusing to save to a terminal. Use the -o flag or redirect")
                .into())
        }
        None => {
            let mut out = BufWriter::with_capacity(BUFFER, stdout);
            Ok(app.engine()?.export_cache_mount(&args.id, &mut out)?)
        }
        Some(path) => {
            let engine = app.engine()?;
            let mut out = BufWriter::with_capacity(BUFFER, NewFile::at(path, 0o600)?);
            engine.export_cache_mount(&args.id, &mut out)?;
            let written =
                out.into_inner().map_err(|error| CliError::file("write", path)(error.into_error()))?;
            written.finish()
        }
    }
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
