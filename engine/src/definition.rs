//! What a build is asked to make: the Dockerfile's text and syntax tree, the planner's options, and the context that both
//! belong to. Read once; nothing of it changes while the build runs.

use crate::{
    Activity, BuildRequest, DockerfileSource, Error, NamedContextSource,
    context::{self, Context},
    diagnostic::DockerfileText,
    finding::Finding,
    reporter::Reporter,
};
use rbuild_cache::{Cancel, Store};
use rbuild_oci::Platform;
use rbuild_parser::{Dockerfile, Lint, ParseError, Problem};
use rbuild_planner::{NamedContext, Plan, PlanError, PlanOptions, ResolvedGraph, StageGraph, lower_beside};
use std::collections::BTreeMap;

/// The definition of a build.
pub(crate) struct Definition {
    pub(crate) text: DockerfileText,
    pub(crate) dockerfile: Dockerfile,
    pub(crate) options: PlanOptions,
    pub(crate) context: Context,
}

impl Definition {
    /// Reads and parses what `request` names; the parser's findings before a mistake are reported first.
    pub(crate) fn read(
        (store, request): (&Store, &BuildRequest),
        reporter: &Reporter,
        cancel: &Cancel,
    ) -> Result<Self, Error> {
        let (text, context) = load((store, request), reporter, cancel)?;
        let dockerfile = parse(&text)
            .inspect_err(|error| warn(&findings_before(error, &text, request), &text, reporter))?;
        let options = plan_options(request)?;
        Ok(Self { text, dockerfile, options, context })
    }

    /// The stages the target needs.
    pub(crate) fn select(&self) -> Result<StageGraph, PlanError> {
        rbuild_planner::select(self.dockerfile.clone(), &self.options)
    }

    /// The plan of a graph whose images are known.
    pub(crate) fn lower(&self, graph: ResolvedGraph) -> Result<Plan, PlanError> {
        lower_beside(graph, &|path| self.context.leaves_out(path))
    }

    /// A plan that cannot be made; what was found before that is reported first.
    pub(crate) fn planning_failed(&self, error: PlanError, reporter: &Reporter) -> Error {
        warn(&error.lints, &self.text, reporter);
        Error::plan(error, &self.text)
    }
}

/// Reads the Dockerfile of `request`, after a look at every local context, used or not.
pub(crate) fn load(
    (store, request): (&Store, &BuildRequest),
    reporter: &Reporter,
    cancel: &Cancel,
) -> Result<(DockerfileText, Context), Error> {
    let context = Context::open(store, request, cancel)?;
    context::check_named(request)?;
    let name = match &request.dockerfile {
        DockerfileSource::File(path) => {
            path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
        }
        DockerfileSource::InContext | DockerfileSource::Text(_) => "Dockerfile".to_owned(),
    };
    let activity = reporter.begin(Activity::LoadDefinition { file: name.clone() });
    let bytes = activity.end_with(context.read_dockerfile(request))?;
    Ok((DockerfileText { name, bytes }, context))
}

/// Parses `text`.
pub(crate) fn parse(text: &DockerfileText) -> Result<Dockerfile, Error> {
    rbuild_parser::parse(&text.bytes).map_err(|error| Error::syntax(error, text))
}

/// Translates `request` into the planner's options.
pub(crate) fn plan_options(request: &BuildRequest) -> Result<PlanOptions, Error> {
    let mut named_contexts = BTreeMap::new();
    for (name, source) in &request.named_contexts {
        let context = match source {
            NamedContextSource::Directory(_) | NamedContextSource::Remote(_) => NamedContext::Directory,
            NamedContextSource::Image(reference) => NamedContext::Image(reference.clone()),
            NamedContextSource::Scratch => NamedContext::Scratch,
            NamedContextSource::OciLayout(_) => NamedContext::OciLayout,
        };
        named_contexts.insert(name.clone(), context);
    }
    let host = Platform::host();
    if let Some(platform) = request.platform.as_ref().filter(|platform| **platform != host) {
        return Err(Error::Unsupported { what: format!("building for {platform} on {host}") });
    }
    Ok(PlanOptions {
        target: request.target.clone(),
        build_args: request.build_args.clone(),
        platform: request.platform.clone(),
        labels: request.labels.clone(),
        network: request.network,
        named_contexts,
        no_cache: request.no_cache.clone(),
        ..PlanOptions::new(host)
    })
}

/// The findings of the checks before reading ends at an instruction that makes no sense. A line that cannot even be
/// split into words is met before any instruction is looked at.
pub(crate) fn findings_before(error: &Error, text: &DockerfileText, request: &BuildRequest) -> Vec<Lint> {
    let Error::Syntax { error: ParseError { problem: Problem::Instruction(_), .. }, .. } = error else {
        return Vec::new();
    };
    let beginning = rbuild_parser::beginning(&text.bytes);
    plan_options(request)
        .map_or_else(|_| Vec::new(), |options| rbuild_planner::findings_while_reading(&beginning, &options))
}

/// Reports findings.
pub(crate) fn warn(lints: &[Lint], text: &DockerfileText, reporter: &Reporter) {
    for lint in lints {
        reporter.found(Finding::new(lint.clone(), text));
    }
}
