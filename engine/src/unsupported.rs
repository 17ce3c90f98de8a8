//! What rbuild cannot do yet, refused before anything runs.

use crate::{ArchiveFormat, BuildRequest, Error, Output, diagnostic::DockerfileText};
use rbuild_executor::ExecutorError;
use rbuild_planner::{Action, CopySource, Plan, Step};

/// Refuses a plan with a step that would fail for this reason when its turn comes.
///
/// # Errors
/// [`Error::Step`] with the place of the first one.
pub(crate) fn refuse(plan: &Plan, text: &DockerfileText) -> Result<(), Error> {
    for step in &plan.steps {
        if let Some(what) = unsupported(step) {
            let error = ExecutorError::Unsupported { what: what.to_owned() };
            let name = format!("{} {}:", step.position, step.name);
            return Err(Error::step(error, text, step.lines, (name, Vec::new())));
        }
    }
    Ok(())
}

/// Refuses outputs that take images for one platform, when the build is for several.
///
/// # Errors
/// [`Error::Unsupported`].
pub(crate) fn refuse_outputs(request: &BuildRequest) -> Result<(), Error> {
    let to_docker = |output: &Output| matches!(output, Output::Archive { format: ArchiveFormat::Docker, .. });
    if request.platforms.len() > 1 && request.all_outputs().any(to_docker) {
        return Err(Error::DockerArchiveOfSeveral);
    }
    let annotated = |output: &Output| match output {
        Output::Registry { form, .. } | Output::Archive { form, .. } => !form.index_annotations.is_empty(),
        Output::Store { .. } | Output::Files(_) | Output::Daemon { .. } => false,
    };
    if request.platforms.len() < 2 && request.all_outputs().any(annotated) {
        return Err(Error::IndexAnnotations);
    }
    Ok(())
}

fn unsupported(step: &Step) -> Option<&'static str> {
    let Action::Copy(action) = &step.action else { return None };
    action.sources.iter().find_map(|source| match source {
        CopySource::Git(_) => Some("ADD of a Git repository"),
        CopySource::Path(_) | CopySource::Inline { .. } | CopySource::Http(_) => None,
    })
}
