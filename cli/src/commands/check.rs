//! `check`.

use super::build::build;
use crate::{app::App, args::CheckArgs, error::CliError};

/// Checks a Dockerfile.
pub(super) fn check(app: &App, args: CheckArgs) -> Result<(), CliError> {
    build(app, args.into_build())
}
