//! What the ignore file of a build leaves out, for the check of COPY and ADD (CopyIgnoredFile).
//!
//! The file is read when the first source is asked about: a Dockerfile that copies nothing costs nothing.

use crate::{BuildRequest, Error};
use rbuild_executor::{ExecutorError, IgnoreRules};
use rbuild_planner::{Plan, PlanError, ResolvedGraph, lower_beside};
use std::cell::OnceCell;

/// Makes the plan of `request`, whose ignore file the build checks know.
pub(crate) fn lower(graph: ResolvedGraph, request: &BuildRequest) -> Result<Plan, PlanError> {
    let ignored = Ignored::of(request);
    // an ignore file that cannot be read is told when the context is opened
    lower_beside(graph, &|path| ignored.leaves_out(path))
}

/// What the ignore file of a request leaves out.
pub(super) struct Ignored<'r> {
    request: &'r BuildRequest,
    rules: OnceCell<Result<IgnoreRules, ExecutorError>>,
}

impl<'r> Ignored<'r> {
    pub(super) fn of(request: &'r BuildRequest) -> Self {
        Self { request, rules: OnceCell::new() }
    }

    /// Whether a build would not find `path`, cleaned, in its context.
    pub(super) fn leaves_out(&self, path: &str) -> bool {
        let rules = self.rules.get_or_init(|| {
            let Some(directory) = &self.request.context else { return Ok(IgnoreRules::none()) };
            IgnoreRules::of_context(directory, self.request.dockerfile_path().as_deref())
        });
        rules.as_ref().is_ok_and(|rules| rules.excludes(path))
    }

    /// Why the file could not be read, if it was asked for and could not.
    pub(super) fn failure(self) -> Option<Error> {
        self.rules.into_inner()?.err().map(Error::Executor)
    }
}
