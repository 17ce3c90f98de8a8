//! What rbuild cannot do yet, refused before anything runs.

use crate::{AnnotationError, ArchiveFormat, BuildRequest, Error, Output};
use rbuild_oci::Platform;

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
        return Err(AnnotationError::Index.into());
    }
    let described = |output: &Output| matches!(output, Output::Registry { form, .. } if !form.descriptor_annotations.is_empty());
    if request.platforms.len() < 2 && request.all_outputs().any(described) {
        return Err(AnnotationError::Descriptor.into());
    }
    let host = [Platform::host()];
    let built = if request.platforms.is_empty() { &host[..] } else { &request.platforms };
    let forms = request.all_outputs().filter_map(|output| match output {
        Output::Registry { form, .. } | Output::Archive { form, .. } => Some(form),
        Output::Store { .. } | Output::Pin { .. } | Output::Files(_) | Output::Daemon { .. } => None,
    });
    let mut annotated =
        forms.flat_map(|form| form.annotations.platforms().chain(form.descriptor_annotations.platforms()));
    match annotated.find(|platform| !built.contains(platform)) {
        Some(platform) => Err(AnnotationError::Platform(platform.clone()).into()),
        None => Ok(()),
    }
}
