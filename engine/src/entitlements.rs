//! What a Dockerfile may ask for only if the person who builds allows it (`--allow`).

use crate::{BuildRequest, Entitlement, Error, diagnostic::DockerfileText};
use rbuild_executor::ExecutorError;
use rbuild_planner::{Action, Network, Plan};

/// Refuses a plan with a step that asks for more than `request` allows.
///
/// # Errors
/// [`Error::Step`] with the place of the first one.
pub(crate) fn check(plan: &Plan, request: &BuildRequest, text: &DockerfileText) -> Result<(), Error> {
    // who builds with the host's network has allowed it
    if request.network == Network::Host || request.entitlements.contains(&Entitlement::NetworkHost) {
        return Ok(());
    }
    for step in &plan.steps {
        if let Action::Run(action) = &step.action
            && action.network == Network::Host
        {
            let error = ExecutorError::NotAllowed { entitlement: Entitlement::NetworkHost.name() };
            let name = format!("{} {}:", step.position, step.name);
            return Err(Error::step(error, text, step.lines, (name, Vec::new())));
        }
    }
    Ok(())
}
