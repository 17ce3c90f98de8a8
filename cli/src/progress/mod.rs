//! Shows what the engine reports while it works. One writer, on stderr: events only fill a buffer, and a ticker thread writes it
//! out a few times a second, so a build that is over in milliseconds is one write, and no step ever waits for a redraw.
//!
//! [`plain`] and [`live`] decide what is shown; both are pure functions of events and times, and are tested as such.

mod json;
mod lines;
mod live;
mod names;
mod plain;
mod raw_json;
mod transfers;
mod width;

pub(crate) use names::NAME_WIDTH;

use crate::{
    exit,
    shown::{Color, Shown, StepOutput, one_line},
    streams, terminal,
};
use rbuild::{Event, EventSink, Warning};
use std::{
    collections::BTreeSet,
    convert::Infallible,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime},
};

/// How to show progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Lines, as BuildKit writes them, with the output of steps like this.
    Plain(StepOutput),
    /// Redrawn on a terminal.
    Live(Color),
    /// One JSON object a line.
    Json,
    /// One JSON object a line, as BuildKit writes them.
    RawJson {
        /// The time from which times are counted.
        begun: SystemTime,
    },
    /// Not at all.
    Quiet,
}

/// A terminal's size in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// Characters in a line.
    pub(crate) columns: usize,
    /// Lines.
    pub(crate) rows: usize,
}

/// Progress being shown.
pub(crate) struct Progress {
    /// `None` when nothing is shown.
    shared: Option<Arc<Shared>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    begun: Instant,
    /// The thread that writes, once it is needed.
    ticker: Mutex<Option<JoinHandle<()>>>,
}

struct State {
    view: View,
    out: Shown,
    over: bool,
}

enum View {
    Plain(plain::Plain),
    Live(live::Live),
    Json,
    RawJson(raw_json::RawJson),
}

/// The time after which work counts as long: what is over sooner is shown at its end, and needs no thread that writes.
const SHORT: Duration = Duration::from_millis(25);
/// Time between two writes.
const TICK: Duration = Duration::from_millis(50);
/// Buffered bytes at which to write without waiting for the tick.
const PLENTY: usize = 64 * 1024;
/// Buffered bytes at which events wait for the writer.
const LIMIT: usize = 1024 * 1024;

/// Says what a person has to hear who wants no progress: that a disk fills up, which no build mends.
fn urgent(event: &Event) {
    if let Event::Warning(Warning::OverBudget { .. }) = event {
        names::warning(event).iter().for_each(|line| exit::warn(line));
    }
}

impl Progress {
    /// Begins to collect progress, which is shown at the end, or from [`Progress::show`] or [`Progress::shown_later`] on.
    pub(crate) fn begin(style: Style) -> Self {
        let view = match style {
            Style::Quiet => return Self { shared: None },
            Style::Plain(output) => View::Plain(plain::Plain::new(output)),
            Style::Live(color) => View::Live(live::Live::new(color)),
            Style::Json => View::Json,
            Style::RawJson { begun } => View::RawJson(raw_json::RawJson::new(begun)),
        };
        let state = Mutex::new(State { view, out: Shown::default(), over: false });
        let (begun, ticker) = (Instant::now(), Mutex::new(None));
        Self { shared: Some(Arc::new(Shared { state, changed: Condvar::new(), begun, ticker })) }
    }

    /// Shows progress from now on.
    pub(crate) fn show(&self) {
        self.shared.iter().for_each(Shared::start);
    }

    /// Shows progress once work turns out to be long; never ends.
    pub(crate) async fn shown_later(&self) -> Infallible {
        tokio::time::sleep(SHORT).await;
        self.show();
        std::future::pending().await
    }

    /// Where the engine is to send its events.
    pub(crate) fn sink(&self) -> EventSink {
        let Some(shared) = self.shared.clone() else { return EventSink::new(|event| urgent(&event)) };
        EventSink::new(move |event| shared.receive(event))
    }

    /// Writes what is left and stops.
    pub(crate) fn end(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        let Some(shared) = self.shared.take() else { return };
        shared.lock().over = true;
        shared.changed.notify_all();
        if let Some(ticker) = shared.ticker().take() {
            // a ticker that panicked has nothing left to show
            let _ = ticker.join();
        }
        let now = shared.begun.elapsed();
        let mut state = shared.lock();
        let State { view, out, .. } = &mut *state;
        match view {
            View::Plain(plain) => plain.finish(out),
            View::Live(live) => live.finish(now, size(), out),
            View::Json | View::RawJson(_) => {}
        }
        write(&std::mem::take(out));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ticker(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.ticker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the thread that writes.
    fn start(self: &Arc<Self>) {
        let mut ticker = self.ticker();
        if ticker.is_none() {
            let shared = Arc::clone(self);
            *ticker = Some(std::thread::spawn(move || shared.tick_until_over()));
        }
    }

    fn receive(self: &Arc<Self>, event: Event) {
        let now = self.begun.elapsed();
        let mut state = self.lock();
        while state.out.len() > LIMIT && !state.over {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let (idle, before) = (state.is_idle(), state.out.len());
        let State { view, out, .. } = &mut *state;
        match view {
            View::Plain(plain) => plain.event(event, now, out),
            View::Live(live) => live.event(event, now),
            View::Json => json::event(&event, out),
            View::RawJson(raw) => raw.event(&event, now, out),
        }
        let is_plenty = before < PLENTY && state.out.len() >= PLENTY;
        let wake = (idle && !state.is_idle()) || is_plenty;
        drop(state);
        if is_plenty {
            self.start();
        }
        if wake {
            self.changed.notify_all();
        }
    }

    /// Writes at every tick at which there is something to write; sleeps while nothing goes on.
    fn tick_until_over(&self) {
        let mut state = self.lock();
        loop {
            state = self
                .changed
                .wait_while(state, |state| !state.over && state.is_idle())
                .unwrap_or_else(PoisonError::into_inner);
            let enough = |state: &mut State| !state.over && state.out.len() < PLENTY;
            let waited = self.changed.wait_timeout_while(state, TICK, enough);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if state.over {
                return;
            }
            let now = self.begun.elapsed();
            let State { view, out, .. } = &mut *state;
            match view {
                View::Plain(plain) => plain.tick(now, out),
                View::Live(live) => live.draw(now, size(), out),
                View::Json | View::RawJson(_) => {}
            }
            let shown = std::mem::take(out);
            drop(state);
            write(&shown);
            self.changed.notify_all();
            state = self.lock();
        }
    }
}

impl State {
    /// True if there is nothing to show until the next event.
    fn is_idle(&self) -> bool {
        self.out.is_empty()
            && match &self.view {
                View::Plain(plain) => !plain.holds_back(),
                View::Live(live) => live.is_still(),
                View::Json | View::RawJson(_) => true,
            }
    }
}

/// `warnings` in order, each in one line and once: two words of one instruction may give the same.
fn each_once(warnings: &[String]) -> Vec<String> {
    let mut warnings: Vec<String> = warnings.iter().map(|warning| one_line(warning).into_owned()).collect();
    let mut seen = BTreeSet::new();
    warnings.retain(|warning| seen.insert(warning.clone()));
    warnings
}

/// The heading of the list of warnings.
fn warnings_found(count: usize) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} warning{plural} found:")
}

fn write(shown: &Shown) {
    if !shown.is_empty() {
        streams::tell(shown);
    }
}

/// The size of the terminal behind stderr, large enough to draw on.
fn size() -> Size {
    let found = terminal::Size::of(streams::stderr());
    Size { columns: usize::from(found.columns).max(20), rows: usize::from(found.rows).max(4) }
}
