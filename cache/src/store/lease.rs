//! Leases: what a running build, container or export needs is listed in one file, `locks/leases/<id>`, which its owner
//! holds locked. Collection reads the lists of live leases and takes nothing that is in one. A lease costs a handful of
//! system calls however many layers it holds, and ends with the process.
//!
//! `locks/gate` closes the one gap: a process that puts existing things under a lease holds the gate shared while it
//! lists them and sees that they are there; a collection holds it exclusively, from reading the leases until what it
//! takes has no name any more.

use crate::{
    ImageRecord, LayerId, Store, StoreError,
    disk::{FileLock, FileStat, LockMode, OnUnlock, list, random_id},
};
use rbuild_oci::{Digest, ImageId};
use std::{
    collections::{HashMap, HashSet},
    fmt::Write as _,
    io::Write as _,
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

/// Keeps layers and blobs from being collected. Ends when dropped.
#[derive(Debug)]
pub struct Lease {
    lock: FileLock,
    store: Store,
    /// The layers that are listed and were there, with what stat(2) said of their descriptions.
    held: Mutex<HashMap<LayerId, FileStat>>,
}

/// The layers and blobs that were to be held and are not in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Layers that are not there.
    pub layers: Vec<LayerId>,
    /// Blobs that are not there.
    pub blobs: Vec<Digest>,
}

/// Everything that live leases hold, and the time at which the oldest of them began.
#[derive(Debug, Default)]
pub(crate) struct Held {
    pub(crate) layers: HashSet<LayerId>,
    pub(crate) blobs: HashSet<Digest>,
    pub(crate) oldest: Option<SystemTime>,
}

impl Missing {
    /// True if everything was there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty() && self.blobs.is_empty()
    }
}

impl Store {
    /// A new lease that holds nothing yet. Besides what it lists, everything written to the store after this moment
    /// (blobs, images) is safe from collection while the lease lives.
    ///
    /// # Errors
    /// An I/O error when its file cannot be made.
    pub fn lease(&self) -> Result<Lease, StoreError> {
        loop {
            let path = self.at("locks/leases").join(random_id());
            if let Some(lock) = FileLock::create(&path, OnUnlock::Remove)? {
                return Ok(Lease { lock, store: self.clone(), held: Mutex::default() });
            }
        }
    }

    /// Reads all live leases and removes the files of dead ones.
    pub(crate) fn held(&self) -> Result<Held, StoreError> {
        let mut held = Held::default();
        let directory = self.at("locks/leases");
        for name in list(&directory)? {
            let path = directory.join(name);
            if FileLock::attempt(&path, OnUnlock::Remove)?.is_some() {
                continue;
            }
            let birth = std::fs::metadata(&path).and_then(|m| m.created().or_else(|_| m.modified()));
            let birth = birth.unwrap_or(SystemTime::UNIX_EPOCH);
            held.oldest = Some(held.oldest.map_or(birth, |oldest| oldest.min(birth)));
            // a lease that ended meanwhile holds nothing any more
            for line in std::fs::read_to_string(&path).unwrap_or_default().lines() {
                if let Ok(blob) = line.parse() {
                    held.blobs.insert(blob);
                } else if let Ok(layer) = line.parse() {
                    held.layers.insert(layer);
                }
            }
        }
        Ok(held)
    }
}

impl Lease {
    /// Holds layers and blobs that should be in the store; returns those that are not. What is not missing stays until
    /// the lease ends.
    ///
    /// # Errors
    /// An I/O error when the lease cannot be written.
    pub fn hold(&self, layers: &[LayerId], blobs: &[Digest]) -> Result<Missing, StoreError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let layers: Vec<LayerId> = layers.iter().filter(|layer| !held.contains_key(layer)).copied().collect();
        if layers.is_empty() && blobs.is_empty() {
            return Ok(Missing::default());
        }
        let mut lines = String::with_capacity(layers.len() * 17 + blobs.len() * 72);
        for layer in &layers {
            let _ = writeln!(lines, "{layer}");
        }
        for blob in blobs {
            let _ = writeln!(lines, "{blob}");
        }
        let _gate = FileLock::wait(&self.store.at("locks/gate"), LockMode::Shared, OnUnlock::Keep)?;
        self.append(&lines)?;
        let mut missing = Vec::new();
        for layer in layers {
            match self.store.description_of(&layer) {
                Some(description) => drop(held.insert(layer, description)),
                None => missing.push(layer),
            }
        }
        Ok(Missing {
            layers: missing,
            blobs: blobs.iter().filter(|blob| self.store.blob_size(blob).is_none()).copied().collect(),
        })
    }

    /// Holds the image `id` with its config and its layers; `None` when a part of it is damaged or not in the store.
    /// The image stays until the lease ends, because no collection takes an image whose config is held.
    ///
    /// # Errors
    /// An I/O error when the lease cannot be written or the image cannot be read.
    pub fn hold_image(&self, id: &ImageId) -> Result<Option<ImageRecord>, StoreError> {
        self.hold_image_of(id, &[])
    }

    /// As [`Lease::hold_image`], for a caller that has read the descriptions of the layers `read`: those of an image that
    /// stands on just these are not read again.
    ///
    /// # Errors
    /// As [`Lease::hold_image`].
    pub fn hold_image_of(&self, id: &ImageId, read: &[LayerId]) -> Result<Option<ImageRecord>, StoreError> {
        let Some((image, bytes)) = self.store.image_document(id)? else { return Ok(None) };
        let layers: Vec<LayerId> = image.layers.iter().map(|layer| layer.layer).collect();
        let is_described = layers == read || layers.iter().all(|layer| self.store.layer_meta(layer).is_ok());
        let config = self.store.blob(id.as_digest()).is_ok_and(|config| config.is_some());
        let members = image.platforms.iter().map(|one| *one.image.as_digest());
        let blobs: Vec<Digest> = std::iter::once(*id.as_digest()).chain(members).collect();
        if !is_described || !config || !self.hold(&layers, &blobs)?.is_empty() {
            return Ok(None);
        }
        // a collection that was faster has taken the record first
        Ok(self.store.image_has_bytes(id, &bytes)?.then_some(image))
    }

    /// Holds the record and the config of the image `id`, and with them its layers, because no collection takes an image whose
    /// config is held. They are not looked at; `None` when the record or the config is not in the store.
    ///
    /// # Errors
    /// As [`Lease::hold_image`].
    pub fn hold_record(&self, id: &ImageId) -> Result<Option<ImageRecord>, StoreError> {
        if !self.hold(&[], &[*id.as_digest()])?.is_empty() {
            return Ok(None);
        }
        self.store.image(id)
    }

    /// What stat(2) said of the description of a layer when this lease began to hold it.
    pub(crate) fn description_of(&self, layer: &LayerId) -> Option<FileStat> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).get(layer).copied()
    }

    /// Holds a layer that is about to be committed.
    pub(crate) fn announce(&self, layer: &LayerId) -> Result<(), StoreError> {
        self.append(&format!("{layer}\n"))
    }

    /// One write of whole lines to a file opened for appending: lines of several threads never mix.
    fn append(&self, lines: &str) -> Result<(), StoreError> {
        let written = self.lock.file().write_all(lines.as_bytes());
        written.map_err(StoreError::on("write to", &self.store.at("locks/leases")))
    }
}
