//! Named contexts: what is checked before a build does anything, and images in OCI layout directories.

use crate::{
    Activity, BuildRequest, Engine, Error, LayoutReference, NamedContextSource, images::transfer::Progress,
    report::reporter::Reporter,
};
use rbuild_cache::{ImageRecord, Lease};
use rbuild_image::{ImageError, Layout, LayoutImage};
use rbuild_oci::{Digest, ImageConfig};
use rbuild_planner::ImageRequest;
use std::{fs, path::Path, sync::Arc};

/// Checks that every local context is there, used or not.
pub(crate) fn check(request: &BuildRequest) -> Result<(), Error> {
    for (name, source) in &request.named_contexts {
        match source {
            NamedContextSource::Directory(path) => check_directory(name, path)?,
            NamedContextSource::OciLayout(reference) => drop(open(reference)?),
            NamedContextSource::Image(_) | NamedContextSource::Scratch | NamedContextSource::Remote(_) => {}
        }
    }
    Ok(())
}

fn check_directory(name: &str, path: &Path) -> Result<(), Error> {
    let missing =
        |source| Error::NamedContextMissing { name: name.to_owned(), path: path.to_owned(), source };
    if fs::metadata(path).map_err(missing)?.is_dir() {
        Ok(())
    } else {
        Err(Error::NamedContextNotADirectory { path: path.to_owned() })
    }
}

/// The layout, and the digest of what is wanted of it.
fn open(reference: &LayoutReference) -> Result<(Layout, Digest), Error> {
    let failed = |source| not_resolved(reference, source);
    let layout = Layout::open(&reference.path).map_err(failed)?;
    let digest = match reference.digest {
        Some(digest) => digest,
        None => layout.find(reference.tag.as_deref()).map_err(failed)?,
    };
    Ok((layout, digest))
}

fn not_resolved(reference: &LayoutReference, source: ImageError) -> Error {
    Error::Layout { reference: reference.clone(), source: Box::new(source) }
}

/// The layout that the named context `context` is.
fn reference<'r>(context: &str, request: &'r BuildRequest) -> Result<&'r LayoutReference, Error> {
    match request.named_contexts.get(context) {
        Some(NamedContextSource::OciLayout(reference)) => Ok(reference),
        Some(
            NamedContextSource::Directory(_)
            | NamedContextSource::Remote(_)
            | NamedContextSource::Image(_)
            | NamedContextSource::Scratch,
        )
        | None => Err(Error::Worker(format!("the context {context} is no layout"))),
    }
}

impl Engine {
    /// Brings the image of the layout `context` into the store, where the lease keeps its layers.
    pub(crate) async fn layout_image(
        &self,
        context: &str,
        (wanted, lease): (&ImageRequest, &Arc<Lease>),
        request: &BuildRequest,
        reporter: &Reporter,
    ) -> Result<LayoutImage, Error> {
        let reference = reference(context, request)?.clone();
        let (layout, digest) = open(&reference)?;
        let name = format!("{}/{}@{digest}", wanted.reference.domain(), wanted.reference.path());
        let platform = request.shown_platform(&wanted.platform);
        let from = Some(context.to_owned());
        let activity = reporter.begin(Activity::LoadMetadata { image: name, context: from, platform });
        let (store, lease, platform) = (self.store.clone(), lease.clone(), wanted.platform.clone());
        let loading = tokio::task::spawn_blocking(move || {
            let loaded = {
                let progress = Progress::new(&activity);
                layout.load(&store, &lease, (&digest, &platform), &|event| progress.tell(&event))
            };
            activity.end_with(loaded.map_err(|source| not_resolved(&reference, source)))
        });
        loading.await.map_err(|error| Error::Worker(error.to_string()))?
    }

    /// The image of the layout `context`, with its layers if the store has them all; nothing but the lease is written.
    pub(crate) fn known_layout_image(
        &self,
        context: &str,
        (wanted, lease): (&ImageRequest, &Lease),
        request: &BuildRequest,
    ) -> Result<(ImageRecord, ImageConfig), Error> {
        let reference = reference(context, request)?;
        let (layout, digest) = open(reference)?;
        let known = layout.known(&self.store, lease, (&digest, &wanted.platform));
        let known = known.map_err(|source| not_resolved(reference, source))?;
        Ok((known.image, known.config))
    }
}
