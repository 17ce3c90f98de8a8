//! The checks of a Dockerfile without building it (`--check`).
//!
//! Without a target, all stages are looked at. An image that is not in the store counts as one with an empty config.

use crate::{
    BuildRequest, DockerfileSource, Engine, Error, EventSink,
    bases::resolve::Fetching,
    build::definition::{self, findings_before},
    context::Context,
    error::diagnostic::DockerfileText,
    report::{finding::Finding, reporter::Reporter},
};
use rbuild_cache::Cancel;
use rbuild_parser::{Dockerfile, Lint};
use rbuild_planner::{Plan, PlanErrorKind, PlanOptions, Selection};
use std::path::{Component, Path, PathBuf};

/// The outcome of the checks.
#[derive(Debug)]
pub struct Checked {
    /// The findings, in the order in which they were made.
    pub findings: Vec<Finding>,
    /// The error that keeps the Dockerfile from being built at all; `error=true` with findings counts.
    pub failure: Option<Error>,
    /// First and last line of that failure in the Dockerfile, where they are known.
    pub failure_lines: Option<(usize, usize)>,
    /// The Dockerfile's name as shown.
    pub file: String,
    /// Its bytes.
    pub text: Vec<u8>,
}

impl Engine {
    /// Checks the Dockerfile of `request`: a bad one is an answer, not an error.
    ///
    /// # Errors
    /// When the Dockerfile cannot be read, or the request is at fault: it asks for something that is not supported, or for
    /// checks that do not exist.
    pub fn check(&self, request: &BuildRequest) -> Result<Checked, Error> {
        let (mut text, context) =
            definition::load((self, request), &Reporter::new(EventSink::ignore()), &Cancel::default())?;
        let file = std::mem::replace(&mut text.name, shown_path(request));
        let (lints, failure) = match definition::parse(&text) {
            Err(error) => (findings_before(&error, &text, request), Some(error)),
            Ok(dockerfile) => self.findings(&dockerfile, request, (&text, &context))?,
        };
        let findings = lints.into_iter().map(|lint| Finding::new(lint, &text)).collect();
        let failure_lines = failure.as_ref().and_then(lines);
        Ok(Checked { findings, failure, failure_lines, file, text: text.bytes })
    }

    fn findings(
        &self,
        dockerfile: &Dockerfile,
        request: &BuildRequest,
        (text, context): (&DockerfileText, &Context),
    ) -> Result<(Vec<Lint>, Option<Error>), Error> {
        let mut options = definition::plan_options(request);
        if options.target.is_none() {
            options.selection = Selection::Everything;
        }
        match self.plan_assuming(dockerfile, &options, (request, text, context)) {
            Ok(plan) => {
                let violated = || plan.lint_errors().err().map(|error| Error::plan(error, text));
                let failure = context.ignore_failure().or_else(violated);
                Ok((plan.lints, failure))
            }
            Err(Error::Plan { error, .. }) if matches!(*error.kind, PlanErrorKind::CheckArgument(_)) => {
                Err(Error::plan(error, text))
            }
            Err(Error::Plan { mut error, diagnostic }) => {
                let lints = std::mem::take(&mut error.lints);
                Ok((lints, Some(Error::Plan { error, diagnostic })))
            }
            Err(other) => Ok((Vec::new(), Some(other))),
        }
    }

    /// The plan, with an empty config for every image that is not in the store.
    pub(super) fn plan_assuming(
        &self,
        dockerfile: &Dockerfile,
        options: &PlanOptions,
        (request, text, context): (&BuildRequest, &DockerfileText, &Context),
    ) -> Result<Plan, Error> {
        let failed = |error| Error::plan(error, text);
        let selected = rbuild_planner::select(dockerfile.clone(), options).map_err(failed)?;
        let (graphs, _) = self.resolve_locally(vec![selected], (request, text), Fetching::AssumeEmpty)?;
        let graph = graphs.into_iter().next().ok_or_else(|| Error::Worker("a graph was lost".to_owned()))?;
        rbuild_planner::lower_beside(graph, &|path| context.leaves_out(path)).map_err(failed)
    }
}

/// The Dockerfile's path as it was given, or as it is found in the context: so excerpts of checks show it.
fn shown_path(request: &BuildRequest) -> String {
    let in_context = |context: &Path| {
        let parts = context.components().filter(|part| *part != Component::CurDir);
        parts.collect::<PathBuf>().join("Dockerfile")
    };
    match (&request.dockerfile, request.context.directory()) {
        (DockerfileSource::File(path), _) => path.display().to_string(),
        (DockerfileSource::InContext, Some(context)) => in_context(context).display().to_string(),
        (DockerfileSource::InContext, None) | (DockerfileSource::Text(_) | DockerfileSource::Url(_), _) => {
            "Dockerfile".to_owned()
        }
    }
}

fn lines(error: &Error) -> Option<(usize, usize)> {
    let lines = match error {
        Error::Syntax { error, .. } => error.lines,
        Error::Plan { error, .. } => error.lines,
        _ => None,
    };
    lines.map(|lines| (lines.first, lines.last))
}
