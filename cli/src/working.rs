//! How commands work: with their progress shown, until they are done or a signal asks to stop.

use crate::{
    environment::Environment,
    error::CliError,
    interrupt::Interrupt,
    progress::{Progress, Style},
    streams,
};
use rbuild::EventSink;

/// Does `work` with its progress shown, until it is done or a signal asks to stop.
pub(crate) fn work<T, E: Into<CliError>>(
    style: Style,
    work: impl AsyncFnOnce(EventSink) -> Result<T, E>,
) -> Result<T, CliError> {
    let interrupt = Interrupt::watch();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| CliError::Stream { action: "start the event loop", source })?;
    let progress = Progress::begin(style);
    let done = runtime.block_on(async {
        tokio::select! {
            biased;
            done = work(progress.sink()) => done.map_err(Into::into),
            never = progress.shown_later() => match never {},
            signal = interrupt.received() => Err(CliError::Interrupted { signal }),
        }
    });
    progress.end();
    if done.is_ok() {
        // the threads that are left are idle
        runtime.shutdown_background();
    }
    done
}

/// Does `work`, which waits for nothing but disks, with its progress shown. Signals keep their usual effect: the store
/// survives that.
pub(crate) fn show<T>(
    style: Style,
    work: impl FnOnce(EventSink) -> Result<T, rbuild::Error>,
) -> Result<T, CliError> {
    let progress = Progress::begin(style);
    progress.show();
    let done = work(progress.sink());
    progress.end();
    Ok(done?)
}

/// Progress for people: live on a terminal, lines elsewhere.
pub(crate) fn style_for_people(environment: &Environment) -> Style {
    if environment.live_terminal() {
        Style::Live(environment.color())
    } else {
        Style::Plain(streams::step_output(environment.color()))
    }
}
