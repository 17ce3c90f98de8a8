//! What pulling, pushing, loading and saving report while they go on.

use rbuild_oci::Digest;

/// Something that happened to a layer. Layers are named by the digest of their blob where they have one, otherwise by
/// their DiffId.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageEvent {
    /// A layer is on its way.
    LayerStarted {
        /// The layer.
        digest: Digest,
        /// Its length in bytes, when known.
        size: Option<u64>,
    },
    /// So much of it has been moved.
    LayerProgress {
        /// The layer.
        digest: Digest,
        /// Bytes so far.
        bytes: u64,
    },
    /// All of it has arrived and is right.
    LayerDone {
        /// The layer.
        digest: Digest,
    },
    /// It was there already.
    LayerExists {
        /// The layer.
        digest: Digest,
    },
    /// The registry took it from another of its repositories.
    LayerMounted {
        /// The layer.
        digest: Digest,
        /// That repository's path.
        from: String,
    },
    /// Something of a layer could not be unpacked here.
    LayerNote {
        /// The layer.
        digest: Digest,
        /// The entry and the reason.
        note: crate::Note,
    },
    /// The manifest has been stored or sent.
    Manifest {
        /// Its digest.
        digest: Digest,
    },
}

/// Receives the events. Called from several threads.
pub type OnEvent<'a> = &'a (dyn Fn(ImageEvent) + Sync);
