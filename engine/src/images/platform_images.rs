//! Images for several platforms: the one for a platform, all that are here, and the removal of one.

use crate::{Engine, Error, Force, ImageHolder, RemovedImage, UnknownName};
use rbuild_cache::{ImageRecord, Lease, PlatformImage};
use rbuild_image::ImageError;
use rbuild_oci::{ImageId, Platform, Reference};

/// The image for one platform, as lists show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImagePart {
    /// The platform.
    pub platform: Platform,
    /// The image.
    pub id: ImageId,
    /// Bytes of its layers.
    pub size: u64,
}

/// The images to be saved or sent under one name.
pub(crate) struct HeldImages {
    /// The only image, or the one for all platforms.
    pub(crate) whole: ImageRecord,
    /// The images for its platforms that are wanted; none of an only image.
    pub(crate) parts: Vec<ImageRecord>,
}

impl Engine {
    /// The images of `id` for its platforms that are here: itself, when it is for one.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`], [`Error::Store`].
    pub fn image_parts(&self, id: &ImageId) -> Result<Vec<ImagePart>, Error> {
        let whole = self.record(id)?;
        let parts: Vec<ImageId> = if whole.platforms.is_empty() {
            vec![whole.id]
        } else {
            whole.platforms.iter().map(|one| one.image).collect()
        };
        let shown = |id: ImageId| {
            let platform = self.image_config(&id)?.platform();
            Ok(ImagePart { platform, id, size: self.size(&self.record(&id)?) })
        };
        parts.into_iter().map(shown).collect()
    }

    /// Removes from the image called `name` its images for `platforms`. Other images that have them lose them too.
    ///
    /// # Errors
    /// [`Error::Image`] when it has none for one of them; [`Error::ImageInUse`] when nothing would be left of it, when a
    /// container needs one, or without force.
    pub fn remove_image_platforms(
        &self,
        name: &str,
        platforms: &[Platform],
        force: Force,
    ) -> Result<Vec<RemovedImage>, Error> {
        let in_use = |holder| Error::ImageInUse { name: name.to_owned(), holder };
        let whole = self.find_image(name)?;
        let doomed: Vec<ImageId> = platforms
            .iter()
            .map(|platform| self.part(name, &whole, Some(platform)))
            .collect::<Result<_, _>>()?;
        let (gone, kept): (Vec<_>, Vec<_>) =
            whole.platforms.iter().cloned().partition(|one| doomed.contains(&one.image));
        if kept.is_empty() {
            return Err(in_use(ImageHolder::LastPlatform));
        }
        if force == Force::No {
            return Err(in_use(ImageHolder::Variant));
        }
        if let Some(container) =
            self.containers()?.into_iter().find(|container| doomed.contains(&container.image_id))
        {
            return Err(in_use(ImageHolder::Container(container.id[..12].to_owned())));
        }
        let lease = self.store.lease()?;
        let images = kept.iter().map(|one| lease.hold_image(&one.image));
        let images: Vec<ImageRecord> = images.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
        rbuild_image::record_several(&self.store, &lease, whole.id, &images)?;
        self.remove_platforms(&ImageRecord { platforms: gone, ..whole })
    }

    /// The image for this machine or `platform` in `whole`, which is called `name`. An image for one platform is for this
    /// machine, whatever that platform.
    pub(crate) fn part(
        &self,
        name: &str,
        whole: &ImageRecord,
        platform: Option<&Platform>,
    ) -> Result<ImageId, Error> {
        let host = Platform::host();
        let wanted = platform.unwrap_or(&host);
        let missing = |available: Vec<String>| {
            let subject = name.parse::<Reference>().map_or_else(|_| name.to_owned(), |name| name.familiar());
            let wanted = wanted.to_string();
            Error::Image(ImageError::NoPlatform { subject, wanted, available })
        };
        if whole.platforms.is_empty() {
            let own = self.image_config(&whole.id)?.platform();
            let fits = platform.is_none_or(|wanted| own.distance(wanted).is_some());
            return if fits { Ok(whole.id) } else { Err(missing(vec![own.to_string()])) };
        }
        let available = || whole.platforms.iter().map(|one| one.platform.to_string()).collect();
        whole.for_platform(wanted).ok_or_else(|| missing(available()))
    }

    /// The images for the platforms of `whole`, held by `lease` from now on; none when it is an image for one.
    pub(crate) fn held_platforms(
        &self,
        whole: &ImageRecord,
        lease: &Lease,
    ) -> Result<Vec<ImageRecord>, Error> {
        if whole.platforms.is_empty() {
            return Ok(Vec::new());
        }
        let held = |part: &PlatformImage| {
            lease.hold_image(&part.image)?.ok_or_else(|| Error::ImageDamaged(part.image.to_string()))
        };
        whole.platforms.iter().map(held).collect()
    }

    /// The image of `whole` that is shown for `platform`: without one, that for this machine, or else the first.
    pub(crate) fn shown(
        &self,
        name: &str,
        whole: &ImageRecord,
        platform: Option<&Platform>,
    ) -> Result<ImageId, Error> {
        match platform {
            Some(_) => self.part(name, whole, platform),
            None => Ok(whole.shown_part()),
        }
    }

    /// The record of an image that another record names.
    pub(crate) fn record(&self, id: &ImageId) -> Result<ImageRecord, Error> {
        self.store.image(id)?.ok_or_else(|| Error::NoSuchImage(UnknownName::alone(id.to_string())))
    }

    /// The image called `name` with its images for `platforms`, or all that are here when that is empty; held by `lease` from
    /// now on.
    pub(crate) fn held_images(
        &self,
        name: &str,
        platforms: &[Platform],
        lease: &Lease,
    ) -> Result<HeldImages, Error> {
        let whole = self.held_whole(name, lease)?;
        if platforms.is_empty() {
            let parts = self.held_platforms(&whole, lease)?;
            return Ok(HeldImages { whole, parts });
        }
        let mut parts: Vec<ImageRecord> = Vec::new();
        for platform in platforms {
            let part = self.part(name, &whole, Some(platform))?;
            if parts.iter().all(|known| known.id != part) {
                let held = lease.hold_image(&part)?;
                parts.push(held.ok_or_else(|| Error::ImageDamaged(part.to_string()))?);
            }
        }
        match parts.len() {
            1 => Ok(HeldImages { whole: parts.remove(0), parts }),
            _ => Ok(HeldImages { whole, parts }),
        }
    }

    /// Removes the images for the platforms of `whole`, which is gone, as far as they are images on their own account no more.
    pub(crate) fn remove_platforms(&self, whole: &ImageRecord) -> Result<Vec<RemovedImage>, Error> {
        let others = self.store.image_rows()?;
        let mut removed = Vec::new();
        for part in &whole.platforms {
            let is_needed = others.iter().any(|other| other.parts.contains(&part.image))
                || !self.store.names_of(&part.image)?.is_empty();
            if !is_needed && self.store.remove_image(&part.image)? {
                removed.push(RemovedImage::Deleted(part.image));
            }
        }
        Ok(removed)
    }
}

impl HeldImages {
    /// The layers of all of them, lowest first, each once.
    pub(crate) fn stack(&self) -> Vec<rbuild_cache::LayerId> {
        if self.parts.is_empty() {
            return self.whole.stack();
        }
        let mut stack = Vec::new();
        for layer in self.parts.iter().flat_map(ImageRecord::stack) {
            if !stack.contains(&layer) {
                stack.push(layer);
            }
        }
        stack
    }
}
