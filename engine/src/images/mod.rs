//! The images in the store: listing, inspecting, history, naming, removing.

pub(crate) mod archive_format;
pub(crate) mod compare;
pub(crate) mod manifests;
pub(crate) mod platform_images;
pub(crate) mod registries;
pub(crate) mod squash;
pub(crate) mod transfer;

use crate::{Engine, Error, ImageHolder, UnknownName, bases::resolve::hold_found};
use rbuild_cache::{Container, ContainerState, ImageLayer, ImageRecord, Lease, RefRecord};
use rbuild_image::ImageError;
use rbuild_oci::{Digest, HistoryEntry, ImageConfig, ImageId, ImageName, Platform, Reference, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// One line of `images`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSummary {
    /// The image.
    pub id: ImageId,
    /// Its names; none for a dangling image.
    pub names: Vec<Reference>,
    /// The digest of the manifest it was pulled with or pushed as, by name.
    pub digests: Vec<(Reference, Digest)>,
    /// The time at which the image was made.
    pub created: Option<Timestamp>,
    /// Bytes of its layers.
    pub size: u64,
    /// Labels, for filters.
    pub labels: BTreeMap<String, String>,
}

/// Everything about one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The image.
    pub id: ImageId,
    /// Its names.
    pub names: Vec<Reference>,
    /// The digest of the manifest it was pulled with or pushed as, by name.
    pub digests: Vec<(Reference, Digest)>,
    /// Its config; of an image for several platforms that for this machine, or else for the first of them.
    pub config: ImageConfig,
    /// Bytes of its layers.
    pub size: u64,
    /// The time at which it last got a name.
    pub tagged: Option<Timestamp>,
}

/// One line of `history`, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryLine {
    /// The image, on the top line only.
    pub id: Option<ImageId>,
    /// The time at which this history entry was created, if known.
    pub created: Option<Timestamp>,
    /// The instruction that created it.
    pub created_by: String,
    /// Bytes of its layer, 0 when it has none.
    pub size: u64,
    /// Its remark.
    pub comment: String,
}

/// One effect of removing an image. A removal returns them in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemovedImage {
    /// A name is gone.
    Untagged(Reference),
    /// The image is gone, with the layers that neither another image nor the build cache has.
    Deleted(ImageId),
}

/// The policy for removing what is still in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// Refuse.
    No,
    /// Do it.
    Yes,
}

pub(crate) type NamesByImage = BTreeMap<ImageId, Vec<(Reference, RefRecord)>>;

impl Engine {
    /// All images, newest first.
    ///
    /// # Errors
    /// [`Error::Store`] when the store cannot be read.
    pub fn images(&self) -> Result<Vec<ImageSummary>, Error> {
        let mut names = NamesByImage::new();
        for (reference, record) in self.store.names()? {
            names.entry(record.image).or_default().push((reference, record));
        }
        let rows = self.store.image_rows()?;
        let parts: BTreeSet<ImageId> = rows.iter().flat_map(|whole| &whole.parts).copied().collect();
        let mut summaries = Vec::with_capacity(rows.len());
        for row in rows {
            let named = names.remove(&row.id).unwrap_or_default();
            // what has no name of its own is shown as a part of the image that it belongs to
            if named.is_empty() && parts.contains(&row.id) {
                continue;
            }
            let measured =
                || Ok::<_, Error>(self.store.image(&row.id)?.map_or(0, |record| self.size(&record)));
            summaries.push(ImageSummary {
                id: row.id,
                digests: digests(&named),
                names: named.into_iter().map(|(name, _)| name).collect(),
                created: row.created,
                size: row.size.map_or_else(measured, Ok)?,
                labels: row.labels,
            });
        }
        summaries.sort_by_key(|summary| std::cmp::Reverse(summary.created));
        Ok(summaries)
    }

    /// The image called `name`: a reference, an id, or the beginning of an id.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`], [`Error::Store`].
    pub fn image(&self, name: &str) -> Result<Image, Error> {
        self.image_for(name, None)
    }

    /// The same, or its image for `platform`, which has its names.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`], [`Error::Store`], [`Error::Image`] when it has none for the platform.
    pub fn image_for(&self, name: &str, platform: Option<&Platform>) -> Result<Image, Error> {
        let whole = self.find_image(name)?;
        let part = self.shown(name, &whole, platform)?;
        let record = match platform {
            Some(_) if part != whole.id => self.record(&part)?,
            _ => whole.clone(),
        };
        let config = self.image_config(&part)?;
        let named = self.store.names_of(&whole.id)?;
        Ok(Image {
            id: record.id,
            config,
            size: self.size(&record),
            digests: digests(&named),
            tagged: named.iter().map(|(_, found)| found.tagged_at).max(),
            names: named.into_iter().map(|(name, _)| name).collect(),
        })
    }

    /// The ids of the image called `name` and of its images for platforms; none when there is no such image.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn images_called(&self, name: &str) -> Result<BTreeSet<ImageId>, Error> {
        match self.find_image(name) {
            Ok(whole) => Ok(whole.platforms.iter().map(|part| part.image).chain([whole.id]).collect()),
            Err(Error::NoSuchImage(_) | Error::ImageDamaged(_)) => Ok(BTreeSet::new()),
            Err(error) => Err(error),
        }
    }

    /// True if the store has an image called `name`, and has it for `platform`.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn has_image(&self, name: &str, platform: Option<&Platform>) -> Result<bool, Error> {
        let found = self.find_image(name).and_then(|whole| match platform {
            Some(_) => self.part(name, &whole, platform).map(drop),
            None => Ok(()),
        });
        match found {
            Ok(()) => Ok(true),
            Err(
                Error::NoSuchImage(_) | Error::ImageDamaged(_) | Error::Image(ImageError::NoPlatform { .. }),
            ) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The history of the image called `name`, or of that for `platform` in it, newest first.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`], [`Error::Store`], [`Error::Image`] when it has none for the platform.
    pub fn history(&self, name: &str, platform: Option<&Platform>) -> Result<Vec<HistoryLine>, Error> {
        let whole = self.find_image(name)?;
        let part = self.shown(name, &whole, platform)?;
        let record = self.record(&part)?;
        let config = self.image_config(&part)?;
        let mut layers = record.layers.iter();
        let line = |entry: HistoryEntry| HistoryLine {
            id: None,
            created: entry.created,
            created_by: entry.created_by,
            size: if entry.empty_layer { 0 } else { layers.next().map_or(0, |layer| self.layer_size(layer)) },
            comment: entry.comment,
        };
        let mut lines: Vec<HistoryLine> = config.history.into_iter().map(line).collect();
        lines.reverse();
        if let Some(top) = lines.first_mut() {
            top.id = Some(whole.id);
        }
        Ok(lines)
    }

    /// Gives the image called `source` the name `target` as well.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`], [`Error::Store`].
    pub fn tag(&self, source: &str, target: &ImageName) -> Result<(), Error> {
        let lease = self.store.lease()?;
        // its layers are looked at by those who use them
        let held =
            hold_found(|id| lease.hold_record(id), || self.find_image(source).map(|found| Some(found.id)))?;
        let record = held.ok_or_else(|| Error::NoSuchImage(UnknownName::alone(source)))?;
        Ok(self.store.set_name(
            target,
            &RefRecord { image: record.id, manifest: None, tagged_at: Timestamp::from(self.store.now()) },
        )?)
    }

    /// Removes a name, and with the last name the image; an id removes all its names when forced.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`], [`Error::ImageInUse`] when a container or several names hold it, [`Error::Store`].
    pub fn remove_image(&self, name: &str, force: Force) -> Result<Vec<RemovedImage>, Error> {
        let _reserve = self.store.reserve();
        let record = match self.find_image(name) {
            Err(missing @ (Error::NoSuchImage(_) | Error::ImageDamaged(_))) => {
                return self.remove_remains(name)?.ok_or(missing);
            }
            found => found?,
        };
        let named = self.store.names_of(&record.id)?;
        // compared in full: `box` and `box:latest` are one name
        let full = name.parse::<Reference>().map(|asked| asked.to_string()).ok();
        let asked = named.iter().find(|(known, _)| Some(known.to_string()) == full);
        let asked = asked.map(|(known, _)| known.clone());
        let is_named = asked.is_some();
        let doomed: Vec<Reference> = match asked {
            Some(asked) => vec![asked],
            None if named.len() > 1 && force == Force::No => {
                return Err(Error::ImageInUse { name: name.to_owned(), holder: ImageHolder::Names });
            }
            None => named.iter().map(|(known, _)| known.clone()).collect(),
        };
        let last = doomed.len() == named.len() && {
            self.check_unused(name, &record, force)?;
            match self.running_container(&record)? {
                // it has no name then, as with docker
                Some(_) if is_named => false,
                Some(id) => {
                    let holder = ImageHolder::RunningContainer(id);
                    return Err(Error::ImageInUse { name: name.to_owned(), holder });
                }
                None => true,
            }
        };
        let mut removed = Vec::new();
        for reference in doomed {
            self.store.remove_reference(&reference)?;
            removed.push(RemovedImage::Untagged(reference));
        }
        if last {
            self.store.remove_image(&record.id)?;
            removed.push(RemovedImage::Deleted(record.id));
            removed.extend(self.remove_platforms(&record)?);
            // frees the layers that neither another image nor the build cache has
            let manifests: Vec<Digest> = named.iter().filter_map(|(_, record)| record.manifest).collect();
            self.store.remove_parts(&record, &manifests)?;
        }
        Ok(removed)
    }

    /// Sees that nothing needs an image whose last name is to go.
    fn check_unused(&self, name: &str, record: &ImageRecord, force: Force) -> Result<(), Error> {
        let in_use = |holder| Err(Error::ImageInUse { name: name.to_owned(), holder });
        if let Some(whole) = self.store.image_rows()?.iter().find(|whole| whole.parts.contains(&record.id)) {
            return in_use(ImageHolder::Platforms(short_id(&whole.id.as_digest().hex())));
        }
        if force == Force::No
            && let Some(container) = self.containers()?.into_iter().find(|one| is_made_from(one, record))
        {
            return in_use(ImageHolder::Container(short_id(&container.id)));
        }
        Ok(())
    }

    /// The short id of a container that was made from an image and runs.
    fn running_container(&self, record: &ImageRecord) -> Result<Option<String>, Error> {
        let containers = self.containers()?.into_iter();
        let mut running = containers.filter(|one| one.state == ContainerState::Running);
        Ok(running.find(|one| is_made_from(one, record)).map(|one| short_id(&one.id)))
    }

    /// Removes what is left of an image whose record is gone or damaged; `None` when nothing of it is there.
    fn remove_remains(&self, name: &str) -> Result<Option<Vec<RemovedImage>>, Error> {
        let mut removed = Vec::new();
        let mut id = self.store.find_image(name)?;
        if let Ok(reference) = name.parse::<Reference>() {
            id = self.store.reference(&reference)?.map(|found| found.image).or(id);
            if self.store.remove_reference(&reference)? {
                removed.push(RemovedImage::Untagged(reference));
            }
        }
        if let Some(id) = id
            && self.store.remove_image(&id)?
        {
            removed.push(RemovedImage::Deleted(id));
        }
        Ok((!removed.is_empty()).then_some(removed))
    }

    /// The image called `name`, held by `lease` from now on; it may be one for several platforms.
    pub(crate) fn held_whole(&self, name: &str, lease: &Lease) -> Result<ImageRecord, Error> {
        let held =
            hold_found(|id| lease.hold_image(id), || self.find_image(name).map(|found| Some(found.id)))?;
        held.ok_or_else(|| Error::ImageDamaged(name.to_owned()))
    }

    /// The image called `name` for this machine or `platform`, held by `lease` from now on.
    pub(crate) fn held_image(
        &self,
        name: &str,
        platform: Option<&Platform>,
        lease: &Lease,
    ) -> Result<ImageRecord, Error> {
        let whole = self.held_whole(name, lease)?;
        let part = self.part(name, &whole, platform)?;
        if part == whole.id {
            return Ok(whole);
        }
        lease.hold_image(&part)?.ok_or_else(|| Error::ImageDamaged(part.to_string()))
    }

    fn no_such_image(&self, name: &str) -> Error {
        // what cannot be read has no name to propose
        let known = self.store.references().unwrap_or_default();
        let known: Vec<String> = known.iter().map(|(reference, _)| reference.familiar()).collect();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        Error::NoSuchImage(UnknownName::among(name, &known))
    }

    /// The record of the image called `name`.
    pub(crate) fn find_image(&self, name: &str) -> Result<ImageRecord, Error> {
        let missing = || self.no_such_image(name);
        if let Ok(reference) = name.parse::<Reference>()
            && let Some(found) = self.store.reference(&reference)?
        {
            let record = self.store.image(&found.image)?;
            return record.ok_or_else(|| Error::ImageDamaged(name.to_owned()));
        }
        let prefix = name.strip_prefix("sha256:").unwrap_or(name);
        let is_id = !prefix.is_empty()
            && prefix.len() <= 64
            && prefix.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !is_id {
            return Err(missing());
        }
        let id = self.store.find_image(prefix)?.ok_or_else(missing)?;
        self.store.image(&id)?.ok_or_else(missing)
    }

    /// Bytes of the files in all layers.
    pub(crate) fn size(&self, record: &ImageRecord) -> u64 {
        record.layers.iter().map(|layer| self.layer_size(layer)).sum()
    }

    /// Bytes of the files in a layer; none while they are elsewhere.
    pub(crate) fn layer_size(&self, layer: &ImageLayer) -> u64 {
        let counted = || self.store.layer_meta(&layer.layer).ok()?.size_bytes;
        layer.size.or_else(counted).unwrap_or(0)
    }
}

fn digests(named: &[(Reference, RefRecord)]) -> Vec<(Reference, Digest)> {
    named.iter().filter_map(|(name, record)| Some((name.clone(), record.manifest?))).collect()
}

/// True if `container` was made from the image, or from one of its platforms.
fn is_made_from(container: &Container, record: &ImageRecord) -> bool {
    container.image_id == record.id || record.includes(&container.image_id)
}

fn short_id(id: &str) -> String {
    id.get(..12).unwrap_or(id).to_owned()
}
