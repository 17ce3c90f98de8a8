//! What a build is asked to make: the Dockerfile's text and syntax tree, the planner's options, and the context that both
//! belong to. Read once; nothing of it changes while the build runs.

use crate::{
    Activity, BuildRequest, DockerfileSource, Engine, Error, NamedContextSource, Warning,
    build::misspelt_arguments::misspelt,
    context::{self, Context},
    error::diagnostic::DockerfileText,
    report::{finding::Finding, reporter::Reporter},
};
use rbuild_cache::Cancel;
use rbuild_oci::Platform;
use rbuild_parser::{Dockerfile, Lint, ParseError, Problem};
use rbuild_planner::{
    EpochSource, NamedContext, Plan, PlanError, PlanOptions, PositionStyle, ResolvedGraph, StageGraph,
    lower_beside,
};
use std::{collections::BTreeMap, sync::Arc};

/// The definition of a build.
pub(crate) struct Definition {
    pub(crate) text: DockerfileText,
    pub(crate) dockerfile: Dockerfile,
    /// Those of each target: one for each platform, a target after another.
    pub(crate) targets: Vec<PlanOptions>,
    pub(crate) context: Context,
}

impl Definition {
    /// Reads and parses what `request` names; the parser's findings before a mistake are reported first.
    pub(crate) fn read(
        (engine, request): (&Engine, &BuildRequest),
        reporter: &Reporter,
        cancel: &Cancel,
    ) -> Result<Self, Error> {
        let (text, context) = load((engine, request), reporter, cancel)?;
        let dockerfile = parse(&text)
            .inspect_err(|error| warn(&findings_before(error, &text, request), &text, reporter))?;
        for (name, near) in misspelt(&dockerfile, &request.build_args) {
            reporter.warn(Warning::UnknownBuildArgument { name: name.to_owned(), near: near.to_owned() });
        }
        let mut this = Self { text, dockerfile, targets: targets(request), context };
        if let Some((name, EpochSource::Context)) = this.epoch_source()
            && let Some(time) = this.context.time(&name)?
        {
            this.set_time(&name, time);
        }
        Ok(this)
    }

    /// What has the time that SOURCE_DATE_EPOCH asks for, if it asks for that of something, and the name by which it does.
    pub(crate) fn epoch_source(&self) -> Option<(String, EpochSource)> {
        rbuild_planner::epoch_source(&self.dockerfile, &self.targets[0])
    }

    /// What SOURCE_DATE_EPOCH calls `name` has this time, in seconds since 1970.
    pub(crate) fn set_time(&mut self, name: &str, seconds: i64) {
        for options in &mut self.targets {
            options.source_times.insert(name.to_owned(), seconds);
        }
    }

    /// The stages that each target needs.
    pub(crate) fn select(&self) -> Result<Vec<StageGraph>, PlanError> {
        let dockerfile = Arc::new(self.dockerfile.clone());
        self.targets.iter().map(|options| rbuild_planner::select(dockerfile.clone(), options)).collect()
    }

    /// One plan of the graphs of all targets, whose images are known.
    pub(crate) fn lower(&self, graphs: Vec<ResolvedGraph>) -> Result<Plan, PlanError> {
        let lower = |graph| lower_beside(graph, &|path| self.context.leaves_out(path));
        let mut graphs = graphs.into_iter();
        let first = lower(graphs.next().expect("a build has a target"))?;
        Ok(first.join(graphs.map(lower).collect::<Result<_, _>>()?))
    }

    /// A plan that cannot be made; what was found before that is reported first.
    pub(crate) fn planning_failed(&self, error: PlanError, reporter: &Reporter) -> Error {
        warn(&error.lints, &self.text, reporter);
        Error::plan(error, &self.text)
    }
}

/// Reads the Dockerfile of `request`, after a look at every local context, used or not.
pub(crate) fn load(
    (engine, request): (&Engine, &BuildRequest),
    reporter: &Reporter,
    cancel: &Cancel,
) -> Result<(DockerfileText, Context), Error> {
    let context = Context::open(engine, request, cancel)?;
    context::check_named(request)?;
    let name = match &request.dockerfile {
        DockerfileSource::File(path) => {
            path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
        }
        DockerfileSource::InContext | DockerfileSource::Text(_) | DockerfileSource::Url(_) => {
            "Dockerfile".to_owned()
        }
    };
    let activity = reporter.begin(Activity::LoadDefinition { file: name.clone() });
    let bytes = activity.end_with(context.read_dockerfile(request))?;
    Ok((DockerfileText { name, bytes }, context))
}

/// Parses `text`.
pub(crate) fn parse(text: &DockerfileText) -> Result<Dockerfile, Error> {
    rbuild_parser::parse(&text.bytes).map_err(|error| Error::syntax(error, text))
}

/// The planner's options of each target of `request`, of which there is at least one; of each for all platforms.
fn targets(request: &BuildRequest) -> Vec<PlanOptions> {
    let first = plan_options(request);
    let mut options = Vec::new();
    for target in request.targets() {
        let first = PlanOptions { target: target.map(str::to_owned), ..first.clone() };
        let rest = request.platforms.iter().skip(1);
        let of = |platform: &Platform| PlanOptions { platform: Some(platform.clone()), ..first.clone() };
        let rest: Vec<_> = rest.map(of).collect();
        options.push(first);
        options.extend(rest);
    }
    options
}

/// Translates `request` into the planner's options, for its first platform.
pub(crate) fn plan_options(request: &BuildRequest) -> PlanOptions {
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
    let position = match request.platforms.as_slice() {
        [] | [_] => PositionStyle::Plain,
        [_, _, ..] => PositionStyle::WithPlatform,
    };
    PlanOptions {
        target: request.target.clone(),
        build_args: request.build_args.clone(),
        platform: request.platforms.first().cloned(),
        labels: request.labels.clone(),
        network: request.network,
        named_contexts,
        no_cache: request.no_cache.clone(),
        position,
        ..PlanOptions::new(Platform::host())
    }
}

/// The findings of the checks before reading ends at an instruction that makes no sense. A line that cannot even be
/// split into words is met before any instruction is looked at.
pub(crate) fn findings_before(error: &Error, text: &DockerfileText, request: &BuildRequest) -> Vec<Lint> {
    let Error::Syntax { error: ParseError { problem: Problem::Instruction(_), .. }, .. } = error else {
        return Vec::new();
    };
    let beginning = rbuild_parser::beginning(&text.bytes);
    rbuild_planner::findings_while_reading(&beginning, &plan_options(request))
}

/// Warns of named contexts that nothing uses, though something nearly does. The targets have the same ones.
pub(crate) fn warn_of_contexts(graphs: &[StageGraph], reporter: &Reporter) {
    for (name, near) in graphs.first().map(StageGraph::misspelt_contexts).unwrap_or_default() {
        reporter.warn(Warning::UnusedContext { name, near });
    }
}

/// Reports findings.
pub(crate) fn warn(lints: &[Lint], text: &DockerfileText, reporter: &Reporter) {
    for lint in lints {
        reporter.found(Finding::new(lint.clone(), text));
    }
}
