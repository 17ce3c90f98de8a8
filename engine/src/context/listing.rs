//! What is in the context of a build, and which pattern decided about a path.

use super::Context;
use crate::{BuildRequest, Engine, Error};
use rbuild_cache::Cancel;
use rbuild_executor::{ContextFile, DecidingPattern};
use std::path::{Component, Path};

/// What is in a context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextListing {
    /// Everything that a build finds there, sorted by path.
    pub files: Vec<ContextFile>,
    /// The ignore file, where there is one: relative to the context, or beside a Dockerfile that is elsewhere.
    pub ignore_file: Option<String>,
}

/// Why a build finds a path in its context, or does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextDecision {
    /// The path, relative to the context.
    pub path: String,
    /// True if something is there.
    pub exists: bool,
    /// True if a build finds what is there.
    pub is_kept: bool,
    /// The ignore file, where there is one.
    pub ignore_file: Option<String>,
    /// The pattern of it that decided; without one, none matches the path or a directory above it.
    pub pattern: Option<DecidingPattern>,
}

impl Engine {
    /// What is in the context of `request`, as [`Engine::open_contexts`] returned it.
    ///
    /// # Errors
    /// When the context or its ignore file cannot be read.
    pub fn context_files(&self, request: &BuildRequest) -> Result<ContextListing, Error> {
        let cancel = Cancel::default();
        let context = Context::open(self, request, &cancel)?;
        let rules = context.rules()?;
        let files = match context.directory()? {
            Some(directory) => rbuild_executor::context_files(&directory, &rules, &cancel)?,
            None => Vec::new(),
        };
        Ok(ContextListing { files, ignore_file: rules.file().map(str::to_owned) })
    }

    /// Why a build of `request` finds `path` in its context, or does not. A whole path may be given of a directory of this machine.
    ///
    /// # Errors
    /// As [`Engine::context_files`].
    pub fn context_decision(&self, request: &BuildRequest, path: &Path) -> Result<ContextDecision, Error> {
        let context = Context::open(self, request, &Cancel::default())?;
        let rules = context.rules()?;
        let directory = context.directory()?;
        let root = directory.as_ref().and_then(|directory| directory.place());
        let below = root.and_then(|root| path.strip_prefix(root).ok()).unwrap_or(path);
        let path = cleaned(below);
        let exists = match &directory {
            Some(directory) => directory.has(Path::new(&path))?,
            None => false,
        };
        let decision = rules.decision(path.as_bytes());
        let ignore_file = rules.file().map(str::to_owned);
        Ok(ContextDecision {
            path,
            exists,
            is_kept: decision.is_kept,
            ignore_file,
            pattern: decision.pattern,
        })
    }
}

/// `path` from the root of the context, as patterns see it.
fn cleaned(path: &Path) -> String {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => parts.push(part.to_string_lossy()),
            Component::ParentDir => drop(parts.pop()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    parts.join("/")
}
