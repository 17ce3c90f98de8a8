//! What is wrong with annotations of outputs.

use rbuild_oci::Platform;

/// An annotation that has no place.
#[derive(Debug, thiserror::Error)]
pub enum AnnotationError {
    /// An image for one platform has no index that could be annotated.
    #[error("index annotations not supported for single platform export")]
    Index,
    /// No descriptor leads to the only image that is pushed.
    #[error(
        "manifest-descriptor annotations have no place in a registry, where no descriptor leads to an image for one platform: use type=oci"
    )]
    Descriptor,
    /// It is for the image of a platform for which nothing is built.
    #[error("invalid annotation: no platform {_0} found in source")]
    Platform(Platform),
}
