//! The flags of the commands for the build cache.

use clap::{Args, Subcommand};

/// `cache …`
#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// Look whether everything in the store is whole and fits together; the exit code is 1 when something does not
    Verify(CacheVerifyArgs),
}

/// What was typed after `cache verify`.
#[derive(Debug, Args)]
pub(crate) struct CacheVerifyArgs {
    /// Make what is damaged count as missing, and say what has to be built, loaded or pulled again
    #[arg(long)]
    pub(crate) repair: bool,
}
