//! What a failed fetch says of layers that are elsewhere.

use crate::Error;
use rbuild_image::ImageError;
use rbuild_oci::{Digest, FailureClass};

/// The layers that cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// This blob is not there, or is not what it should be.
    Blob(Digest),
    /// The place that has them does not answer: one is not asked for each of its layers.
    Everything,
}

impl Lost {
    /// What `error` says of layers.
    pub(crate) fn of(error: &Error) -> Option<Self> {
        let cause: &ImageError = match error {
            Error::CachedLayer { layer, source } => return Some(Self::by_class(source.class(), *layer)),
            Error::StepLayers { source, .. } => source,
            Error::Image(error) => error,
            _ => return None,
        };
        Self::of_fetch(cause)
    }

    /// What a fetch that failed so says of layers.
    pub(crate) fn of_fetch(error: &ImageError) -> Option<Self> {
        let ImageError::FetchLayer { layer, source, .. } = error else { return None };
        Some(Self::by_class(source.class(), *layer))
    }

    fn by_class(class: FailureClass, layer: Digest) -> Self {
        match class {
            FailureClass::Environment => Self::Everything,
            FailureClass::Input | FailureClass::Internal => Self::Blob(layer),
        }
    }

    /// True if the layer with this blob is one of them.
    pub(crate) fn covers(&self, blob: &Digest) -> bool {
        match self {
            Self::Blob(lost) => lost == blob,
            Self::Everything => true,
        }
    }
}
