//! What a Dockerfile may ask for only if the person who builds allows it (`--allow`).

use crate::{
    BuildRequest, Entitlement, Error, PrivilegeError, error::diagnostic::DockerfileText, guest::devices,
};
use rbuild_executor::ExecutorError;
use rbuild_planner::{Action, Network, Plan, RunAction, Security};

/// Refuses a plan with a step that asks for more than `request` allows.
///
/// # Errors
/// [`Error::Step`] with the place of the first one; [`Error::Privilege`] for descriptions of devices that cannot be read.
pub(crate) fn check(plan: &Plan, request: &BuildRequest, text: &DockerfileText) -> Result<(), Error> {
    for step in &plan.steps {
        let Action::Run(action) = &step.action else { continue };
        if let Some(entitlement) = missing(action, request)? {
            let error = ExecutorError::NotAllowed { entitlement };
            let name = format!("{} {}:", step.position, step.name);
            return Err(Error::step(error, text, step.lines, (name, Vec::new())));
        }
    }
    Ok(())
}

/// What `--allow` would have to say for `action`, beside what it says.
fn missing(action: &RunAction, request: &BuildRequest) -> Result<Option<String>, PrivilegeError> {
    let given = |right| request.entitlements.contains(&right);
    // who builds with the host's network has allowed it
    let host = given(Entitlement::NetworkHost) || request.network == Network::Host;
    if action.network == Network::Host && !host {
        return Ok(Some(Entitlement::NetworkHost.name().to_owned()));
    }
    if action.security == Security::Insecure && !given(Entitlement::SecurityInsecure) {
        return Ok(Some(Entitlement::SecurityInsecure.name().to_owned()));
    }
    if action.devices.is_empty() || given(Entitlement::Device) {
        return Ok(None);
    }
    let directories = &request.privileges.device_descriptions;
    let device = devices::not_allowed(&action.devices, &request.allowed_devices, directories)?;
    Ok(device.map(|name| format!("{}={name}", Entitlement::Device.name())))
}
