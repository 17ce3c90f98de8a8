//! The machine that a record was written on, for saying that it was another one.

use rbuild_oci::Digest;
use serde::{Deserialize, Serialize};

/// One machine: the beginning of a digest of `/etc/machine-id`, which itself is not to be written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineId(u32);

impl MachineId {
    pub(crate) const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    pub(crate) const fn to_bits(self) -> u32 {
        self.0
    }

    /// This machine; `None` when it has no id.
    pub(crate) fn current() -> Option<Self> {
        let id = std::fs::read("/etc/machine-id").ok()?;
        let id = id.trim_ascii();
        let [a, b, c, d, ..] = *Digest::of(&[b"machine of a cache record\n", id].concat()).as_bytes();
        (!id.is_empty()).then(|| Self(u32::from_be_bytes([a, b, c, d])))
    }
}
