//! A build, told from beginning to end.

use crate::{
    BuildRequest, Built, DockerfileSource, Engine, Error, EventSink, NamedContextSource, contexts,
    diagnostic::DockerfileText, preview, reporter::Reporter, schedule, session::Session, settle,
};
use nix::errno::Errno;
use rbuild_oci::Platform;
use rbuild_parser::{Dockerfile, Lint};
use rbuild_planner::{NamedContext, Plan, PlanError, PlanOptions};
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
};

impl Engine {
    /// Builds what `request` asks for, names it, and says what happened through `events` while it happens.
    ///
    /// Steps that were finished before a failure stay in the cache. Dropping the future cancels the build.
    ///
    /// # Errors
    /// [`Error`], of class input when the Dockerfile or the request is at fault; [`Error::diagnostic`] has the place.
    pub async fn build(&self, request: BuildRequest, events: EventSink) -> Result<Built, Error> {
        let reporter = Reporter::new(events);
        let (text, dockerfile) = read_dockerfile(&request, &reporter)?;
        let options = plan_options(&request)?;
        let failed = |error| planning_failed(error, &reporter, &text);
        let selected = rbuild_planner::select(dockerfile, &options).map_err(failed)?;
        let (graph, images) = self.resolve(selected, &request, &text, &reporter).await?;
        let plan = preview::lower(graph, &request).map_err(failed)?;
        report_lints(&plan, &reporter, &text)?;
        let session = Arc::new(Session::new(self, &request, (plan, images), &text, &reporter)?);
        match schedule::execute(&session).await {
            Ok(diffs) => settle::finish(&session, diffs).await,
            Err(error) => {
                // the step's own failure is what has to be told, whatever else goes wrong now
                if let Err(lost) = settle::keep_finished(&session) {
                    reporter.warn(format!("finished steps could not be kept: {lost}"));
                }
                Err(error)
            }
        }
    }
}

/// The Dockerfile of `request`, parsed; what was found before a mistake is told first.
pub(crate) fn read_dockerfile(
    request: &BuildRequest,
    reporter: &Reporter,
) -> Result<(DockerfileText, Dockerfile), Error> {
    let text = load_dockerfile(request, reporter)?;
    let parsed = parse_dockerfile(&text);
    let dockerfile =
        parsed.inspect_err(|error| warn(&preview::findings_before(error, &text, request), reporter))?;
    Ok((text, dockerfile))
}

/// Parses `text`.
pub(crate) fn parse_dockerfile(text: &DockerfileText) -> Result<Dockerfile, Error> {
    rbuild_parser::parse(&text.bytes).map_err(|error| Error::syntax(error, text))
}

/// Reads the Dockerfile of `request`.
pub(crate) fn load_dockerfile(request: &BuildRequest, reporter: &Reporter) -> Result<DockerfileText, Error> {
    if let Some(context) = &request.context {
        // opened for reading: a directory that cannot be listed is not a context
        File::open(context.join(".")).map_err(|source| Error::context(context.clone(), source))?;
    }
    contexts::check(request)?;
    let name = match &request.dockerfile {
        DockerfileSource::File(path) => {
            path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
        }
        DockerfileSource::InContext | DockerfileSource::Text(_) => "Dockerfile".to_owned(),
    };
    let activity = reporter.begin(format!("[internal] load build definition from {name}"));
    let text = match &request.dockerfile {
        DockerfileSource::Text(bytes) => Ok(DockerfileText { name, bytes: bytes.clone() }),
        DockerfileSource::File(path) => read_file(path),
        DockerfileSource::InContext => read_in_context(request.context.as_deref()),
    };
    activity.end_with(text)
}

/// The Dockerfile of a context, by either spelling of its name.
fn read_in_context(directory: Option<&Path>) -> Result<DockerfileText, Error> {
    let Some(directory) = directory else { return Err(absent("Dockerfile".into())) };
    let read = |name: &str| DockerfileText::read_in(directory, OsStr::new(name)).map_err(Error::Executor);
    let found = match read("Dockerfile")? {
        Some(text) => Some(text),
        None => read("dockerfile")?,
    };
    found.ok_or_else(|| absent(directory.join("Dockerfile")))
}

/// The Dockerfile at `path`, which the caller names. It may be a pipe; a link to a file is followed within its directory.
fn read_file(path: &Path) -> Result<DockerfileText, Error> {
    let unreadable = |source| Error::DockerfileUnreadable { path: path.to_owned(), source };
    let found = fs::metadata(path).map_err(unreadable)?;
    let name = path.file_name().unwrap_or(path.as_os_str());
    if !found.is_file() {
        let bytes = fs::read(path).map_err(unreadable)?;
        return Ok(DockerfileText { name: name.to_string_lossy().into_owned(), bytes });
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let text = DockerfileText::read_in(directory.unwrap_or(Path::new(".")), name);
    text.map_err(Error::Executor)?.ok_or_else(|| absent(path.to_owned()))
}

fn absent(path: PathBuf) -> Error {
    Error::DockerfileUnreadable { path, source: Errno::ENOENT.into() }
}

/// What `request` means to the planner.
pub(crate) fn plan_options(request: &BuildRequest) -> Result<PlanOptions, Error> {
    let mut named_contexts = BTreeMap::new();
    for (name, source) in &request.named_contexts {
        let context = match source {
            NamedContextSource::Directory(_) => NamedContext::Directory,
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

/// A plan that cannot be made; what was found before that is told first.
pub(crate) fn planning_failed(error: PlanError, reporter: &Reporter, text: &DockerfileText) -> Error {
    warn(&error.lints, reporter);
    Error::plan(error, text)
}

/// Tells of findings.
pub(crate) fn warn(lints: &[Lint], reporter: &Reporter) {
    for lint in lints {
        reporter.warn(format!("{}: {} (line {})", lint.rule.name(), lint.message, lint.lines.first));
    }
}

fn report_lints(plan: &Plan, reporter: &Reporter, text: &DockerfileText) -> Result<(), Error> {
    warn(&plan.lints, reporter);
    plan.lint_errors().map_err(|error| Error::plan(error, text))
}
