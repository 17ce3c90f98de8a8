//! The remote sources of ADD: which files they are, and the files themselves.
//!
//! Each has an identity before it has files (see `docs/decisions/0010-identity-before-files.md`): a build asks for it between
//! the plan and the keys, and fetches files only for a step that is not in the cache. A plan asks nobody, and knows what
//! earlier builds have kept.

mod error;
mod url;
mod web;

pub use error::RemoteError;

use crate::{Engine, Error, ImageLock, LockedSource, diagnostic::DockerfileText, reporter::Reporter};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use rbuild_cache::{Lease, Store};
use rbuild_executor::{FetchedSource, RemoteIdentity};
use rbuild_oci::Digest;
use rbuild_planner::{Action, CopyAction, CopySource, Plan, Step, StepId};
use std::{collections::BTreeMap, sync::Arc};
use web::{WebFile, WebFiles};

/// The most sources that are asked for at the same time.
const AT_ONCE: usize = 8;

/// The remote sources of a plan, by step and place among its sources. One that is missing is not known.
pub(crate) struct RemoteSources {
    store: Store,
    found: BTreeMap<(StepId, usize), RemoteSource>,
}

/// A remote source that was found.
#[derive(Clone)]
enum RemoteSource {
    Web(Arc<WebFile>),
}

/// A source as a Dockerfile asks for it; equal ones are fetched once.
#[derive(Clone, PartialEq, Eq)]
struct Wanted<'p> {
    source: &'p CopySource,
    checksum: Option<&'p str>,
}

impl Wanted<'_> {
    /// The digest that a file must have, whose form the planner has checked.
    fn digest(&self) -> Option<Digest> {
        self.checksum.and_then(|checksum| checksum.parse().ok())
    }

    /// The digest that `lock` has of it; none of a file whose digest the Dockerfile names.
    fn locked(&self, lock: &ImageLock) -> Result<Option<Digest>, RemoteError> {
        match (self.checksum, lock.source(&shown(self.source))) {
            (Some(_), _) => Ok(None),
            (None, Some(LockedSource::Http(digest))) => Ok(Some(digest)),
            (None, None) => Err(RemoteError::NotLocked),
        }
    }
}

/// True if `action` has remote sources.
pub(crate) fn has_remote(action: &CopyAction) -> bool {
    action.sources.iter().any(is_remote)
}

impl RemoteSources {
    /// What earlier builds have kept of the sources of `plan`.
    pub(crate) fn kept(store: &Store, plan: &Plan, lock: Option<&ImageLock>) -> Self {
        let known = wanted(plan).into_iter().filter_map(|(wanted, places)| {
            let CopySource::Http(url) = wanted.source else { return None };
            let locked = || lock.and_then(|lock| wanted.locked(lock).ok().flatten());
            let file = WebFile::kept(store, url, wanted.digest().or_else(locked))?;
            Some((RemoteSource::Web(Arc::new(file)), places))
        });
        Self { store: store.clone(), found: by_place(known) }
    }

    /// Adds to `lock` what the sources of `plan` led to whose digest the Dockerfile does not name.
    pub(crate) fn lock(&self, plan: &Plan, lock: &mut ImageLock) {
        for (wanted, places) in wanted(plan).into_iter().filter(|(wanted, _)| wanted.checksum.is_none()) {
            if let Some(RemoteSource::Web(file)) = places.first().and_then(|place| self.found.get(place)) {
                lock.insert_source(shown(wanted.source), LockedSource::Http(file.digest()));
            }
        }
    }

    /// The identities of the remote sources of `step`, by their places.
    pub(crate) fn identities(&self, step: StepId, action: &CopyAction) -> Vec<(usize, RemoteIdentity)> {
        let remote = action.sources.iter().enumerate().filter(|(_, source)| is_remote(source));
        remote
            .map(|(place, _)| match self.found.get(&(step, place)) {
                Some(RemoteSource::Web(file)) => (place, file.identity()),
                None => (place, RemoteIdentity::Unknown),
            })
            .collect()
    }

    /// The same for people: URLs and what they led to.
    pub(crate) fn explained(&self, step: StepId, action: &CopyAction) -> Vec<(String, String)> {
        let identities = self.identities(step, action).into_iter();
        identities.map(|(place, of)| (shown(&action.sources[place]), of.to_string())).collect()
    }

    /// The files of the remote sources of `step`, by their places. May block.
    ///
    /// # Errors
    /// When they are damaged or cannot be had.
    pub(crate) fn files(
        &self,
        step: StepId,
        action: &CopyAction,
    ) -> Result<BTreeMap<usize, FetchedSource>, Error> {
        let places = (0..action.sources.len()).filter(|place| is_remote(&action.sources[*place]));
        places
            .map(|place| match self.found.get(&(step, place)) {
                Some(RemoteSource::Web(file)) => Ok((place, FetchedSource::File(file.open(&self.store)?))),
                None => Err(Error::Worker("a source was not looked for before its step".to_owned())),
            })
            .collect()
    }
}

impl Engine {
    /// Finds the remote sources of `plan`, whose bytes `lease` holds from then on.
    ///
    /// # Errors
    /// That of the first one that cannot be had, with the place of its step.
    pub(crate) async fn remote_sources(
        &self,
        (plan, lock): (&Plan, Option<&ImageLock>),
        (text, lease): (&DockerfileText, &Lease),
        reporter: &Reporter,
    ) -> Result<RemoteSources, Error> {
        let files = WebFiles::new((&self.store, lease), &self.web, reporter);
        let found = stream::iter(wanted(plan)).map(|(wanted, places)| {
            let files = &files;
            async move {
                let source = match wanted.source {
                    CopySource::Http(url) | CopySource::Git(url) => find(files, url, (&wanted, lock))
                        .await
                        .map(|file| RemoteSource::Web(Arc::new(file)))
                        .map_err(|error| failed(error, &plan.steps[places[0].0.0], wanted.source, text))?,
                    CopySource::Path(_) | CopySource::Inline { .. } => {
                        unreachable!("only remote sources are wanted")
                    }
                };
                Ok::<_, Error>((source, places))
            }
        });
        let found: Vec<_> = found.buffered(AT_ONCE).try_collect().await?;
        Ok(RemoteSources { store: self.store.clone(), found: by_place(found) })
    }
}

/// The file at `url`: the one that the Dockerfile or the lock names, if one of them does.
async fn find(
    files: &WebFiles<'_>,
    url: &str,
    (wanted, lock): (&Wanted<'_>, Option<&ImageLock>),
) -> Result<WebFile, RemoteError> {
    let locked = lock.map(|lock| wanted.locked(lock)).transpose()?.flatten();
    files.find(url, wanted.digest().or(locked)).await.map_err(|error| match (error, locked) {
        (RemoteError::Mismatch { found, .. }, Some(locked)) => RemoteError::Moved { found, locked },
        (error, _) => error,
    })
}

fn failed(error: RemoteError, step: &Step, source: &CopySource, text: &DockerfileText) -> Error {
    Error::StepSource { url: shown(source), source: Box::new(error), diagnostic: text.at(Some(step.lines)) }
}

/// The remote sources of `plan`, each with the steps and places that have it.
fn wanted(plan: &Plan) -> Vec<(Wanted<'_>, Vec<(StepId, usize)>)> {
    let mut all: Vec<(Wanted<'_>, Vec<(StepId, usize)>)> = Vec::new();
    for step in &plan.steps {
        let Action::Copy(action) = &step.action else { continue };
        for (place, source) in action.sources.iter().enumerate().filter(|(_, source)| is_remote(source)) {
            let wanted = Wanted { source, checksum: action.checksum.as_deref() };
            match all.iter_mut().find(|(other, _)| *other == wanted) {
                Some((_, places)) => places.push((step.id, place)),
                None => all.push((wanted, vec![(step.id, place)])),
            }
        }
    }
    all
}

fn by_place(
    found: impl IntoIterator<Item = (RemoteSource, Vec<(StepId, usize)>)>,
) -> BTreeMap<(StepId, usize), RemoteSource> {
    let places = found.into_iter();
    places.flat_map(|(source, places)| places.into_iter().map(move |place| (place, source.clone()))).collect()
}

fn is_remote(source: &CopySource) -> bool {
    match source {
        CopySource::Http(_) | CopySource::Git(_) => true,
        CopySource::Path(_) | CopySource::Inline { .. } => false,
    }
}

fn shown(source: &CopySource) -> String {
    match source {
        CopySource::Http(text) | CopySource::Git(text) | CopySource::Path(text) => url::without_login(text),
        CopySource::Inline { name, .. } => name.clone(),
    }
}
