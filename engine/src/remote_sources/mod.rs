//! The remote sources of ADD: which files they are, and the files themselves.
//!
//! Each has an identity before it has files (see `docs/decisions/0010-identity-before-files.md`): a build asks for it between
//! the plan and the keys, and fetches files only for a step that is not in the cache. A plan asks nobody, and knows what
//! earlier builds have kept.

mod date;
mod error;
mod web;

pub use error::RemoteError;

use crate::{
    Activity, BuildRequest, Engine, Error, ImageLock, LockedSource,
    error::diagnostic::DockerfileText,
    git::{Checkout, GitAccess, GitCommit, GitError, is_pinned},
    report::reporter::Reporter,
    urls,
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use rbuild_cache::{Cancel, Lease, Store};
use rbuild_executor::{ExecutorError, FetchedSource, RemoteIdentity};
use rbuild_oci::Digest;
use rbuild_planner::{Action, CopyAction, CopySource, GitDirectory, GitSource, Plan, StepId};
use std::{collections::BTreeMap, sync::Arc};
pub(crate) use web::{WantedAs, WebFile, WebFiles};

/// The most sources that are asked for at the same time.
const AT_ONCE: usize = 8;

/// The remote sources of a plan, by step and place among its sources. One that is missing is not known.
pub(crate) struct RemoteSources {
    store: Store,
    git: GitAccess,
    found: BTreeMap<(StepId, usize), RemoteSource>,
}

/// A remote source that was found.
#[derive(Clone)]
enum RemoteSource {
    Web(Arc<WebFile>),
    Git(Arc<GitCommit>),
}

impl RemoteSource {
    /// What a lock file says of it; nothing of a commit that its source names.
    fn locked(&self) -> Option<LockedSource> {
        match self {
            Self::Web(file) => Some(LockedSource::Http(file.digest())),
            Self::Git(commit) => (!commit.is_pinned()).then(|| LockedSource::Git(commit.number().to_owned())),
        }
    }
}

/// Remote sources whose files are here, by their places. What was made for this goes when it is dropped.
pub(crate) struct FetchedSources {
    pub(crate) files: BTreeMap<usize, FetchedSource>,
    _checkouts: Vec<Checkout>,
}

/// A source as a Dockerfile asks for it; equal ones are fetched once.
#[derive(Clone, PartialEq, Eq)]
struct Wanted<'p> {
    source: &'p CopySource,
    checksum: Option<&'p str>,
    git_directory: GitDirectory,
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
            (None, Some(LockedSource::Git(_)) | None) => Err(RemoteError::NotLocked),
        }
    }

    /// The source as a repository, with what the flags of its instruction say.
    fn repository(&self, url: &str) -> Result<GitSource, GitError> {
        let mut source = GitSource::parse(url)?;
        source.checksum = source.checksum.or_else(|| self.checksum.map(str::to_owned));
        source.keep_git_dir = Some(self.git_directory == GitDirectory::Kept);
        Ok(source)
    }
}

/// True if `action` has remote sources.
pub(crate) fn has_remote(action: &CopyAction) -> bool {
    action.sources.iter().any(is_remote)
}

impl RemoteSources {
    /// What earlier builds have kept of the sources of `plan`.
    pub(crate) fn kept(store: &Store, git: GitAccess, (plan, lock): (&Plan, Option<&ImageLock>)) -> Self {
        let known = wanted(plan).into_iter().filter_map(|(wanted, places)| {
            let source = match wanted.source {
                CopySource::Http(url) => {
                    let locked = || lock.and_then(|lock| wanted.locked(lock).ok().flatten());
                    let digest = wanted.digest().or_else(locked);
                    RemoteSource::Web(Arc::new(WebFile::kept(store, url, digest)?))
                }
                CopySource::Git(url) => {
                    RemoteSource::Git(Arc::new(GitCommit::known(&git, wanted.repository(url).ok()?)?))
                }
                CopySource::Path(_) | CopySource::Inline { .. } => return None,
            };
            Some((source, places))
        });
        let found = by_place(known);
        Self { store: store.clone(), git, found }
    }

    /// Adds to `lock` what the sources of `plan` led to whose digest the Dockerfile does not name.
    pub(crate) fn lock(&self, plan: &Plan, lock: &mut ImageLock) {
        for (wanted, places) in wanted(plan).into_iter().filter(|(wanted, _)| wanted.checksum.is_none()) {
            let found = places.first().and_then(|place| self.found.get(place));
            if let Some(locked) = found.and_then(RemoteSource::locked) {
                lock.insert_source(shown(wanted.source), locked);
            }
        }
    }

    /// The identities of the remote sources of `step`, by their places.
    pub(crate) fn identities(&self, step: StepId, action: &CopyAction) -> Vec<(usize, RemoteIdentity)> {
        let remote = action.sources.iter().enumerate().filter(|(_, source)| is_remote(source));
        remote
            .map(|(place, _)| match self.found.get(&(step, place)) {
                Some(RemoteSource::Web(file)) => (place, file.identity()),
                Some(RemoteSource::Git(commit)) => (place, commit.identity()),
                None => (place, RemoteIdentity::Unknown),
            })
            .collect()
    }

    /// The same for people: URLs and what they led to.
    pub(crate) fn explained(&self, step: StepId, action: &CopyAction) -> Vec<(String, String)> {
        let identities = self.identities(step, action).into_iter();
        identities.map(|(place, of)| (shown(&action.sources[place]), of.to_string())).collect()
    }

    /// The files of the remote sources of `step`. May block.
    ///
    /// # Errors
    /// When they are damaged or cannot be had.
    pub(crate) fn files(&self, step: StepId, action: &CopyAction) -> Result<FetchedSources, Error> {
        let (mut files, mut checkouts) = (BTreeMap::new(), Vec::new());
        for (place, source) in action.sources.iter().enumerate().filter(|(_, source)| is_remote(source)) {
            let fetched = match self.found.get(&(step, place)) {
                Some(RemoteSource::Web(file)) => FetchedSource::File(file.open(&self.store)?),
                Some(RemoteSource::Git(commit)) => {
                    let checkout =
                        Checkout::of(commit, &self.git).map_err(|error| failed(error.into(), source))?;
                    let files = checkout.directory().clone();
                    checkouts.push(checkout);
                    FetchedSource::Tree(files)
                }
                None => return Err(Error::Worker("a source was not looked for before its step".to_owned())),
            };
            files.insert(place, fetched);
        }
        Ok(FetchedSources { files, _checkouts: checkouts })
    }
}

impl Engine {
    /// What repositories of `request` are reached with.
    pub(crate) fn git_access(&self, request: &BuildRequest, cancel: &Cancel) -> GitAccess {
        GitAccess::new(&self.store, &self.web, (&request.secrets, &request.ssh), cancel)
    }

    /// Finds the remote sources of `plan`, whose bytes `lease` holds from then on.
    ///
    /// # Errors
    /// That of the first one that cannot be had, with the place of its step.
    pub(crate) async fn remote_sources(
        &self,
        (plan, lock, git): (&Plan, Option<&ImageLock>, GitAccess),
        (text, lease): (&DockerfileText, &Lease),
        reporter: &Reporter,
    ) -> Result<RemoteSources, Error> {
        let files = WebFiles::new((&self.store, lease), &self.web, reporter);
        let found = stream::iter(wanted(plan)).map(|(wanted, places)| {
            let (files, git) = (&files, &git);
            async move {
                let found = match wanted.source {
                    CopySource::Git(url) => {
                        let found = commit(&wanted, url, (git, lock), reporter).await;
                        found.map(RemoteSource::Git)
                    }
                    CopySource::Http(url) | CopySource::Path(url) | CopySource::Inline { name: url, .. } => {
                        let file = find(files, url, (&wanted, lock)).await;
                        file.map(|file| RemoteSource::Web(Arc::new(file)))
                    }
                };
                let step = &plan.steps[places[0].0.0];
                let found =
                    found.map_err(|error| failed(error, wanted.source).at_step(step, text, Vec::new()));
                found.map(|found| (found, places))
            }
        });
        let found: Vec<_> = found.buffered(AT_ONCE).try_collect().await?;
        Ok(RemoteSources { store: self.store.clone(), found: by_place(found), git })
    }
}

/// The file at `url`: the one that the Dockerfile or the lock names, if one of them does.
async fn find(
    files: &WebFiles<'_>,
    url: &str,
    (wanted, lock): (&Wanted<'_>, Option<&ImageLock>),
) -> Result<WebFile, RemoteError> {
    let locked = lock.map(|lock| wanted.locked(lock)).transpose()?.flatten();
    match wanted.digest() {
        Some(digest) => files.find(url, Some(digest)).await,
        None => files.find_locked(url, locked).await,
    }
}

/// The commit that `wanted`, which is written `url`, leads to, or that the lock has for it.
async fn commit(
    wanted: &Wanted<'_>,
    url: &str,
    (git, lock): (&GitAccess, Option<&ImageLock>),
    reporter: &Reporter,
) -> Result<Arc<GitCommit>, RemoteError> {
    let (source, git) = (wanted.repository(url)?, git.clone());
    match lock.map(|lock| lock.source(&shown(wanted.source))) {
        Some(Some(LockedSource::Git(commit))) if !is_pinned(&source) => {
            return Ok(Arc::new(GitCommit::locked(source, commit)));
        }
        Some(Some(LockedSource::Http(_)) | None) if !is_pinned(&source) => {
            return Err(RemoteError::NotLocked);
        }
        Some(_) | None => {}
    }
    let activity = reporter.begin(Activity::FetchSource { source: urls::without_login(url) });
    let finding = tokio::task::spawn_blocking(move || GitCommit::find(&git, source));
    let found = finding.await.map_err(|panicked| RemoteError::Worker(panicked.to_string()));
    activity.end_with(found.and_then(|found| Ok(Arc::new(found?))))
}

fn failed(error: RemoteError, source: &CopySource) -> Error {
    match error {
        RemoteError::Git(GitError::Executor(error @ ExecutorError::Canceled)) => Error::Executor(error),
        error => Error::Source { url: shown(source), source: Box::new(error), diagnostic: None },
    }
}

/// The remote sources of `plan`, each with the steps and places that have it.
fn wanted(plan: &Plan) -> Vec<(Wanted<'_>, Vec<(StepId, usize)>)> {
    let mut all: Vec<(Wanted<'_>, Vec<(StepId, usize)>)> = Vec::new();
    for step in &plan.steps {
        let Action::Copy(action) = &step.action else { continue };
        for (place, source) in action.sources.iter().enumerate().filter(|(_, source)| is_remote(source)) {
            let (checksum, git_directory) = (action.checksum.as_deref(), action.git_directory);
            let wanted = Wanted { source, checksum, git_directory };
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
        CopySource::Http(text) | CopySource::Git(text) | CopySource::Path(text) => urls::without_login(text),
        CopySource::Inline { name, .. } => name.clone(),
    }
}
