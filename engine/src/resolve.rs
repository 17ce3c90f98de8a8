//! Turns the images a Dockerfile names into images in the store, pulling those that are not there.

use crate::{
    BuildRequest, Engine, Error, Hint, Outcome, PullPolicy, definition, diagnostic::DockerfileText,
    reporter::Reporter,
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
}

/// What is done about an image that is not in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fetching {
    /// It is pulled.
    Pull,
    /// The request fails.
    LocalOnly,
    /// It counts as one with an empty config.
    AssumeEmpty,
}

/// What an image turned out to be.
enum Answer {
    /// It is in the store.
    Found(ImageRecord, Box<ImageConfig>),
    /// Nothing is known of it.
    Assumed,
}

impl Engine {
    /// Resolves until nothing is left: an ONBUILD trigger of one image may name the next. It waits for nothing unless it
    /// pulls.
    pub(crate) async fn resolve(
        &self,
        mut graph: StageGraph,
        (request, text): (&BuildRequest, &DockerfileText),
        fetching: Fetching,
        reporter: &Reporter,
    ) -> Result<(ResolvedGraph, BaseImages), Error> {
        let mut images = BaseImages::default();
        loop {
            graph = match graph.finish() {
                Ok(resolved) => return Ok((resolved, images)),
                Err(unfinished) => unfinished,
            };
            let mut answers = Vec::new();
            for wanted in graph.unresolved() {
                let answer = match fetching {
                    Fetching::Pull => {
                        let found = self.fetched_image(&wanted, request, reporter, &mut images).await;
                        found.map_err(|source| not_fetched(&graph, &wanted, source, (text, reporter)))?
                    }
                    Fetching::LocalOnly | Fetching::AssumeEmpty => {
                        match self.known_image(&wanted, request)? {
                            None if fetching == Fetching::LocalOnly => return Err(not_there(&wanted, text)),
                            found => found.unwrap_or(Answer::Assumed),
                        }
                    }
                };
                let image = match answer {
                    Answer::Found(record, config) => {
                        // its record lacks layers that are still in a layout directory; its config names them all
                        let layers = config.rootfs.diff_ids.len();
                        let image = ResolvedImage { id: record.id, config: *config, layers };
                        images.insert(record.id, record);
                        image
                    }
                    Answer::Assumed => assumed(&wanted),
                };
                answers.push((wanted, image));
            }
            graph = graph.resolve(answers).map_err(|error| {
                definition::warn(&error.lints, reporter);
                Error::plan(error, text)
            })?;
        }
    }

    /// The image, from the store if the request allows that, else from its registry.
    async fn fetched_image(
        &self,
        wanted: &ImageRequest,
        request: &BuildRequest,
        reporter: &Reporter,
        images: &mut BaseImages,
    ) -> Result<Answer, Error> {
        if let Some(context) = &wanted.layout {
            let (found, lease) = self.layout_image(context, wanted, request, reporter).await?;
            images.keep(lease);
            return Ok(Answer::Found(found.image, Box::new(found.config)));
        }
        let activity = reporter.begin(format!("[internal] load metadata for {}", wanted.reference));
        if request.pull == PullPolicy::Missing
            && let Some((record, config)) = self.local_image(&wanted.reference)?
        {
            activity.end(Outcome::Done);
            return Ok(Answer::Found(record, Box::new(config)));
        }
        let found = self.fetch(&wanted.reference, &wanted.platform, &activity).await;
        activity.end_with(found).map(|(record, config)| Answer::Found(record, Box::new(config)))
    }

    /// The image, if the store or a layout directory has it; nothing is written.
    fn known_image(&self, wanted: &ImageRequest, request: &BuildRequest) -> Result<Option<Answer>, Error> {
        let found = match &wanted.layout {
            Some(context) => Some(self.known_layout_image(context, wanted, request)?),
            None => self.local_image(&wanted.reference)?,
        };
        Ok(found.map(|(record, config)| Answer::Found(record, Box::new(config))))
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

fn not_fetched(
    graph: &StageGraph,
    wanted: &ImageRequest,
    source: Error,
    (text, reporter): (&DockerfileText, &Reporter),
) -> Error {
    definition::warn(&graph.findings(), reporter);
    let suggestion = graph.image_suggestion(&wanted.written).filter(|_| wanted.layout.is_none());
    Error::BaseImage {
        written: wanted.written.clone(),
        reference: wanted.reference.to_string(),
        hint: suggestion.map(Hint::DidYouMean),
        source: Box::new(source),
        diagnostic: text.at(wanted.lines),
    }
}

fn not_there(wanted: &ImageRequest, text: &DockerfileText) -> Error {
    let name = wanted.reference.familiar();
    Error::BaseImage {
        written: wanted.written.clone(),
        reference: wanted.reference.to_string(),
        hint: Some(Hint::Fetch(name.clone())),
        source: Box::new(Error::NoSuchImage(name)),
        diagnostic: text.at(wanted.lines),
    }
}

/// An image of which nothing is known: one layer, an empty config.
fn assumed(wanted: &ImageRequest) -> ResolvedImage {
    let config = ImageConfig::scratch(&wanted.platform);
    ResolvedImage { id: config.id(), config, layers: 1 }
}
