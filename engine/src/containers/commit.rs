//! Making an image of a container's changes.

use super::{
    changes::{During, Pause},
    config_changes::apply_changes,
};
use crate::{
    Engine, Error,
    images::squash::{Squasher, Unsquashed},
    layers::layer_files::LayerFiles,
};
use rbuild_cache::{Cancel, Container, ImageRecord, LayerId, LayerMeta, LayerSource, Lease, RefRecord};
use rbuild_oci::{HistoryEntry, ImageConfig, ImageId, ImageName, Timestamp};

/// `commit`.
#[derive(Clone, Debug, Default)]
pub struct CommitRequest {
    /// The container's name or id.
    pub container: String,
    /// The new image's name.
    pub name: Option<ImageName>,
    /// `--author`.
    pub author: String,
    /// `--message`.
    pub message: String,
    /// `--change`: Dockerfile instructions.
    pub changes: Vec<String>,
    /// `--pause`.
    pub pause: Pause,
    /// `--squash`.
    pub layers: CommitLayers,
}

/// The layers of an image made of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CommitLayers {
    /// Those of its image, and one with its changes.
    #[default]
    Added,
    /// One with all of its files.
    One,
}

/// An image made of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The image.
    pub image: ImageId,
    /// What the container did while its files were read.
    pub during: During,
}

impl Engine {
    /// Makes an image of a container: its image's layers, and its own changes as one layer on top. What is mounted in it is
    /// left out. A container that runs stands still while its files are read, if that is asked for and can be done; `busy` is
    /// called before another process that makes it stand still is waited for.
    ///
    /// # Errors
    /// [`Error::NoSuchContainer`], [`Error::Plan`] or [`Error::Syntax`] for a bad change, [`Error::Store`],
    /// [`Error::Executor`] when its files cannot be read or its processes do not stand still.
    pub fn commit(&self, request: &CommitRequest, mut busy: impl FnMut()) -> Result<Committed, Error> {
        let container = self.container(&request.container)?;
        let lease = self.store.lease()?;
        let base = self.held_image(&container.image_id.to_string(), None, &lease)?;
        let mut config = self.image_config(&base.id)?;
        config.config = apply_changes(container.config.clone(), &request.changes)?;
        let (draft, during) = self.held_changes(&container, &lease, (request.pause, &mut busy))?;
        let now = Timestamp::from(self.store.now());
        let layer = draft.commit(&lease, &LayerMeta::new(now, LayerSource::Own))?;
        config.created = Some(now);
        let assembled = self.with_layer((&container, config), (&layer, request), &lease);
        if !assembled.as_ref().is_ok_and(|image| image.stack().contains(&layer)) {
            // what cannot be removed now is what a collection finds
            let _ = self.store.discard_layer(&layer);
        }
        let record = assembled?;
        if let Some(name) = &request.name {
            self.store.set_name(name, &RefRecord { image: record.id, manifest: None, tagged_at: now })?;
        }
        Ok(Committed { image: record.id, during })
    }

    /// The image of `container` with `layer` on top, whose config is this one but for that.
    fn with_layer(
        &self,
        (container, mut config): (&Container, ImageConfig),
        (layer, request): (&LayerId, &CommitRequest),
        lease: &Lease,
    ) -> Result<ImageRecord, Error> {
        config.rootfs.diff_ids.push(rbuild_image::layer_diff(&self.store, layer)?.diff_id);
        config.author.clone_from(&request.author);
        config.history.push(HistoryEntry {
            created: config.created,
            created_by: container.command.join(" "),
            author: request.author.clone(),
            comment: request.message.clone(),
            empty_layer: false,
        });
        let stack = container.layers.iter().chain([layer]).copied().collect();
        let (config, layers) = match request.layers {
            CommitLayers::Added => (config, stack),
            CommitLayers::One => self.as_one_layer(config, stack, lease)?,
        };
        let image = rbuild_image::assemble(&self.store, lease, &config, &layers)?;
        rbuild_image::make_findable(&self.store, &image);
        Ok(image)
    }

    fn as_one_layer(
        &self,
        config: ImageConfig,
        stack: Vec<LayerId>,
        lease: &Lease,
    ) -> Result<(ImageConfig, Vec<LayerId>), Error> {
        let files = LayerFiles::as_they_are(&self.store);
        let squasher = Squasher { store: &self.store, lease, files: &files, cancel: &Cancel::default() };
        squasher.squash(Unsquashed { config, stack, kept: 0, base: None }, None)
    }
}
