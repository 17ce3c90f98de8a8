//! A program that embeds rbuild: `rbuild-embed-example STORE CONTEXT SECONDS` builds a directory, shows its progress, gives up after
//! a time, and prints what is known of the image.
//!
//! Everything comes from one crate, `rbuild`. The engine neither prints nor reads the environment: what is shown, and when to stop,
//! is decided here.

#![forbid(unsafe_code)]
#![expect(clippy::disallowed_methods, reason = "it is a program of its own, with its own streams")]

use rbuild::{
    Activity, BuildRequest, ClientOptions, Clock, Engine, EngineOptions, Event, EventSink, Image, Outcome,
    Output,
};
use std::{
    error::Error,
    fs,
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, SystemTime},
};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {}", with_causes(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [store, context, seconds] = arguments.as_slice() else {
        return Err("usage: rbuild-embed-example STORE CONTEXT SECONDS".into());
    };
    let limit = Duration::from_secs(seconds.parse()?);

    // an ordinary user becomes root of a namespace of their own, before there is a second thread
    if fs::metadata("/proc/self")?.uid() != 0 {
        rbuild::enter_user_namespace()?;
    }

    let engine = Engine::open(EngineOptions {
        root: PathBuf::from(store),
        registry: ClientOptions::default(),
        clock: Clock::new(SystemTime::now),
    })?;
    let mut request = BuildRequest::new(context);
    request.outputs = vec![Output::Store { names: vec!["embedded".parse()?] }];

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let built = runtime.block_on(async {
        // a build is a future: when it is dropped, here by the timeout, its steps are stopped and nothing is left behind
        tokio::time::timeout(limit, engine.build(request, EventSink::new(show))).await
    });
    let built = match built {
        Ok(built) => built?,
        Err(_) => return Err(format!("canceled after {seconds} s").into()),
    };

    // every name and id that commands of rbuild take is taken here as well
    let image = built.image().ok_or("the build was asked for no image")?;
    describe(&engine.image(&image.to_string())?)?;
    Ok(())
}

/// Shows progress. Called from many threads: each event becomes one write.
fn show(event: Event) {
    let line = match event {
        Event::Begun { activity, what } => format!("{:>3} {}\n", activity.0, name(&what)),
        Event::Ended { activity, outcome, elapsed } => {
            let word = match outcome {
                Outcome::Done => "done",
                Outcome::Cached => "cached",
                Outcome::Failed(_) => "failed",
                Outcome::Canceled => "canceled",
            };
            format!("{:>3} {word} in {:.1} s\n", activity.0, elapsed.as_secs_f64())
        }
        Event::Output { bytes, .. } => String::from_utf8_lossy(&bytes).into_owned(),
        Event::Found(finding) => format!("    {finding}\n"),
        Event::Warning(warning) => format!("    warning: {warning}\n"),
        Event::Recorded(_) | Event::Missed { .. } | Event::Note { .. } | Event::Transferred { .. } => return,
    };
    let _ = io::stderr().write_all(line.as_bytes());
}

/// Events are types: the words are the program's.
fn name(activity: &Activity) -> String {
    match activity {
        Activity::LoadDefinition { file } => format!("reading {file}"),
        Activity::LoadMetadata { image, .. } => format!("looking for {image}"),
        Activity::AskStore { image, store } => format!("looking for {image} in {store}"),
        Activity::FetchLayers { image } => format!("fetching layers of {image}"),
        Activity::Step(step) => format!("{} {}", step.position, step.instruction),
        Activity::RepeatStep(step) => format!("again {} {}", step.position, step.instruction),
        Activity::Export => "putting the image together".to_owned(),
        Activity::Load => "reading an archive".to_owned(),
        Activity::Pull { image } => format!("fetching {image}"),
        Activity::ImportMount { id } => format!("filling cache mount {id}"),
        Activity::ImportCache { from } => format!("reading the cache {from}"),
        Activity::ExportCache { to } => format!("writing the cache {to}"),
        Activity::Push { image } => format!("sending {image}"),
        Activity::ExportImage { .. } | Activity::ExportTar | Activity::ExportDirectory => {
            "exporting".to_owned()
        }
        Activity::FetchSource { source } => format!("fetching {source}"),
        Activity::LoadIntoDaemon { daemon } => format!("loading into {daemon}"),
    }
}

fn describe(image: &Image) -> io::Result<()> {
    let config = &image.config.config;
    let mut out = io::stdout().lock();
    writeln!(out, "image    {}", image.id)?;
    for name in &image.names {
        writeln!(out, "name     {name}")?;
    }
    writeln!(out, "platform {}/{}", image.config.os, image.config.architecture)?;
    writeln!(out, "layers   {} of {} bytes", image.config.rootfs.diff_ids.len(), image.size)?;
    writeln!(out, "command  {:?}", config.cmd.as_deref().unwrap_or_default())
}

/// Each message of the engine says its own part: the whole is the chain.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text.push_str(&format!(": {source}"));
        cause = source.source();
    }
    text
}
