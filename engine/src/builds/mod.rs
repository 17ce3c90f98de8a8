//! The builds that are remembered: finding one, and reading what it wrote.

pub(crate) mod build_record;
pub(crate) mod followed_build;
pub(crate) mod records;
pub(crate) mod unknown_step;

use crate::{Engine, Error};
use rbuild_cache::{BuildId, BuildRecord, LogReader};

impl Engine {
    /// All builds that are remembered, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn builds(&self) -> Result<Vec<BuildRecord>, Error> {
        Ok(self.store.builds()?)
    }

    /// The build with this id or beginning of an id, perhaps behind a builder and a node (`default/default/ID`); `^N` is the one that began N builds before the newest.
    ///
    /// # Errors
    /// [`Error::NoSuchBuild`]; [`Error::Store`] when several ids begin like this.
    pub fn find_build(&self, name: &str) -> Result<BuildRecord, Error> {
        let missing = || Error::NoSuchBuild(name.to_owned());
        if let Some(distance) = name.strip_prefix('^') {
            let distance: usize = distance.parse().map_err(|_| missing())?;
            return self.store.builds()?.into_iter().nth(distance).ok_or_else(missing);
        }
        let id = name.rsplit_once('/').map_or(name, |(_, id)| id);
        let id = self.store.find_build(id)?.ok_or_else(missing)?;
        self.store.build(&id)?.ok_or_else(missing)
    }

    /// The numbers of the steps of a build that wrote something that is still kept, in order.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn build_logs(&self, build: &BuildId) -> Result<Vec<u32>, Error> {
        Ok(self.store.build_logs(build)?)
    }

    /// All that a step of a build wrote, from the beginning; `None` when it wrote nothing, or that was removed to make
    /// room. Of a build that runs, what it has written until now.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn build_log(&self, build: &BuildId, step: u32) -> Result<Option<LogReader>, Error> {
        Ok(self.store.build_log(build, step)?)
    }
}
