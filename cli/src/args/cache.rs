//! The flags of the commands for the build cache.

use super::flag::any_path;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `cache …`
#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// Look whether everything in the store is whole and fits together; the exit code is 1 when something does not
    Verify(CacheVerifyArgs),
    /// Commands for the directories of RUN --mount=type=cache
    #[command(subcommand, subcommand_value_name = "COMMAND")]
    Mount(CacheMountCommand),
}

/// `cache mount …`
#[derive(Debug, Subcommand)]
pub(crate) enum CacheMountCommand {
    /// List cache mounts
    #[command(visible_alias = "list")]
    Ls(CacheMountLsArgs),
    /// Write what a cache mount has to a tar archive
    Export(CacheMountExportArgs),
    /// Fill a cache mount with what a tar archive has
    Import(CacheMountImportArgs),
    /// Remove cache mounts
    #[command(visible_alias = "remove")]
    Rm(CacheMountRmArgs),
}

/// What was typed after `cache mount ls`.
#[derive(Debug, Args)]
pub(crate) struct CacheMountLsArgs {
    /// table, json, 'table TEMPLATE' or a Go template
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
    /// Show the ids alone
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// What was typed after `cache mount export`.
#[derive(Debug, Args)]
pub(crate) struct CacheMountExportArgs {
    /// The id, or the beginning of the directory's name
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Write to FILE instead of standard output
    #[arg(short, long, value_name = "FILE", value_parser = any_path())]
    pub(crate) output: Option<PathBuf>,
}

/// What was typed after `cache mount import`.
#[derive(Debug, Args)]
#[command(override_usage = "rbuild cache mount import [OPTIONS] [ID]")]
pub(crate) struct CacheMountImportArgs {
    /// The id [default: that of the exported mount]
    #[arg(value_name = "ID")]
    pub(crate) id: Option<String>,
    /// Read from FILE instead of standard input; it may be compressed
    #[arg(short, long, value_name = "FILE", value_parser = any_path())]
    pub(crate) input: Option<PathBuf>,
}

/// What was typed after `cache mount rm`.
#[derive(Debug, Args)]
pub(crate) struct CacheMountRmArgs {
    /// Ids, or beginnings of directories' names
    #[arg(value_name = "ID", required = true)]
    pub(crate) ids: Vec<String>,
}

/// What was typed after `cache verify`.
#[derive(Debug, Args)]
pub(crate) struct CacheVerifyArgs {
    /// Make what is damaged count as missing, and say what has to be built, loaded or pulled again
    #[arg(long)]
    pub(crate) repair: bool,
}
