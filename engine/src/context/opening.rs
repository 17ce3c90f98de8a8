//! Finding the contexts of a build that are on the network, and its Dockerfile, if that is a URL: a server is asked for the
//! commit that a name leads to, and for a file if it has changed; a commit that is named in full, and known, needs nobody.

use super::{
    OpenedContext,
    opened::{Part, failed, repository},
    remote::{ContextPin, RemoteContext, RemotePlace},
};
use crate::{
    Activity, BuildRequest, ContextSource, DockerfileSource, Engine, Error, EventSink, ImageLock,
    LockedSource, NamedContextSource, Outcome, RemoteError,
    git::{GitCommit, GitError, is_pinned},
    remote_sources::{WantedAs, WebFile, WebFiles},
    report::reporter::Reporter,
    urls,
};
use rbuild_cache::{Cancel, Lease};
use rbuild_planner::GitSource;
use std::{collections::BTreeMap, fs::File, path::Path};

impl Engine {
    /// Finds the contexts of `request` that are on the network, and the Dockerfile, if that is a URL. A build does it itself; what
    /// looks at a build without carrying it out, such as [`Engine::plan`], needs the request that this returns.
    ///
    /// # Errors
    /// [`Error::Source`] for one that cannot be had.
    pub async fn open_contexts(
        &self,
        request: BuildRequest,
        events: EventSink,
    ) -> Result<BuildRequest, Error> {
        self.with_contexts(request, &Reporter::new(events), &Cancel::default()).await
    }

    /// `request` with its contexts on the network found.
    pub(crate) async fn with_contexts(
        &self,
        mut request: BuildRequest,
        reporter: &Reporter,
        cancel: &Cancel,
    ) -> Result<BuildRequest, Error> {
        if !request.has_remote_context() {
            return Ok(request);
        }
        let lease = self.store.lease()?;
        let opening = Opening { engine: self, lease: &lease, request: &request, reporter, cancel };
        let text = match &request.dockerfile {
            DockerfileSource::Url(url) => Some(opening.text(url).await?),
            DockerfileSource::InContext | DockerfileSource::File(_) | DockerfileSource::Text(_) => None,
        };
        let main = match &request.context {
            ContextSource::Remote(main) => Some(opening.pin(main, Part::Main).await?),
            ContextSource::Empty | ContextSource::Directory(_) | ContextSource::Archive(_) => None,
        };
        let mut named = BTreeMap::new();
        for (name, context) in request.remote_named_contexts() {
            named.insert(name.to_owned(), opening.pin(context, Part::Named).await?);
        }
        if let Some(text) = text {
            request.dockerfile = DockerfileSource::Text(text);
        }
        if let (ContextSource::Remote(context), Some(pin)) = (&mut request.context, main) {
            context.pin = Some(pin);
        }
        for (name, context) in &mut request.named_contexts {
            if let (NamedContextSource::Remote(context), Some(pin)) = (context, named.remove(name)) {
                context.pin = Some(pin);
            }
        }
        Ok(request)
    }
}

impl BuildRequest {
    /// True if a context of it is on the network, or its Dockerfile: what [`Engine::open_contexts`] looks for.
    #[must_use]
    pub fn has_remote_context(&self) -> bool {
        matches!(self.dockerfile, DockerfileSource::Url(_))
            || matches!(self.context, ContextSource::Remote(_))
            || self.remote_named_contexts().next().is_some()
    }

    /// The named contexts that are on the network.
    pub(super) fn remote_named_contexts(&self) -> impl Iterator<Item = (&str, &RemoteContext)> {
        self.named_contexts.iter().filter_map(|(name, context)| match context {
            NamedContextSource::Remote(context) => Some((name.as_str(), context)),
            NamedContextSource::Directory(_)
            | NamedContextSource::Image(_)
            | NamedContextSource::Scratch
            | NamedContextSource::OciLayout(_) => None,
        })
    }
}

/// Adds to `lock` what the contexts of `request` led to.
pub(crate) fn lock_contexts(request: &BuildRequest, lock: &mut ImageLock) {
    let main = match &request.context {
        ContextSource::Remote(main) => Some(main),
        ContextSource::Empty | ContextSource::Directory(_) | ContextSource::Archive(_) => None,
    };
    let named = request.remote_named_contexts().map(|(_, context)| context);
    for context in main.into_iter().chain(named) {
        let locked = match &context.pin {
            Some(ContextPin::Commit(commit)) => LockedSource::Git(commit.clone()),
            Some(ContextPin::File(file)) => LockedSource::Http(file.digest),
            None => continue,
        };
        lock.insert_source(context.to_string(), locked);
    }
}

struct Opening<'a> {
    engine: &'a Engine,
    lease: &'a Lease,
    request: &'a BuildRequest,
    reporter: &'a Reporter,
    cancel: &'a Cancel,
}

impl Opening<'_> {
    async fn pin(&self, context: &RemoteContext, part: Part) -> Result<ContextPin, Error> {
        let shown = context.to_string();
        let pinned = match &context.place {
            RemotePlace::Git(address) => match repository(address, part, self.request) {
                Ok(source) => self.commit(source, &shown).await.map(ContextPin::Commit),
                Err(error) => Err(error.into()),
            },
            RemotePlace::Http(url) => {
                self.file(url, part, &shown).await.map(|file| ContextPin::File(file.into_pinned()))
            }
        };
        pinned.map_err(|error| failed(error, &shown))
    }

    /// The commit that `source` leads to. One of which nothing is known is fetched at once, since its Dockerfile is needed.
    async fn commit(&self, source: GitSource, shown: &str) -> Result<String, RemoteError> {
        let locked = match self.request.locked.as_ref().map(|lock| lock.source(shown)) {
            Some(Some(LockedSource::Git(commit))) => Some(commit),
            Some(Some(LockedSource::Http(_)) | None) if !is_pinned(&source) => {
                return Err(RemoteError::NotLocked);
            }
            Some(_) | None => None,
        };
        let git = self.engine.git_access(self.request, self.cancel);
        let store = self.engine.store.clone();
        let activity = self.reporter.begin(Activity::FetchSource { source: shown.to_owned() });
        let finding = tokio::task::spawn_blocking(move || {
            let commit = match locked {
                Some(commit) => GitCommit::locked(source, commit),
                None => GitCommit::find(&git, source)?,
            };
            let is_known = OpenedContext::is_known(&commit, &git, &store);
            if !is_known {
                commit.fetched(&git)?;
            }
            Ok::<_, GitError>((commit.number().to_owned(), is_known))
        });
        let found = match finding.await {
            Ok(found) => found.map_err(RemoteError::from),
            Err(panicked) => Err(RemoteError::Worker(panicked.to_string())),
        };
        match &found {
            Ok((_, true)) => activity.end(Outcome::Cached),
            Ok((_, false)) => activity.end(Outcome::Done),
            Err(_) => return activity.end_with(found).map(|(commit, _)| commit),
        }
        found.map(|(commit, _)| commit)
    }

    /// The file at `url`.
    async fn file(&self, url: &str, part: Part, shown: &str) -> Result<WebFile, RemoteError> {
        let locked = match self.request.locked.as_ref().map(|lock| lock.source(shown)) {
            Some(Some(LockedSource::Http(digest))) => Some(digest),
            Some(Some(LockedSource::Git(_)) | None) => return Err(RemoteError::NotLocked),
            None => None,
        };
        // a named context may be any file
        let wanted = if part == Part::Main { WantedAs::Context } else { WantedAs::File };
        self.files().wanted_as(wanted).find_locked(url, locked).await
    }

    /// The Dockerfile at `url`.
    async fn text(&self, url: &str) -> Result<Vec<u8>, Error> {
        let shown = urls::without_login(url);
        let file = self
            .files()
            .wanted_as(WantedAs::Definition)
            .find(url, None)
            .await
            .map_err(|error| failed(error, &shown))?;
        let file = file.open(&self.engine.store)?;
        let unreadable =
            |source| Error::DockerfileUnreadable { path: shown.clone().into(), meant: None, source };
        let bytes = File::open(&file.bytes).map_err(unreadable)?;
        Ok(rbuild_executor::read_definition(bytes, Path::new(&shown))?)
    }

    fn files(&self) -> WebFiles<'_> {
        WebFiles::new((&self.engine.store, self.lease), &self.engine.web, self.reporter)
    }
}
