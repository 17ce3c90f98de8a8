//! The agents whose keys a build may use (`--ssh`): those of the person who builds, or one with keys that are files, which
//! starts at its first use and ends with the build.

use crate::SecretValue;
use rbuild_executor::{ExecutorError, KeyAgent};
use rbuild_planner::{Mount, MountKind};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// Where the keys of an id come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SshKeys {
    /// An agent that listens on this socket.
    Agent(PathBuf),
    /// Private keys, each with the path by which errors call it, in a form that OpenSSH reads.
    Files(Vec<(PathBuf, SecretValue)>),
}

/// The agents of one build, by id.
pub(crate) struct Agents {
    keys: BTreeMap<String, SshKeys>,
    started: Mutex<BTreeMap<String, KeyAgent>>,
}

impl Agents {
    pub(crate) fn new(keys: BTreeMap<String, SshKeys>) -> Self {
        Self { keys, started: Mutex::default() }
    }

    /// Sees that there are keys for all mounts that a step cannot do without.
    ///
    /// # Errors
    /// [`ExecutorError::NoSshKeys`] with the first id that has none.
    pub(crate) fn check(&self, mounts: &[Mount]) -> Result<(), ExecutorError> {
        for mount in mounts {
            if let MountKind::Ssh { id, required: true, .. } = &mount.kind
                && !self.keys.contains_key(id)
            {
                return Err(ExecutorError::NoSshKeys { id: id.clone() });
            }
        }
        Ok(())
    }

    /// The socket of the agent for `id`, which is started if it is one for files; `None` when nothing was given for it.
    ///
    /// # Errors
    /// When the agent cannot be started or refuses a key.
    pub(crate) fn socket(&self, id: &str) -> Result<Option<PathBuf>, ExecutorError> {
        let files = match self.keys.get(id) {
            None => return Ok(None),
            Some(SshKeys::Agent(socket)) => return Ok(Some(socket.clone())),
            Some(SshKeys::Files(files)) => files,
        };
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(agent) = started.get(id) {
            return Ok(Some(agent.socket().to_owned()));
        }
        let keys: Vec<(&Path, &[u8])> =
            files.iter().map(|(path, key)| (path.as_path(), key.expose())).collect();
        let agent = KeyAgent::start(&keys)?;
        let socket = agent.socket().to_owned();
        started.insert(id.to_owned(), agent);
        Ok(Some(socket))
    }
}
