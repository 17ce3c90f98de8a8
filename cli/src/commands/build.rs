//! `build`.

use super::{
    debug,
    outputs::{self, OpenedOutputs, OpenedTarget},
};
use crate::{
    app::App,
    args::BuildArgs,
    credentials::build_proxies,
    daemon,
    environment::Environment,
    error::{CliError, UsageError},
    exit, explanation,
    new_file::NewFile,
    options::{BuildOptions, ContextKind, DebugOptions, Explain, Load, LockUse, PrintId, ProgressChoice},
    progress::Style,
    shown::Shown,
    small_file::{self, Links},
    standard_input::{self, StandardInput},
    streams::{self, print},
    working::{style_for_people, work},
};
use rbuild::{
    BuildRecord, BuildRequest, Built, ContextSource, DockerfileSource, Event, EventSink, FurtherTarget,
    ImageLock, Output,
};
use rbuild_docker_api::{BuildMetadata, CacheReport, Invocation, ProvenanceMode, recorded_warnings};
use serde_json::{Value, json};
use std::{
    io,
    path::Path,
    sync::{Arc, OnceLock},
};

/// Builds an image.
pub(super) fn build(app: &App, args: BuildArgs) -> Result<(), CliError> {
    let mut options = settled(app, args)?;
    if let Some(call) = options.call {
        look_elsewhere(app, &mut options)?;
        return super::call::answer(app, &options, call);
    }
    let iidfile = result_file(options.iidfile.as_deref())?;
    let metadata_file = result_file(options.metadata_file.as_deref())?;
    let cache_report = result_file(options.cache_report.as_deref())?;
    let lock_file = LockFile::of(&options.lock)?;
    obey(&lock_file, app, &mut options)?;
    let engine = app.engine_trusting(options.certificates, options.insecure)?;
    let engine = app.limited(engine, options.limits)?.keeping(app.failed_step_budget()?);
    build_proxies(&app.environment)?.add_to(&mut options.request.build_args);
    warm_mounts(app, &mut options.request)?;
    let style = style(options.progress, &app.environment);
    let mut request = options.request;
    let wants_shell = options.debug_on_failure && debug::has_terminal();
    let given = wants_shell.then(|| DebugOptions::of_build(&request));
    let mut opened = outputs::open(&options.targets, options.removal)?;
    let results = iidfile.iter().chain(&metadata_file).chain(&cache_report).chain(&opened.files);
    let results: Vec<&NewFile> = results.collect();
    each_once(&results)?;
    for (target, asked) in opened.targets.iter_mut().zip(&options.targets) {
        for load in &asked.loads {
            target.outputs.extend(loaded(load, &app.environment)?);
        }
    }
    ask_for(&mut request, &opened.targets);
    let invocation = Invocation::of(&request);
    let recorded = Arc::new(OnceLock::new());
    let built = work(style, async |events| {
        let events = keeping_record(events, &recorded);
        engine.build(request, events).await.map_err(|error| CliError::Build(Box::new(error)))
    });
    if let Some(record) = recorded.get() {
        explain(record, options.explain, cache_report)?;
    }
    let built = match (built, given) {
        (Err(error), Some(given)) => return Err(debug::after_failure(app, error, recorded.get(), given)),
        (built, _) => built?,
    };
    if let LockFile::Written(file, lock) = lock_file {
        update_lock(file, &lock, &built.images)?;
    }
    let quiet = matches!(options.progress, ProgressChoice::Quiet(PrintId::Yes));
    let made = |file| Metadata { file, invocation: &invocation, record: recorded.get() };
    let metadata = metadata_file.map(made);
    if let Some(id) = write_results(&built, opened, (iidfile, metadata), &app.environment)?
        && quiet
    {
        print(&format!("{id}\n"))?;
    }
    Ok(())
}

/// Leaves out what cache mounts were to begin with and is not there, as on the first machine, and adds the limit of the
/// configuration files.
fn warm_mounts(app: &App, request: &mut BuildRequest) -> Result<(), CliError> {
    for (id, options) in &mut request.cache_mounts.by_id {
        if let Some(missing) = options.source.take_if(|source| !source.exists()) {
            exit::warn(&format!("cache mount {id}: {} is not there, so it begins empty", missing.display()));
        }
    }
    request.cache_mounts.max_bytes = app.mount_limit()?;
    Ok(())
}

/// Keeps the record of the build that `events` hears of.
fn keeping_record(events: EventSink, recorded: &Arc<OnceLock<BuildRecord>>) -> EventSink {
    let recorded = Arc::clone(recorded);
    EventSink::new(move |event| {
        if let Event::Recorded(record) = &event {
            // a build has one record
            let _ = recorded.set(BuildRecord::clone(record));
        }
        events.send(event);
    })
}

/// Says why steps ran, also when the build failed.
fn explain(record: &BuildRecord, steps: Explain, cache_report: Option<NewFile>) -> Result<(), CliError> {
    if steps == Explain::Steps {
        streams::tell(&Shown::from(format!("\n{}", explanation::text(record)).as_str()));
    }
    match cache_report {
        Some(file) => file.write(&format!("{:#}\n", json!(CacheReport::from(record)))),
        None => Ok(()),
    }
}

/// Asks for the outputs of all targets.
fn ask_for(request: &mut BuildRequest, targets: &[OpenedTarget]) {
    let Some((first, further)) = targets.split_first() else { return };
    (request.target, request.outputs) = (first.target.clone(), first.outputs.clone());
    let further = further.iter().map(|further| FurtherTarget {
        target: further.target.clone().unwrap_or_default(),
        outputs: further.outputs.clone(),
    });
    request.further_targets = further.collect();
}

/// The output of an image that is to be loaded; none where no daemon is, which a warning says.
fn loaded(load: &Load, environment: &Environment) -> Result<Option<Output>, CliError> {
    let address = match &load.context {
        Some(context) => Some(daemon::in_context(environment, context)?),
        None => daemon::address(environment)?,
    };
    let Some(address) = address else {
        exit::warn("--load: no docker or podman runs here, so the image is in rbuild's store alone");
        return Ok(None);
    };
    Ok(Some(Output::Daemon { address, names: load.names.clone() }))
}

/// Sees that no file of a build's results takes the place of another.
fn each_once(files: &[&NewFile]) -> Result<(), CliError> {
    for (at, file) in files.iter().enumerate() {
        if files[..at].iter().any(|before| before.is_replaced_by(file)) {
            let message = format!("two results are to be written to {}", file.path().display());
            return Err(UsageError::in_build(message).into());
        }
    }
    Ok(())
}

/// Gives files their names, and writes what was made into the other two. Returns the id to print: none when standard output
/// has something else.
fn write_results(
    built: &Built,
    opened: OpenedOutputs,
    (iidfile, metadata): (Option<NewFile>, Option<Metadata<'_>>),
    environment: &Environment,
) -> Result<Option<String>, CliError> {
    for file in opened.files {
        file.finish()?;
    }
    // an image of the store is known by its id, and one that is elsewhere by its manifest
    let id = built.image().map(|image| image.to_string());
    let id = id.or_else(|| built.target.manifest().map(|manifest| manifest.digest.to_string()));
    if let (Some(file), Some(id)) = (iidfile, &id) {
        file.write(id)?;
    }
    if let Some(metadata) = metadata {
        let document = metadata.document(built, &opened.targets, environment);
        metadata.file.write(&format!("{document:#}"))?;
    }
    Ok(id.filter(|_| !opened.stdout_is_taken))
}

/// `--metadata-file`, and what goes into it beside the results.
struct Metadata<'a> {
    file: NewFile,
    invocation: &'a Invocation,
    /// `None` when it could not be kept.
    record: Option<&'a BuildRecord>,
}

impl Metadata<'_> {
    /// What the file gets: of several targets an object for each, by its name, as bake has them.
    fn document(&self, built: &Built, targets: &[OpenedTarget], environment: &Environment) -> Value {
        let mode =
            ProvenanceMode::parse(environment.filled("BUILDX_METADATA_PROVENANCE").unwrap_or_default());
        let is_warned = matches!(
            environment.filled("BUILDX_METADATA_WARNINGS"),
            Some("1" | "t" | "T" | "true" | "TRUE" | "True")
        );
        let results = std::iter::once(&built.target).chain(&built.further_targets);
        let mut of_each = results.zip(targets).map(|(result, target)| {
            let name = target.target.clone().unwrap_or_else(|| "default".to_owned());
            let mut metadata = BuildMetadata::new(result, &target.names);
            if let Some(record) = self.record {
                let provenance = self.invocation.provenance(built, record, mode);
                let warnings = is_warned.then(|| recorded_warnings(record));
                metadata = metadata.made_by(&record.id, provenance, warnings);
            }
            (name, json!(metadata))
        });
        match targets {
            [_] => of_each.next().map_or(Value::Null, |(_, only)| only),
            _ => Value::Object(of_each.collect()),
        }
    }
}

/// The meaning of `args`. A Dockerfile or context that comes from standard input is read.
pub(super) fn settled(app: &App, args: BuildArgs) -> Result<BuildOptions, CliError> {
    match args.others.given.iter().rfind(|(name, _)| *name == "builder") {
        Some((_, name)) => super::builders::exists(app, name)?,
        None => super::builders::asked(app)?,
    }
    let mut options = BuildOptions::new(args, &app.environment)?;
    for warning in &options.warnings {
        exit::warn(warning);
    }
    match standard_input::read(options.context, &app.environment)? {
        StandardInput::Unread => {}
        StandardInput::Dockerfile(text) => options.request.dockerfile = DockerfileSource::Text(text),
        StandardInput::Context(archive) => {
            options.request.context = ContextSource::Archive(Arc::new(archive));
            if options.context == ContextKind::Stdin {
                options.request.dockerfile = DockerfileSource::InContext;
            }
        }
    }
    Ok(options)
}

/// Adds to the request of a preview what its lock file and its other stores say of base images; what only those have is copied
/// here. Contexts on the network are found.
pub(super) fn look_elsewhere(app: &App, options: &mut BuildOptions) -> Result<(), CliError> {
    if matches!(options.lock, LockUse::Write(_)) {
        return Err(
            UsageError::new("--lock is written after a build: use it without --check and --call").into()
        );
    }
    obey(&LockFile::of(&options.lock)?, app, options)?;
    let (has_remote, has_sources) =
        (options.request.has_remote_context(), !options.request.image_sources.is_empty());
    if !has_remote && !has_sources {
        return Ok(());
    }
    let engine = app.engine_with_registries(options.certificates)?;
    if has_remote {
        let open = async |events| {
            let opened = engine.open_contexts(options.request.clone(), events).await;
            opened.map_err(|error| CliError::Build(Box::new(error)))
        };
        options.request = work(style_for_people(&app.environment), open)?;
    }
    if !has_sources {
        return Ok(());
    }
    let bring = async |events| {
        let brought = engine.bring_base_images(&options.request, events).await;
        brought.map_err(|error| CliError::Build(Box::new(error)))
    };
    work(style_for_people(&app.environment), bring)
}

fn obey(lock_file: &LockFile, app: &App, options: &mut BuildOptions) -> Result<(), CliError> {
    if let LockFile::Obeyed(lock) = lock_file {
        options.request.locked = Some(lock.clone());
    }
    for word in &options.image_sources {
        options.request.image_sources.push(daemon::image_source(word, &app.environment)?);
    }
    Ok(())
}

/// The lock file of a build.
enum LockFile {
    None,
    /// It is to be written, over what was in it before.
    Written(NewFile, ImageLock),
    /// It decides.
    Obeyed(ImageLock),
}

impl LockFile {
    /// Opens it before the build, so that a wrong path costs no build.
    fn of(meant: &LockUse) -> Result<Self, CliError> {
        let read = |path: &Path| match small_file::read(path, Links::Refused) {
            Ok(text) => ImageLock::parse(&text)
                .map(Some)
                .map_err(|source| CliError::LockFile { path: path.to_owned(), source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(CliError::file("open", path)(error)),
        };
        match meant {
            LockUse::None => Ok(Self::None),
            LockUse::Write(path) => {
                let lock = read(path)?.unwrap_or_default();
                Ok(Self::Written(NewFile::at(path, 0o644)?, lock))
            }
            LockUse::Obey(path) => match read(path)? {
                Some(lock) => Ok(Self::Obeyed(lock)),
                None => Err(CliError::NoLockFile(path.clone())),
            },
        }
    }
}

/// Writes the lock file after the build, unless it says the same already, and tells what moved.
fn update_lock(file: NewFile, before: &ImageLock, used: &ImageLock) -> Result<(), CliError> {
    let mut lock = before.clone();
    for moved in lock.update(used) {
        exit::tell(&format!("rbuild.lock: {moved}"));
    }
    if lock == *before { Ok(()) } else { file.write(&lock.to_text()) }
}

fn style(choice: ProgressChoice, environment: &Environment) -> Style {
    match choice {
        ProgressChoice::Auto => style_for_people(environment),
        ProgressChoice::Plain => Style::Plain(streams::step_output(environment.color())),
        ProgressChoice::Terminal => Style::Live(environment.color()),
        ProgressChoice::Quiet(_) => Style::Quiet,
        ProgressChoice::Json => Style::Json,
        ProgressChoice::RawJson => Style::RawJson { begun: environment.clock.now() },
    }
}

/// The file that `--iidfile` or `--metadata-file` names: made before the build, so that a wrong path costs no build, and
/// named after it.
fn result_file(path: Option<&Path>) -> Result<Option<NewFile>, CliError> {
    path.map(|path| NewFile::at(path, 0o644)).transpose()
}
