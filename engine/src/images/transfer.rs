//! Images in and out: archives and registries.

use crate::{
    Activity, ArchiveFormat, Engine, Error, EventSink, Note,
    containers::apply_changes,
    layers::lost_layers::Lost,
    remote_sources::WebFiles,
    report::reporter::{Reporter, Running},
    urls::without_login,
};
use rbuild_cache::{FoundIn, LayerId, RefRecord, RemoteLayer};
use rbuild_image::{ImageError, ImageEvent, ImageForm, Import, Packing, PushedAs, SaveItem};
use rbuild_oci::{ContainerConfig, Digest, ImageId, ImageName, Platform, Reference, Timestamp};
use std::{
    collections::{BTreeMap, HashSet},
    fs::File,
    io::{Read, Write},
    path::PathBuf,
    sync::Mutex,
};

/// Where an archive is read from.
pub enum ArchiveSource {
    /// A file.
    File(PathBuf),
    /// A stream, such as standard input.
    Stream(Box<dyn Read + Send>),
}

/// An image that was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedImage {
    /// The image.
    pub id: ImageId,
    /// The names it got.
    pub names: Vec<ImageName>,
}

/// The outcome of a pull: a new image, or one that was there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullStatus {
    /// The image was there already.
    UpToDate,
    /// It was downloaded.
    Downloaded,
}

/// A finished pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// The image.
    pub image: ImageId,
    /// Digest of the manifest or index the reference led to.
    pub digest: Digest,
    /// The platform of the image, which need not be the one asked for: a registry may have no other.
    pub platform: Platform,
    /// The outcome: new, or there already.
    pub status: PullStatus,
}

/// A finished push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// Digest of the manifest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

impl Engine {
    /// Writes images to an archive: of those for several platforms the ones for `platforms`, or all that are here when that is
    /// empty. The name of a repository, without tag or digest, stands for all its tags.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`]; [`Error::LayersElsewhere`] for an image that [`Engine::fetch_layers`] has to fetch first;
    /// [`Error::Image`] when a layer is damaged or `out` fails.
    pub fn save(
        &self,
        (names, platforms): (&[String], &[Platform]),
        format: ArchiveFormat,
        out: &mut dyn Write,
    ) -> Result<(), Error> {
        let lease = self.store.lease()?;
        let mut items: BTreeMap<ImageId, SaveItem> = BTreeMap::new();
        for name in names {
            let tags = self.tags_to_save(name)?;
            let asked = if tags.is_empty() { Some((name.clone(), None)) } else { None };
            let tags = tags.into_iter().map(|tag| (tag.to_string(), Some(tag)));
            for (name, tag) in tags.chain(asked) {
                let held = self.held_images(&name, platforms, &lease)?;
                self.check_layers(&held.stack())?;
                let item = SaveItem { image: held.whole, platforms: held.parts, names: Vec::new() };
                let item = items.entry(item.image.id).or_insert(item);
                item.names.extend(tag);
            }
        }
        for item in items.values_mut() {
            item.names.sort();
            item.names.dedup();
        }
        let items: Vec<SaveItem> = items.into_values().collect();
        Ok(rbuild_image::save(&self.store, &items, format.into(), out)?)
    }

    /// The names that `asked` stands for in an archive: itself, or the tags of the repository it names. An id and a digest are no
    /// name that an archive could give.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn tags_to_save(&self, asked: &str) -> Result<Vec<ImageName>, Error> {
        let Ok(reference) = asked.parse::<Reference>() else { return Ok(Vec::new()) };
        if !reference.is_name_only() {
            let known = self.store.reference(&reference)?.is_some();
            return Ok(ImageName::new(reference).ok().filter(|_| known).into_iter().collect());
        }
        self.names_in(&reference)
    }

    /// The names that images here have in the repository of `reference`.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn names_in(&self, reference: &Reference) -> Result<Vec<ImageName>, Error> {
        let known = self.store.names()?.into_iter().map(|(known, _)| known);
        Ok(known
            .filter(|known| known.has_repository_of(reference))
            .filter_map(|known| ImageName::new(known).ok())
            .collect())
    }

    /// Reads all images of an archive into the store: of those for several platforms all that the archive has, or the ones for
    /// `platform`.
    ///
    /// # Errors
    /// [`Error::Image`] when the archive is not one, or damaged, or has none for the platform; nothing is named then.
    pub fn load(
        &self,
        source: ArchiveSource,
        platform: Option<&Platform>,
        events: EventSink,
    ) -> Result<Vec<LoadedImage>, Error> {
        let activity = Reporter::new(events).begin(Activity::Load);
        let mut expected = 0;
        let source = match source {
            ArchiveSource::File(path) => {
                let file = File::open(&path).map_err(|source| Error::Io { action: "open", path, source })?;
                expected = file.metadata().map_or(0, |file| file.len());
                rbuild_image::ArchiveSource::File(file)
            }
            ArchiveSource::Stream(stream) => rbuild_image::ArchiveSource::Stream(stream),
        };
        self.store.make_room(expected)?;
        let progress = Progress::new(&activity);
        let loaded = rbuild_image::load(&self.store, source, platform, &|event| progress.tell(&event));
        let loaded = activity.end_with(loaded)?;
        // compressed layers take more than the archive
        self.store.make_room(0)?;
        Ok(loaded.into_iter().map(|image| LoadedImage { id: image.id, names: image.names }).collect())
    }

    /// Makes an image of one layer, for `platform` or this machine, out of a tar of a root filesystem, compressed or not.
    ///
    /// # Errors
    /// [`Error::Image`] when it is not a tar, [`Error::Plan`] or [`Error::Syntax`] for a bad change.
    pub fn import(
        &self,
        source: ArchiveSource,
        (name, platform): (Option<&ImageName>, Option<&Platform>),
        changes: &[String],
        message: Option<&str>,
    ) -> Result<ImageId, Error> {
        let (tar, origin): (Box<dyn Read + Send>, String) = match source {
            ArchiveSource::File(path) => {
                let origin = path.display().to_string();
                let file = File::open(&path).map_err(|source| Error::Io { action: "open", path, source })?;
                (Box::new(file), origin)
            }
            ArchiveSource::Stream(stream) => (stream, "-".to_owned()),
        };
        let now = Timestamp::from(self.store.now());
        let import = Import {
            config: apply_changes(ContainerConfig::default(), changes)?,
            platform: platform.cloned().unwrap_or_else(Platform::host),
            created: now,
            comment: message.map_or_else(|| format!("Imported from {origin}"), str::to_owned),
        };
        let lease = self.store.lease()?;
        let record = rbuild_image::import_tar(&self.store, &lease, tar, import)?;
        if let Some(name) = name {
            self.store.set_name(name, &RefRecord { image: record.id, manifest: None, tagged_at: now })?;
        }
        Ok(record.id)
    }

    /// As [`Engine::import`], of the file at `url` (http or https), which is kept: a server that says that it has not changed is
    /// not asked for it again.
    ///
    /// # Errors
    /// [`Error::Source`] when it cannot be had; those of [`Engine::import`].
    pub async fn import_url(
        &self,
        url: &str,
        (name, platform): (Option<&ImageName>, Option<&Platform>),
        (changes, message): (&[String], Option<&str>),
        events: EventSink,
    ) -> Result<ImageId, Error> {
        // found out before anything is fetched
        apply_changes(ContainerConfig::default(), changes)?;
        let (lease, reporter) = (self.store.lease()?, Reporter::new(events));
        let shown = without_login(url);
        let files = WebFiles::new((&self.store, &lease), &self.web, &reporter);
        let found = files.find(url, None).await.map_err(|error| Error::Source {
            url: shown.clone(),
            source: Box::new(error),
            diagnostic: None,
        })?;
        let file = found.open(&self.store)?;
        let comment = message.map_or_else(|| format!("Imported from {shown}"), str::to_owned);
        self.import(ArchiveSource::File(file.bytes), (name, platform), changes, Some(&comment))
    }

    /// Fetches an image, for `platform` or the machine's own.
    ///
    /// # Errors
    /// [`Error::Registry`], [`Error::Image`].
    pub async fn pull(
        &self,
        reference: &Reference,
        platform: Option<Platform>,
        events: EventSink,
    ) -> Result<Pulled, Error> {
        let reporter = Reporter::new(events);
        let activity = reporter.begin(Activity::Pull { image: reference.to_string() });
        let before = self.known_images(reference)?;
        let platform = platform.unwrap_or_else(Platform::host);
        let pulled = {
            let progress = Progress::new(&activity);
            let tell = |event: ImageEvent| progress.tell(&event);
            self.remote.heard_by(reporter.listener()).pull(reference, &platform, &tell).await
        };
        let rbuild_image::Pulled { image, digest } = activity.end_with(pulled)?;
        let status = if before.contains(&image.id) { PullStatus::UpToDate } else { PullStatus::Downloaded };
        let platform = self.image_config(&image.id)?.platform();
        Ok(Pulled { image: image.id, digest, platform, status })
    }

    /// The image that `reference` leads to, with those for its platforms.
    fn known_images(&self, reference: &Reference) -> Result<Vec<ImageId>, Error> {
        let Some(known) = self.store.reference(reference)? else { return Ok(Vec::new()) };
        let record = self.store.image(&known.image)?;
        let parts = record.iter().flat_map(|image| &image.platforms).map(|part| part.image);
        Ok(parts.chain([known.image]).collect())
    }

    /// Fetches those layers of the image called `name`, or of its images for `platforms`, that are still at its registry: a
    /// build fetches of a base image only what it needs. Starting and saving the image need them all.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`], [`Error::Image`].
    pub async fn fetch_layers(
        &self,
        name: &str,
        platforms: &[Platform],
        events: EventSink,
    ) -> Result<(), Error> {
        let lease = self.store.lease()?;
        let stack = self.held_images(name, platforms, &lease)?.stack();
        let Some(RemoteLayer { origin, .. }) = self.remote.elsewhere(&stack)? else { return Ok(()) };
        let reporter = Reporter::new(events);
        let activity = reporter.begin(Activity::FetchLayers { image: origin.to_string() });
        let fetched = {
            let progress = Progress::new(&activity);
            let tell = |event: ImageEvent| progress.tell(&event);
            self.remote.heard_by(reporter.listener()).fetch_layers(&stack, &tell).await
        };
        match activity.end_with(fetched) {
            Err(error) if self.give_up(&stack, &error)? => {
                Err(Error::LayersLost { image: name.to_owned(), source: Box::new(error) })
            }
            fetched => Ok(fetched?),
        }
    }

    /// If `error` says that layers of `stack` cannot be had which came with caches of other machines, has the next build carry their
    /// steps out. False when there are none.
    fn give_up(&self, stack: &[LayerId], error: &ImageError) -> Result<bool, Error> {
        let Some(lost) = Lost::of_fetch(error) else { return Ok(false) };
        let (mut layers, mut of_cache) = (HashSet::new(), false);
        for layer in stack {
            let remote = self.store.remote_layer(layer)?;
            if let Some(remote) = remote.filter(|remote| lost.covers(&remote.blob.digest)) {
                layers.insert(*layer);
                of_cache |= remote.found_in == FoundIn::Cache;
            }
        }
        // their records may have gone before
        Ok(self.store.evict_records_of(&layers)? > 0 || of_cache)
    }

    /// True if some of the image's layers, or of those of its images for `platforms`, are still at its registry.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`], [`Error::Store`], [`Error::Image`] when it has none for one of them.
    pub fn lacks_layers(&self, name: &str, platforms: &[Platform]) -> Result<bool, Error> {
        let whole = self.find_image(name)?;
        if platforms.is_empty() {
            return Ok(self.remote.elsewhere(&whole.stack())?.is_some());
        }
        for platform in platforms {
            let part = self.part(name, &whole, Some(platform))?;
            if self.remote.elsewhere(&self.record(&part)?.stack())?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Sees that all files of these layers of an image are in the store.
    ///
    /// # Errors
    /// [`Error::LayersElsewhere`].
    pub(crate) fn check_layers(&self, stack: &[LayerId]) -> Result<(), Error> {
        match self.remote.elsewhere(stack)? {
            Some(RemoteLayer { origin, found_in, .. }) => {
                Err(Error::LayersElsewhere { image: origin.familiar(), found_in })
            }
            None => Ok(()),
        }
    }

    /// Sends the image called `name` to the registry in that name, its layers packed as `packing` says: all that is here of one
    /// for several platforms, or the image for `platform` alone.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`], [`Error::Registry`], [`Error::Image`].
    pub async fn push(
        &self,
        (name, platform): (&ImageName, Option<&Platform>),
        packing: &Packing,
        events: EventSink,
    ) -> Result<Pushed, Error> {
        let lease = self.store.lease()?;
        let wanted = platform.map_or(&[][..], std::slice::from_ref);
        let held = self.held_images(&name.to_string(), wanted, &lease)?;
        let (image, platforms) = (held.whole, held.parts);
        if image.layers.iter().any(|layer| layer.blob.as_ref().is_some_and(|blob| !packing.keeps(blob))) {
            // what is compressed again has to be here
            self.fetch_layers(&name.to_string(), wanted, events.clone()).await?;
        }
        let form = ImageForm::packed(*packing);
        let reporter = Reporter::new(events);
        let activity = reporter.begin(Activity::Push { image: name.to_string() });
        let pushed = {
            let progress = Progress::new(&activity);
            let tell = |event: ImageEvent| progress.tell(&event);
            let pushed = (&image, platforms.as_slice());
            self.remote.heard_by(reporter.listener()).push(pushed, (name, PushedAs::Tag), &form, &tell).await
        };
        let manifest = activity.end_with(pushed.map_err(|error| Error::not_pushed(name, error)))?;
        Ok(Pushed { digest: manifest.digest, size: manifest.size })
    }
}

/// Turns the progress that the image crate reports into transfers of one activity.
pub(crate) struct Progress<'a> {
    activity: &'a Running,
    totals: Mutex<BTreeMap<Digest, Option<u64>>>,
}

impl<'a> Progress<'a> {
    pub(crate) fn new(activity: &'a Running) -> Self {
        Self { activity, totals: Mutex::default() }
    }

    pub(crate) fn tell(&self, event: &ImageEvent) {
        let short = |digest: &Digest| digest.hex()[..12].to_owned();
        let mut totals = self.totals.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match event {
            ImageEvent::LayerStarted { digest, size } => {
                totals.insert(*digest, *size);
                self.activity.transferred(short(digest), 0, *size);
            }
            ImageEvent::LayerProgress { digest, bytes } => {
                let total = totals.get(digest).copied().flatten();
                self.activity.transferred(short(digest), *bytes, total);
            }
            ImageEvent::LayerDone { digest } => {
                if let Some(Some(total)) = totals.get(digest) {
                    self.activity.transferred(short(digest), *total, Some(*total));
                }
            }
            ImageEvent::LayerExists { digest } => {
                self.activity.note(Note::BlobExists { blob: short(digest) });
            }
            ImageEvent::LayerMounted { digest, from } => {
                self.activity.note(Note::BlobMounted { blob: short(digest), from: from.to_string() });
            }
            ImageEvent::LayerNote { digest, note } => {
                self.activity.note(Note::Blob { blob: short(digest), remark: note.to_string() });
            }
            ImageEvent::Manifest { .. } => {}
        }
    }
}
