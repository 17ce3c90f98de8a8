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

    /// Its encoding for the index: the digest, then a JSON array of pairs.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.digest.as_bytes().to_vec();
        bytes.extend(serde_json::to_vec(&self.inputs).expect("pairs of strings always serialise"));
        bytes
    }

    /// The summary that `bytes` encode; `None` for anything else.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (digest, inputs) = bytes.split_first_chunk::<32>()?;
        Some(Self { digest: Digest::from_bytes(*digest), inputs: serde_json::from_slice(inputs).ok()? })
    }
}
