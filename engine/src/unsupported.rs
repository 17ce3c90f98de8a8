//! What rbuild cannot do yet, refused before anything runs.

use crate::{ArchiveFormat, BuildRequest, Error, Output};

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
        Output::Registry { form, .. } | Output::Archive { form, .. } => {
            !form.index_annotations.is_empty() || !form.index_descriptor_annotations.is_empty()
        }
        Output::Store { .. } | Output::Pin { .. } | Output::Files(_) | Output::Daemon { .. } => false,
    };
    if request.platforms.len() < 2 && request.all_outputs().any(annotated) {
        return Err(Error::IndexAnnotations);
    }
    Ok(())
}
