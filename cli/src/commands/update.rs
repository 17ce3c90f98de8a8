//! `update`: other limits for containers.

use super::naming::each;
use crate::{
    app::App,
    args::UpdateArgs,
    error::{CliError, UsageError},
    monitor,
    options::{ChangedLimits, check_unmet, never_restarted, within_machine},
    streams::print,
};
use rbuild::{Force, UnmetLimit};

/// Changes limits of containers.
pub(super) fn update(app: &App, args: &UpdateArgs) -> Result<(), CliError> {
    never_restarted(args.restart.as_deref())?;
    check_unmet(&args.unmet)?;
    let flags = args.limits();
    within_machine(app.environment.processors, &flags)?;
    let changed = ChangedLimits::new(flags);
    if changed.is_empty() && args.restart.is_none() {
        return Err(UsageError::refused("you must provide one or more flags when using this command").into());
    }
    let engine = app.engine()?;
    each(&args.containers, Force::No, app.environment.color(), |name| {
        let limits = changed.applied_to(engine.container_limits(name)?)?;
        for UnmetLimit { flags, reason } in engine.update_container(name, &limits)? {
            monitor::warn_of_limit(&flags, &reason);
        }
        print(&format!("{name}\n"))
    })
}
