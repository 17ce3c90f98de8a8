//! Where one base image comes from: the image that a lock demands, this store, other stores on the machine, its registry.

use crate::{
    Activity, BuildRequest, Engine, Error, LockedImage, MovedImage, PullPolicy, UnknownName, Warning,
    bases::resolve::{Answer, hold_found},
    lookup::lower_stores::LowerStores,
    report::reporter::Reporter,
};
use rbuild_cache::{ImageRecord, Lease};
use rbuild_oci::{Digest, ImageConfig, ImageId, ImageName, Platform, Reference};
use rbuild_planner::ImageRequest;
use std::sync::Arc;

/// An image of the store with its config.
type Found = (ImageRecord, ImageConfig);

/// What a name stands for in one build.
enum Wanted {
    /// What the reference leads to.
    Reference(Reference),
    /// This image and no other.
    Image(ImageId),
}

impl Engine {
    /// The image, from the store if the request allows that, else from other stores, else from its registry, which is asked
    /// for manifest and config only. `None` when it is nowhere and no registry may be asked.
    pub(crate) async fn fetched_image(
        &self,
        (wanted, lease): (&ImageRequest, &Arc<Lease>),
        request: &BuildRequest,
        reporter: &Reporter,
    ) -> Result<Option<Answer>, Error> {
        if let Some(context) = &wanted.layout {
            let found = self.layout_image(context, (wanted, lease), request, reporter).await?;
            return Ok(Some(Answer::Found(found.image, Box::new(found.config))));
        }
        let (image, platform) = (wanted.reference.to_string(), request.shown_platform(&wanted.platform));
        let activity = reporter.begin(Activity::LoadMetadata { image, context: None, platform });
        let found = self.found_image((wanted, lease), request, reporter).await;
        let found = activity.end_with(found)?;
        if let Some(lock) = &request.locked
            && let Some(locked) = lock.get(&wanted.reference)
            && let Some(now) = self.locked_image(&wanted.reference)?
            && now != locked
        {
            let name = wanted.reference.familiar();
            reporter.warn(Warning::ImageMoved(MovedImage {
                name,
                from: locked.to_string(),
                to: now.to_string(),
            }));
        }
        Ok(found.map(|(record, config)| Answer::Found(record, Box::new(config))))
    }

    async fn found_image(
        &self,
        (wanted, lease): (&ImageRequest, &Arc<Lease>),
        request: &BuildRequest,
        reporter: &Reporter,
    ) -> Result<Option<Found>, Error> {
        let reference = match asked(&wanted.reference, request)? {
            Wanted::Image(id) => {
                return self.image_of_id(id, (wanted, lease), request, reporter).await.map(Some);
            }
            Wanted::Reference(reference) => reference,
        };
        let remote = self.remote.heard_by(reporter.listener());
        let is_locked = reference != wanted.reference;
        if is_locked && request.pull == PullPolicy::Always {
            // to tell that the tag has moved
            remote.resolve(&wanted.reference, &wanted.platform, lease).await?;
        }
        let here = match is_locked {
            true => self.locked_here(&reference, (wanted, lease), request)?,
            false if request.pull == PullPolicy::Always => None,
            false => self.local_image(&reference, (wanted, lease), request)?,
        };
        if here.is_some() {
            return Ok(here);
        }
        if !is_locked && let Some(found) = self.brought_image((wanted, lease), request, reporter).await? {
            return Ok(Some(found));
        }
        if request.pull == PullPolicy::Never {
            return Ok(None);
        }
        let record = remote.resolve(&reference, &wanted.platform, lease).await?.image;
        let config = self.image_config(&record.id)?;
        Ok(Some((record, config)))
    }

    /// The image `id`, which is locked: from the store, or from another store that has it under the name. No registry has
    /// images by id.
    async fn image_of_id(
        &self,
        id: ImageId,
        (wanted, lease): (&ImageRequest, &Arc<Lease>),
        request: &BuildRequest,
        reporter: &Reporter,
    ) -> Result<Found, Error> {
        if let Some(record) = lease.hold_image(&id)?
            && let Some(found) = self.fitting(record, (wanted, lease), request)?
        {
            return Ok(found);
        }
        match self.brought_image((wanted, lease), request, reporter).await? {
            Some(found) if found.0.id == id => Ok(found),
            Some(found) => Err(Error::LockedElsewhere {
                name: wanted.reference.familiar(),
                locked: id,
                found: found.0.id,
            }),
            None => Err(Error::NoSuchImage(UnknownName::alone(id.to_string()))),
        }
    }

    /// The image, if the store or a layout directory has it; nothing but the lease is written.
    pub(crate) fn known_image(
        &self,
        (wanted, lease): (&ImageRequest, &Lease),
        request: &BuildRequest,
    ) -> Result<Option<Answer>, Error> {
        let found = match &wanted.layout {
            Some(context) => Some(self.known_layout_image(context, (wanted, lease), request)?),
            None => match asked(&wanted.reference, request)? {
                Wanted::Image(id) => match lease.hold_image(&id)? {
                    Some(record) => self.fitting(record, (wanted, lease), request)?,
                    None => None,
                },
                Wanted::Reference(reference) if reference != wanted.reference => {
                    self.locked_here(&reference, (wanted, lease), request)?
                }
                Wanted::Reference(reference) => self.local_image(&reference, (wanted, lease), request)?,
            },
        };
        Ok(found.map(|(record, config)| Answer::Found(record, Box::new(config))))
    }

    /// The image, if the store has it or another store of the request from which it is then copied here.
    pub(crate) async fn brought_here(
        &self,
        (wanted, lease): (&ImageRequest, &Arc<Lease>),
        request: &BuildRequest,
        reporter: &Reporter,
    ) -> Result<Option<Answer>, Error> {
        let known = self.known_image((wanted, lease), request)?;
        if known.is_some() || wanted.layout.is_some() {
            return Ok(known);
        }
        // what a lock names otherwise is seen by whoever uses it
        self.brought_image((wanted, lease), request, reporter).await?;
        self.known_image((wanted, lease), request)
    }

    /// What a lock would say of `reference` now: the digest that its registry had, or else the image.
    pub(crate) fn locked_image(&self, reference: &Reference) -> Result<Option<LockedImage>, Error> {
        let found = self.store.reference(reference)?;
        Ok(found.map(|found| found.manifest.map_or(LockedImage::Image(found.image), LockedImage::Digest)))
    }

    /// The image from the first of the request's other stores that has it, named in this store.
    async fn brought_image(
        &self,
        (wanted, lease): (&ImageRequest, &Arc<Lease>),
        request: &BuildRequest,
        reporter: &Reporter,
    ) -> Result<Option<Found>, Error> {
        // a digest is of a registry's bytes, which other stores do not keep
        let Ok(name) = ImageName::new(wanted.reference.clone()) else { return Ok(None) };
        for source in &request.image_sources {
            let (image, store) = (wanted.reference.to_string(), source.to_string());
            let activity = Arc::new(reporter.begin(Activity::AskStore { image, store }));
            let brought = source.bring(&self.store, (&name, &wanted.platform), &activity).await;
            let brought = match Arc::into_inner(activity) {
                Some(activity) => activity.end_with(brought)?,
                None => brought?,
            };
            if brought.is_some() {
                return self.local_image(&wanted.reference, (wanted, lease), request);
            }
        }
        Ok(None)
    }

    /// The image of a lock's digest: pulled by that digest, or by a tag that still leads to it.
    fn locked_here(
        &self,
        pinned: &Reference,
        (wanted, lease): (&ImageRequest, &Lease),
        request: &BuildRequest,
    ) -> Result<Option<Found>, Error> {
        if let Some(found) = self.local_image(pinned, (wanted, lease), request)? {
            return Ok(Some(found));
        }
        let digest: Option<Digest> =
            self.store.reference(&wanted.reference)?.and_then(|found| found.manifest);
        if digest.as_ref() != pinned.digest() {
            return Ok(None);
        }
        self.local_image(&wanted.reference, (wanted, lease), request)
    }

    /// The image `reference` points at in the store, held by the lease, with its config.
    fn local_image(
        &self,
        reference: &Reference,
        (wanted, lease): (&ImageRequest, &Lease),
        request: &BuildRequest,
    ) -> Result<Option<Found>, Error> {
        let find = || Ok(self.store.reference(reference)?.map(|found| found.image));
        let mut record = hold_found(|id| lease.hold_image(id), find)?;
        if record.is_none() && LowerStores::open(&self.store, request)?.bring_image(reference)? {
            record = hold_found(|id| lease.hold_image(id), find)?;
        }
        let Some(record) = record else { return Ok(None) };
        self.fitting(record, (wanted, lease), request)
    }

    /// The image for the wanted platform. One for another platform counts only when the request names no platform.
    fn fitting(
        &self,
        mut record: ImageRecord,
        (wanted, lease): (&ImageRequest, &Lease),
        request: &BuildRequest,
    ) -> Result<Option<Found>, Error> {
        if !record.platforms.is_empty() {
            let Some(image) = record.for_platform(&wanted.platform) else { return Ok(None) };
            let Some(image) = lease.hold_image(&image)? else { return Ok(None) };
            record = image;
        }
        let config = self.image_config(&record.id)?;
        let may_differ = request.platforms.is_empty() && wanted.platform == Platform::host();
        let fits = may_differ || config.platform().distance(&wanted.platform).is_some();
        Ok(fits.then_some((record, config)))
    }
}

/// What `reference` stands for: itself, or what the request's lock says. A digest needs no lock.
fn asked(reference: &Reference, request: &BuildRequest) -> Result<Wanted, Error> {
    let Some(lock) = request.locked.as_ref().filter(|_| reference.digest().is_none()) else {
        return Ok(Wanted::Reference(reference.clone()));
    };
    match lock.get(reference) {
        Some(LockedImage::Digest(digest)) => Ok(Wanted::Reference(reference.with_digest(digest))),
        Some(LockedImage::Image(id)) => Ok(Wanted::Image(id)),
        None => Err(Error::NotLocked(reference.familiar())),
    }
}
