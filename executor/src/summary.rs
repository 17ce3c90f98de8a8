//! What is remembered of a selection whose files need not be walked again: its digest, and its inputs by path.

use crate::Selection;
use rbuild_oci::Digest;

/// A selection in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectionSummary {
    /// Of base names and contents.
    pub digest: Digest,
    /// Digests by path, for explanations.
    pub inputs: Vec<(String, String)>,
}

impl SelectionSummary {
    /// The summary of `selection`.
    #[must_use]
    pub fn of(selection: &Selection) -> Self {
        Self { digest: selection.digest, inputs: selection.inputs() }
    }
}
