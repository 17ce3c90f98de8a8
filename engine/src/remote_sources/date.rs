//! The time of a remote source, for a SOURCE_DATE_EPOCH that names a stage which adds nothing but that source.

use super::{RemoteError, RemoteSource, Wanted, WebFile, WebFiles, commit, failed, find, shown};
use crate::{
    BuildRequest, Engine, Error, ImageLock, LockedSource,
    build::definition::Definition,
    git::{GitAccess, GitCommit},
    report::reporter::Reporter,
};
use rbuild_cache::Cancel;
use rbuild_planner::{CopySource, EpochSource, RemoteAdd};
use std::sync::Arc;

impl Engine {
    /// Finds the remote source whose time SOURCE_DATE_EPOCH asks for, if it asks for one, and tells `definition`. Returns what a
    /// lock file says of it, whose stage the target may not need.
    ///
    /// # Errors
    /// [`Error::Source`] with the place of the ADD when it cannot be had.
    pub(crate) async fn date(
        &self,
        definition: &mut Definition,
        (request, cancel): (&BuildRequest, &Cancel),
        reporter: &Reporter,
    ) -> Result<Option<(String, LockedSource)>, Error> {
        let Some((name, EpochSource::Remote(add))) = definition.epoch_source() else { return Ok(None) };
        let wanted = Wanted::of(&add);
        let lock = request.locked.as_ref();
        let found = match &add.source {
            CopySource::Git(url) => {
                let git = self.git_access(request, cancel);
                self.commit_and_time((&wanted, url), (git, lock), reporter).await
            }
            CopySource::Http(url) | CopySource::Path(url) | CopySource::Inline { name: url, .. } => {
                let lease = self.store.lease()?;
                let files = WebFiles::new((&self.store, &lease), &self.web, reporter);
                self.file_and_time((&wanted, url), (&files, lock)).await
            }
        };
        let (source, seconds) = found.map_err(|error| match failed(error, &add.source) {
            Error::Source { url, source, diagnostic: _ } => {
                Error::Source { url, source, diagnostic: Some(definition.text.at(Some(add.lines))) }
            }
            other => other,
        })?;
        if let Some(seconds) = seconds {
            definition.set_time(&name, seconds);
        }
        Ok(source.locked().filter(|_| wanted.checksum.is_none()).map(|locked| (shown(&add.source), locked)))
    }

    async fn commit_and_time(
        &self,
        (wanted, url): (&Wanted<'_>, &str),
        (git, lock): (GitAccess, Option<&ImageLock>),
        reporter: &Reporter,
    ) -> Result<(RemoteSource, Option<i64>), RemoteError> {
        let found = commit(wanted, url, (&git, lock), reporter).await?;
        let (source, looking) = (RemoteSource::Git(found.clone()), move || found.time(&git));
        let time = tokio::task::spawn_blocking(looking).await;
        let time = time.map_err(|panicked| RemoteError::Worker(panicked.to_string()))?;
        Ok((source, Some(time?)))
    }

    async fn file_and_time(
        &self,
        (wanted, url): (&Wanted<'_>, &str),
        (files, lock): (&WebFiles<'_>, Option<&ImageLock>),
    ) -> Result<(RemoteSource, Option<i64>), RemoteError> {
        let file = Arc::new(find(files, url, (wanted, lock)).await?);
        let (source, store) = (RemoteSource::Web(file.clone()), self.store.clone());
        let time = tokio::task::spawn_blocking(move || file.time(&store)).await;
        Ok((source, time.map_err(|panicked| RemoteError::Worker(panicked.to_string()))?))
    }

    /// The same as far as nobody has to be asked: a time that is not known leaves SOURCE_DATE_EPOCH unset.
    pub(crate) fn date_as_known(&self, definition: &mut Definition, request: &BuildRequest) {
        let Some((name, EpochSource::Remote(add))) = definition.epoch_source() else { return };
        let wanted = Wanted::of(&add);
        let known = match &add.source {
            CopySource::Git(url) => {
                let git = self.git_access(request, &Cancel::default());
                let source = wanted.repository(url).ok();
                source.and_then(|source| GitCommit::known(&git, source)?.known_time(&git))
            }
            CopySource::Http(url) => {
                WebFile::kept(&self.store, url, wanted.digest()).and_then(|file| file.time(&self.store))
            }
            CopySource::Path(_) | CopySource::Inline { .. } => None,
        };
        if let Some(seconds) = known {
            definition.set_time(&name, seconds);
        }
    }
}

impl<'p> Wanted<'p> {
    fn of(add: &'p RemoteAdd) -> Self {
        let RemoteAdd { source, checksum, git_directory, lines: _ } = add;
        Self { source, checksum: checksum.as_deref(), git_directory: *git_directory }
    }
}
