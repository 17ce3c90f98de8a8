//! Layers of an image made one: `squash`, and `build --squash`. The layers themselves stay, so the cache has what it had.
//!
//! What layers become together depends on their tars and on those below them alone, so it is remembered by their DiffIds: what is
//! squashed again has its layer already, and the same image.

use crate::{Engine, Error, layers::layer_files::LayerFiles};
use rbuild_cache::{
    Cancel, FactKey, ImageRecord, KeyBuilder, LayerId, LayerMeta, LayerSource, Lease, RefRecord, Store,
};
use rbuild_executor::{ExecutorError, Merge, merge_layers};
use rbuild_oci::{ChainId, HistoryEntry, ImageConfig, ImageId, ImageName, Timestamp};

/// `squash`.
#[derive(Clone, Debug, Default)]
pub struct SquashRequest {
    /// The image.
    pub image: String,
    /// The names that the new image gets.
    pub names: Vec<ImageName>,
    /// What stays below the new layer: a layer of the image by its DiffId or the beginning of it, or an image that it is built
    /// on; or how many of the topmost layers become one. Without it all layers do.
    pub from: Option<String>,
}

/// A squashed image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Squashed {
    /// The image.
    pub image: ImageId,
    /// How many layers became one; with fewer than two the image is what it was. Of an image for several platforms the most.
    pub merged: usize,
}

/// An image that is to have fewer layers.
#[derive(Clone)]
pub(crate) struct Unsquashed {
    pub(crate) config: ImageConfig,
    /// Its layers, lowest first.
    pub(crate) stack: Vec<LayerId>,
    /// How many of the lowest ones stay.
    pub(crate) kept: usize,
    /// What these are called in the history: an image, or a layer.
    pub(crate) base: Option<String>,
}

/// What squashing works with.
pub(crate) struct Squasher<'a> {
    pub(crate) store: &'a Store,
    /// Holds the new layers.
    pub(crate) lease: &'a Lease,
    pub(crate) files: &'a LayerFiles,
    pub(crate) cancel: &'a Cancel,
}

impl Engine {
    /// Makes an image of one whose layers have become one. The old image stays. An image for several platforms has each of
    /// its images squashed.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`]; [`Error::NoSuchLayer`]; [`Error::LayersElsewhere`] for an image that [`Engine::fetch_layers`]
    /// has to fetch first; [`Error::Image`] when a layer is damaged; [`Error::Store`].
    pub fn squash(&self, request: &SquashRequest) -> Result<Squashed, Error> {
        let lease = self.store.lease()?;
        let whole = self.held_whole(&request.image, &lease)?;
        self.check_layers(&whole.stack())?;
        let platforms = self.held_platforms(&whole, &lease)?;
        let files = LayerFiles::as_they_are(&self.store);
        let squasher =
            Squasher { store: &self.store, lease: &lease, files: &files, cancel: &Cancel::default() };
        let (mut parts, mut merged) = (Vec::new(), 0);
        for part in if platforms.is_empty() { std::slice::from_ref(&whole) } else { &platforms } {
            let image = self.unsquashed(part, request)?;
            let count = image.stack.len() - image.kept;
            merged = merged.max(count);
            parts.push(if count < 2 {
                part.clone()
            } else {
                let (config, stack) = squasher.squash(image, None)?;
                let image = rbuild_image::assemble(&self.store, &lease, &config, &stack)?;
                rbuild_image::make_findable(&self.store, &image);
                image
            });
        }
        let image = if platforms.is_empty() {
            parts.remove(0).id
        } else {
            rbuild_image::assemble_index(&self.store, &lease, &parts)?.id
        };
        let tagged_at = Timestamp::from(self.store.now());
        for name in &request.names {
            self.store.set_name(name, &RefRecord { image, manifest: None, tagged_at })?;
        }
        Ok(Squashed { image, merged })
    }

    fn unsquashed(&self, image: &ImageRecord, request: &SquashRequest) -> Result<Unsquashed, Error> {
        let (config, stack) = (self.image_config(&image.id)?, image.stack());
        let (kept, base) = match &request.from {
            None => (0, None),
            Some(from) => self
                .kept(&config, from)?
                .ok_or_else(|| Error::NoSuchLayer { image: request.image.clone(), layer: from.clone() })?,
        };
        Ok(Unsquashed { config, stack, kept, base })
    }

    /// How many of the lowest layers of `image` stay, and what they are called.
    fn kept(&self, image: &ImageConfig, from: &str) -> Result<Option<(usize, Option<String>)>, Error> {
        let layers = &image.rootfs.diff_ids;
        let named = |kept: usize| Some(layers.get(kept.checked_sub(1)?)?.to_string());
        if from.len() < 4
            && let Ok(count) = from.parse::<usize>()
        {
            return Ok(layers.len().checked_sub(count).map(|kept| (kept, named(kept))));
        }
        let digits = from.strip_prefix("sha256:").unwrap_or(from);
        if !digits.is_empty()
            && let Some(at) = layers.iter().position(|layer| layer.as_digest().hex().starts_with(digits))
        {
            return Ok(Some((at + 1, named(at + 1))));
        }
        let wanted = image.platform();
        let below = match self.find_image(from) {
            Err(Error::NoSuchImage(_)) => return Ok(None),
            found => found?,
        };
        let id = below.for_platform(&wanted).unwrap_or(below.id);
        let below = self.image_config(&id)?.rootfs.diff_ids;
        Ok(layers.starts_with(&below).then(|| (below.len(), Some(id.to_string()))))
    }
}

impl Squasher<'_> {
    /// The config and the layers of `image`, whose layers above those that stay have become one, of which there is one at least.
    /// `created` takes the place of the time at which that layer was made. May block.
    ///
    /// # Errors
    /// When a layer cannot be read or fetched, or the store cannot be written; [`ExecutorError::Canceled`].
    pub(crate) fn squash(
        &self,
        image: Unsquashed,
        created: Option<Timestamp>,
    ) -> Result<(ImageConfig, Vec<LayerId>), Error> {
        let Unsquashed { mut config, mut stack, kept, base } = image;
        let whole = config.id();
        let layer = self.layer(&config, &stack, kept)?;
        let diff = rbuild_image::layer_diff_until(self.store, &layer, self.cancel)?
            .ok_or(ExecutorError::Canceled)?;
        let made = match created {
            Some(created) => created,
            None => self.store.layer_meta(&layer)?.created,
        };
        for entry in config.history.iter_mut().filter(|entry| !entry.empty_layer).skip(kept) {
            entry.empty_layer = true;
        }
        // the words are Docker's
        let comment = match base.filter(|_| kept > 0) {
            Some(base) => format!("merge {whole} to {base}"),
            None => format!("create new from {whole}"),
        };
        config.history.push(HistoryEntry { created: Some(made), comment, ..HistoryEntry::default() });
        config.created = Some(made);
        config.rootfs.diff_ids.truncate(kept);
        config.rootfs.diff_ids.push(diff.diff_id);
        stack.truncate(kept);
        stack.push(layer);
        Ok((config, stack))
    }

    /// The layer that those of `stack` become, but for the lowest `kept` ones.
    fn layer(&self, config: &ImageConfig, stack: &[LayerId], kept: usize) -> Result<LayerId, Error> {
        let (below, merged) = stack.split_at(kept);
        if let [only] = merged {
            return Ok(*only);
        }
        let fact = fact(config, kept);
        // the index is advice: one that cannot be used knows no layer
        if let Ok(Some(known)) = self.store.index(|index| Ok(index.layer_fact(&fact)))
            && self.lease.hold(&[known], &[])?.layers.is_empty()
            && self.store.has_layer(&known)
        {
            return Ok(known);
        }
        self.files.need(merged)?;
        let draft = self.store.new_layer()?;
        let need_below = || self.files.need(below);
        merge_layers(self.store, Merge { below, merged }, draft.fs(), (self.cancel, need_below))?;
        let now = Timestamp::from(self.store.now());
        let layer = draft.commit(self.lease, &LayerMeta::new(now, LayerSource::Own))?;
        // making it again is all that it costs
        let _ = self.store.index(|index| index.put_layer_fact(&fact, &layer));
        Ok(layer)
    }
}

/// The name of what the layers of an image become.
fn fact(config: &ImageConfig, kept: usize) -> FactKey {
    let (below, merged) = config.rootfs.diff_ids.split_at(kept);
    let below = ChainId::each(below).last().map(|chain| chain.as_digest().hex());
    KeyBuilder::new("squashed layer")
        .optional("below", below)
        .list("merged", merged.iter().map(|layer| layer.as_digest().hex()))
        .finish_fact()
}
