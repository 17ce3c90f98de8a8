//! The output of a build while another process carries it out.

use crate::{BuildId, Engine, Error};
use rbuild_cache::{LogReader, Store};
use std::{
    collections::BTreeMap,
    io::{ErrorKind, Read},
};

/// Bytes read at a time.
const PIECE: usize = 64 << 10;

/// A build whose output is read as it comes.
#[derive(Debug)]
pub struct FollowedBuild {
    store: Store,
    build: BuildId,
    /// The logs that have begun, by step; none any more when they have ended.
    logs: BTreeMap<u32, Option<LogReader>>,
    runs: bool,
}

impl Engine {
    /// Follows a build from its beginning.
    #[must_use]
    pub fn follow_build(&self, build: &BuildId) -> FollowedBuild {
        let store = self.store.clone();
        FollowedBuild { store, build: build.clone(), logs: BTreeMap::new(), runs: true }
    }
}

impl FollowedBuild {
    /// Hands what the steps have written since the last call to `out`, with their numbers; returns false when the build is over and
    /// everything was handed on.
    ///
    /// # Errors
    /// When the store cannot be read; those of `out`.
    pub fn read<E: From<Error>>(
        &mut self,
        mut out: impl FnMut(u32, &[u8]) -> Result<(), E>,
    ) -> Result<bool, E> {
        // asked before the logs are read: what was written until its end is there
        self.runs = self.runs && self.store.build_runs(&self.build).map_err(Error::from)?;
        for step in self.store.build_logs(&self.build).map_err(Error::from)? {
            if !self.logs.contains_key(&step) {
                let log = self.store.growing_build_log(&self.build, step).map_err(Error::from)?;
                self.logs.insert(step, log);
            }
        }
        let mut buffer = vec![0; PIECE];
        for (step, log) in &mut self.logs {
            while let Some(reader) = log {
                if !self.runs {
                    reader.end();
                }
                match reader.read(&mut buffer) {
                    Ok(0) => *log = None,
                    Ok(count) => out(*step, &buffer[..count])?,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(source) => {
                        let path = format!("the log of step {step}").into();
                        return Err(Error::Io { action: "read", path, source }.into());
                    }
                }
            }
        }
        Ok(self.runs)
    }
}
