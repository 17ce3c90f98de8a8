//! Looks at everything in the store, and whether its parts fit together: bytes against digests, images and names against what
//! they lead to, records against their layers. What is read for long is read without a lock; what was suspicious is looked at
//! again in one short moment under the locks of a collection, so that builds go on and are not taken for damage.

mod bytes;
mod fault;
mod references;
mod repair;

pub use fault::{Fault, FaultState, FoundFault};

use crate::{
    LayerId, Store, StoreError,
    disk::{FileLock, LockMode, OnUnlock, remove_tree},
};
use bytes::Bytes;
use nix::errno::Errno;
use std::io;

/// The answer to whether the files of a layer are what they were when it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayerFiles {
    /// They are.
    Sound,
    /// Nothing is known to compare them with: no image has needed their digest yet, or they are elsewhere.
    Unknown,
    /// They are not; the reason.
    Damaged(String),
    /// They could not be looked at, which says nothing of them; the reason.
    Unseen(String),
}

/// True if `error`, of reading what the store should have, proves that it is damaged: something is missing, cut short, or of
/// another kind. A disk that fails, a missing permission or a limit of the process prove nothing.
#[must_use]
pub fn proves_damage(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory
    ) || error.raw_os_error().map(Errno::from_raw) == Some(Errno::ELOOP)
}

/// The blob from which the tar of a layer comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TarBlob {
    /// It is there and whole, or the layer needs none.
    Whole,
    /// It is gone or damaged.
    Gone,
}

/// What to do about what is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// Nothing.
    No,
    /// It is made to count as missing.
    Yes,
}

/// The outcome of a verification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Blobs that were read.
    pub blobs: usize,
    /// Layers whose files were compared.
    pub layers: usize,
    /// Layers with nothing to compare them with.
    pub unknown_layers: usize,
    /// Images.
    pub images: usize,
    /// Names.
    pub names: usize,
    /// Cache records that can be used.
    pub records: usize,
    /// What is wrong, in the order of what depends on what.
    pub faults: Vec<FoundFault>,
}

impl Store {
    /// Verifies the store; `examine` compares the files of a layer with what is recorded of them. With [`Repair::Yes`] what is
    /// wrong is made to count as missing, as far as no running build uses it and no container would lose its changes.
    ///
    /// # Errors
    /// An I/O error when the store cannot be read or written.
    pub fn verify(
        &self,
        examine: &(impl Fn(&LayerId, TarBlob) -> LayerFiles + Sync),
        repair: Repair,
    ) -> Result<Verified, StoreError> {
        if repair == Repair::Yes {
            // what killed processes have left is no damage
            self.sweep()?;
        }
        let seen = Bytes::read(self, examine)?;
        let _one = FileLock::wait(&self.at("locks/prune"), LockMode::Exclusive, OnUnlock::Keep)?;
        let mut aside = Vec::new();
        let verified = self.index(|index| {
            let _gate = FileLock::wait(&self.at("locks/gate"), LockMode::Exclusive, OnUnlock::Keep)?;
            let seen = seen.again(self, examine)?;
            let stock = references::Stock::take(self, index, &seen)?;
            let mut verified = Verified {
                blobs: seen.blobs,
                layers: seen.layers,
                unknown_layers: seen.unknown_layers,
                ..stock.counts()
            };
            let faults = stock.faults(self);
            verified.faults = match repair {
                Repair::No => faults.into_iter().map(|fault| stock.found(fault, FaultState::Left)).collect(),
                Repair::Yes => repair::all(self, index, (&stock, faults), &mut aside)?,
            };
            Ok(verified)
        });
        for path in aside {
            remove_tree(&path)?;
        }
        if repair == Repair::Yes {
            self.recount_bytes()?;
        }
        verified
    }
}
