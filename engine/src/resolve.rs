//! Turns the images a Dockerfile names into images in the store, pulling those that are not there.

use crate::{
    BuildRequest, Engine, Error, Hint, PullPolicy, build, diagnostic::DockerfileText, reporter::Reporter,
};
use rbuild_cache::{ImageRecord, Lease};
use rbuild_oci::{ImageConfig, ImageId, Platform, Reference};
use rbuild_planner::{ImageRequest, ResolvedGraph, ResolvedImage, StageGraph};
use std::collections::BTreeMap;

/// Every image a plan starts from, by id.
#[derive(Default)]
pub(crate) struct BaseImages {
    records: BTreeMap<ImageId, ImageRecord>,
    /// Hold layers that no image in the store has.
    leases: Vec<Lease>,
}

impl BaseImages {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn insert(&mut self, id: ImageId, record: ImageRecord) {
        self.records.insert(id, record);
    }

    /// Keeps what `lease` holds as long as the images are needed.
    pub(crate) fn keep(&mut self, lease: Lease) {
        self.leases.push(lease);
    }

    pub(crate) fn get(&self, id: &ImageId) -> Option<&ImageRecord> {
        self.records.get(id)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &ImageRecord> {
        self.records.values()
    }
}

impl Engine {
    /// Resolves until nothing is left: an ONBUILD trigger of one image may name the next.
    pub(crate) async fn resolve(
        &self,
        graph: StageGraph,
        request: &BuildRequest,
        text: &DockerfileText,
        reporter: &Reporter,
    ) -> Result<(ResolvedGraph, BaseImages), Error> {
        let mut images = BaseImages::new();
        let mut graph = graph;
        loop {
            graph = match graph.finish() {
                Ok(resolved) => return Ok((resolved, images)),
                Err(unfinished) => unfinished,
            };
            let mut answers = Vec::new();
            for wanted in graph.unresolved() {
                let (record, config) =
                    self.base_image(&wanted, request, reporter, &mut images).await.map_err(|source| {
                        build::warn(&graph.findings(), reporter);
                        let suggestion =
                            graph.image_suggestion(&wanted.written).filter(|_| wanted.layout.is_none());
                        Error::BaseImage {
                            written: wanted.written.clone(),
                            reference: wanted.reference.to_string(),
                            hint: suggestion.map(Hint::DidYouMean),
                            source: Box::new(source),
                            diagnostic: text.at(wanted.lines),
                        }
                    })?;
                let layers = record.layers.len();
                answers.push((wanted, ResolvedImage { id: record.id, config, layers }));
                images.insert(record.id, record);
            }
            graph = graph.resolve(answers).map_err(|error| build::planning_failed(error, reporter, text))?;
        }
    }

    async fn base_image(
        &self,
        wanted: &ImageRequest,
        request: &BuildRequest,
        reporter: &Reporter,
        images: &mut BaseImages,
    ) -> Result<(ImageRecord, ImageConfig), Error> {
        if let Some(context) = &wanted.layout {
            let (found, lease) = self.layout_image(context, wanted, request, reporter).await?;
            images.keep(lease);
            return Ok((found.image, found.config));
        }
        let activity = reporter.begin(format!("[internal] load metadata for {}", wanted.reference));
        if request.pull == PullPolicy::Missing
            && let Some(found) = self.local_image(&wanted.reference)?
        {
            activity.end(crate::Outcome::Done);
            return Ok(found);
        }
        let found = self.fetch(&wanted.reference, &wanted.platform, &activity).await;
        activity.end_with(found)
    }

    /// The image `reference` points at in the store, with its config.
    pub(crate) fn local_image(
        &self,
        reference: &Reference,
    ) -> Result<Option<(ImageRecord, ImageConfig)>, Error> {
        let Some(found) = self.store.reference(reference)? else { return Ok(None) };
        let Some(record) = self.store.image(&found.image)? else { return Ok(None) };
        let config = self.image_config(&record.id)?;
        Ok(Some((record, config)))
    }

    /// The config document of `id`.
    pub(crate) fn image_config(&self, id: &ImageId) -> Result<ImageConfig, Error> {
        let json = self.store.blob(id.as_digest())?.ok_or_else(|| Error::NoSuchImage(id.to_string()))?;
        Ok(ImageConfig::from_json(&json)?)
    }

    async fn fetch(
        &self,
        reference: &Reference,
        platform: &Platform,
        activity: &crate::reporter::Activity,
    ) -> Result<(ImageRecord, ImageConfig), Error> {
        self.pull_into_store(reference, platform, activity).await?;
        self.local_image(reference)?.ok_or_else(|| Error::NoSuchImage(reference.familiar()))
    }
}
