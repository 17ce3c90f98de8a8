//! What the commands do: settle what was meant, ask the engine, print the answer.

mod build;
mod call;
mod containers;
mod history;
mod images;
mod inspect;
mod login;
mod naming;
mod plan;
mod prune;
mod registry;
mod run;
mod session;
mod transfer;
mod usage;
mod version;

pub(crate) use build::build;
pub(crate) use call::check;
pub(crate) use containers::{commit, containers, remove_containers};
pub(crate) use history::history;
pub(crate) use images::images;
pub(crate) use inspect::{ObjectKind, inspect};
pub(crate) use login::{login, logout};
pub(crate) use naming::{remove_images, tag};
pub(crate) use plan::plan;
pub(crate) use prune::{prune_cache, prune_containers, prune_everything, prune_images};
pub(crate) use registry::{pull, push};
pub(crate) use run::run;
pub(crate) use transfer::{import, load, save};
pub(crate) use usage::usage;
pub(crate) use version::version;

use crate::{
    environment::Environment,
    error::CliError,
    interrupt::Interrupt,
    progress::{Progress, Style},
};
use rbuild::EventSink;
use std::io::{self, Write};

/// Writes `text` to standard output.
fn print(text: &str) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(CliError::stdout)
}

/// Does `work` with its progress shown, until it is done or a signal asks to stop.
fn work<T, E: Into<CliError>>(
    style: Style,
    work: impl AsyncFnOnce(EventSink) -> Result<T, E>,
) -> Result<T, CliError> {
    let mut interrupt = Interrupt::watch();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| CliError::Stream { action: "start the event loop", source })?;
    let progress = Progress::begin(style);
    let done = runtime.block_on(async {
        tokio::select! {
            done = work(progress.sink()) => done.map_err(Into::into),
            signal = interrupt.received() => Err(CliError::Interrupted { signal }),
        }
    });
    progress.end();
    done
}

/// Does `work`, which waits for nothing but disks, with its progress shown. Signals keep their usual effect: the store
/// survives that.
fn show<T>(style: Style, work: impl FnOnce(EventSink) -> Result<T, rbuild::Error>) -> Result<T, CliError> {
    let progress = Progress::begin(style);
    let done = work(progress.sink());
    progress.end();
    Ok(done?)
}

/// Progress for people: live on a terminal, lines elsewhere.
fn style_for_people(environment: &Environment) -> Style {
    if environment.live_terminal() { Style::Live(environment.color()) } else { Style::Plain }
}
