//! What a Dockerfile may ask for only if the person who builds allows it (`--allow`).

use crate::{BuildRequest, Entitlement, Error, diagnostic::DockerfileText};
use rbuild_executor::ExecutorError;
use rbuild_planner::{Action, Network, Plan, RunAction, Security};

/// Refuses a plan with a step that asks for more than `request` allows.
///
/// # Errors
/// [`Error::Step`] with the place of the first one.
pub(crate) fn check(plan: &Plan, request: &BuildRequest, text: &DockerfileText) -> Result<(), Error> {
    for step in &plan.steps {
        let Action::Run(action) = &step.action else { continue };
        let mut asked = Entitlement::ALL.into_iter().filter(|right| asks(action, *right));
        if let Some(right) = asked.find(|right| !gives(request, *right)) {
            let error = ExecutorError::NotAllowed { entitlement: right.name() };
            let name = format!("{} {}:", step.position, step.name);
            return Err(Error::step(error, text, step.lines, (name, Vec::new())));
        }
    }
    Ok(())
}

fn asks(action: &RunAction, right: Entitlement) -> bool {
    match right {
        Entitlement::NetworkHost => action.network == Network::Host,
        Entitlement::SecurityInsecure => action.security == Security::Insecure,
        Entitlement::Device => !action.devices.is_empty(),
    }
}

fn gives(request: &BuildRequest, right: Entitlement) -> bool {
    // who builds with the host's network has allowed it
    let implied = right == Entitlement::NetworkHost && request.network == Network::Host;
    implied || request.entitlements.contains(&right)
}
