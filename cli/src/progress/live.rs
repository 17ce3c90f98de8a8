//! Progress on a terminal: steps that are over scroll up, one line each; below them a few lines are redrawn: the header, the
//! running steps with their last output, and transfers.

use super::{
    Size, each_once,
    lines::LineBuffer,
    names,
    transfers::Transfers,
    warnings_found,
    width::{columns, fitted},
};
use crate::{
    explanation,
    shown::{Color, Paint, Shown, one_line, without_colors},
};
use rbuild::{ActivityId, Event, Outcome};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

/// Output lines kept of a running step.
const LOG_LINES: usize = 6;
/// Cached steps in a row that are still listed one by one.
const LISTED: usize = 3;
/// Time between two drawings.
const INTERVAL: Duration = Duration::from_millis(100);

/// The rows that the terminal shows, and those that it will show.
pub(super) struct Live {
    color: Color,
    running: BTreeMap<ActivityId, Running>,
    /// Finished lines not yet on the terminal: text and colour.
    finished: Vec<Line>,
    /// Names of cached steps not yet on the terminal.
    cached: Vec<String>,
    warnings: Vec<String>,
    begun: usize,
    ended: usize,
    failed: bool,
    /// Columns of each redrawable line on the terminal now.
    drawn: Vec<usize>,
    last: Option<Duration>,
    /// Why the first step that ran was not in the cache.
    first_miss: Option<String>,
}

struct Running {
    name: String,
    since: Duration,
    log: VecDeque<String>,
    line: LineBuffer,
    transfers: Transfers,
    note: Option<String>,
}

/// A line to be drawn.
struct Line {
    left: String,
    /// At the right edge.
    right: String,
    paint: Paint,
}

impl Live {
    /// Nothing drawn yet.
    pub(super) fn new(color: Color) -> Self {
        Self {
            color,
            running: BTreeMap::new(),
            finished: Vec::new(),
            cached: Vec::new(),
            warnings: Vec::new(),
            begun: 0,
            ended: 0,
            failed: false,
            drawn: Vec::new(),
            last: None,
            first_miss: None,
        }
    }

    /// Takes note of `event`.
    pub(super) fn event(&mut self, event: Event, now: Duration) {
        if let Some(left) = names::wait(&event) {
            self.finished.push(Line {
                left: format!(" => {left}"),
                right: String::new(),
                paint: Paint::Yellow,
            });
            return;
        }
        match event {
            Event::Begun { activity, what } => {
                self.begun += 1;
                let running = Running {
                    name: one_line(&names::short_name(&what)).into_owned(),
                    since: now,
                    log: VecDeque::new(),
                    line: LineBuffer::default(),
                    transfers: Transfers::default(),
                    note: None,
                };
                self.running.insert(activity, running);
            }
            Event::Output { activity, bytes, .. } => {
                if let Some(running) = self.running.get_mut(&activity) {
                    running.output(&bytes);
                }
            }
            Event::Transferred { activity, subject, done, total } => {
                if let Some(running) = self.running.get_mut(&activity) {
                    running.transfers.update(one_line(&subject).into_owned(), (done, total), now);
                }
            }
            Event::Note { activity, note } => {
                if let Some(running) = self.running.get_mut(&activity) {
                    running.note = Some(one_line(&names::note(&note)).into_owned());
                }
            }
            Event::Ended { activity, outcome, elapsed } => {
                if let Some(running) = self.running.remove(&activity) {
                    self.ended += 1;
                    self.end(running.name, &outcome, elapsed);
                }
            }
            Event::Missed { .. } => {}
            Event::Recorded(build) => self.first_miss = explanation::first_line(&build),
            Event::Found(_) | Event::Warning(_) => self.warnings.extend(names::warning(&event)),
        }
    }

    /// True if nothing on the terminal would change until the next event.
    pub(super) fn is_still(&self) -> bool {
        self.running.is_empty() && self.finished.is_empty() && self.cached.is_empty()
    }

    /// Draws, unless it has just been done.
    pub(super) fn draw(&mut self, now: Duration, size: Size, out: &mut Shown) {
        if self.last.is_some_and(|last| now.saturating_sub(last) < INTERVAL) {
            return;
        }
        self.last = Some(now);
        let mut lines = vec![self.header(now, "")];
        for running in self.running.values() {
            lines.extend(running.lines(now));
        }
        // what does not fit cannot be redrawn: leave the last row to the cursor
        lines.truncate(size.rows - 1);
        self.put(&lines, size, out);
    }

    /// Draws for the last time: what is over stays, and the header says how it went.
    pub(super) fn finish(&mut self, now: Duration, size: Size, out: &mut Shown) {
        for (_, running) in std::mem::take(&mut self.running) {
            self.end(running.name, &Outcome::Canceled, now.saturating_sub(running.since));
        }
        let header = self.header(now, if self.failed { "" } else { " FINISHED" });
        self.put(&[header], size, out);
        self.drawn.clear();
        if !self.warnings.is_empty() {
            let warnings = each_once(&std::mem::take(&mut self.warnings));
            out.text("\n ");
            out.painted(&warnings_found(warnings.len()), Paint::Yellow, self.color);
            out.text("\n");
            for warning in warnings {
                out.text(&format!(" - {warning}\n"));
            }
        }
        if let Some(why) = self.first_miss.take() {
            out.text(&format!("\n{why}\n"));
        }
    }

    fn end(&mut self, name: String, outcome: &Outcome, elapsed: Duration) {
        let (word, paint) = match outcome {
            Outcome::Cached => {
                self.cached.push(name);
                return;
            }
            Outcome::Done => ("", Paint::Blue),
            Outcome::Failed(_) => ("ERROR ", Paint::Red),
            Outcome::Canceled => ("CANCELED ", Paint::Yellow),
        };
        self.failed |= matches!(outcome, Outcome::Failed(_) | Outcome::Canceled);
        self.settle_cached();
        self.finished.push(Line { left: format!(" => {word}{name}"), right: seconds(elapsed), paint });
    }

    /// Turns the cached steps in a row into lines, or into one when there are many.
    fn settle_cached(&mut self) {
        let line = |left: String| Line { left, right: seconds(Duration::ZERO), paint: Paint::Blue };
        if self.cached.len() > LISTED {
            self.finished.push(line(format!(" => CACHED {} steps", self.cached.len())));
            self.cached.clear();
        } else {
            self.finished.extend(self.cached.drain(..).map(|name| line(format!(" => CACHED {name}"))));
        }
    }

    fn header(&self, now: Duration, state: &str) -> Line {
        let left = format!("[+] Building {} ({}/{}){state}", seconds(now), self.ended, self.begun);
        Line { left, right: String::new(), paint: Paint::None }
    }

    /// Replaces the redrawable lines by the finished ones and then `lines`.
    fn put(&mut self, lines: &[Line], size: Size, out: &mut Shown) {
        self.settle_cached();
        // a terminal made narrower since has folded the lines: count them as they are now
        let rows: usize = self.drawn.iter().map(|width| width.div_ceil(size.columns).max(1)).sum();
        out.take_back(rows);
        for line in std::mem::take(&mut self.finished) {
            self.add(&line, size, out);
        }
        self.drawn = lines.iter().map(|line| self.add(line, size, out)).collect();
    }

    /// Adds a line, cut to the terminal; returns its columns. The last column stays free, because some terminals go to the
    /// next line as soon as it is filled.
    fn add(&self, line: &Line, size: Size, out: &mut Shown) -> usize {
        let room = size.columns - 1;
        let right = if line.right.is_empty() { 0 } else { columns(&line.right) + 1 };
        let left = fitted(&line.left, room.saturating_sub(right));
        let mut whole = left;
        if right > 0 {
            let gap = room.saturating_sub(columns(&whole) + right - 1);
            whole.extend(std::iter::repeat_n(' ', gap));
            whole.push_str(&line.right);
        }
        out.painted(&whole, line.paint, self.color);
        out.text("\n");
        columns(&whole)
    }
}

impl Running {
    fn output(&mut self, mut bytes: &[u8]) {
        let Self { line, log, .. } = self;
        // a program may write millions of lines, of which the last ones are all that is shown
        let mut ends = bytes.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
        if let Some((end, _)) = ends.nth(LOG_LINES) {
            let _ = line.rest();
            bytes = &bytes[end + 1..];
        }
        line.feed(bytes, |text| {
            log.push_back(without_colors(text));
            if log.len() > LOG_LINES {
                log.pop_front();
            }
        });
    }

    fn lines(&self, now: Duration) -> Vec<Line> {
        let plain = |left: String| Line { left, right: String::new(), paint: Paint::Dim };
        let note = self.note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
        let head = Line {
            left: format!(" => {}{note}", self.name),
            right: seconds(now.saturating_sub(self.since)),
            paint: Paint::None,
        };
        let transfers = self.transfers.running().map(|transfer| {
            let (amount, bar) = (transfer.amount(), transfer.bar(22));
            plain(format!(" => => {} {bar} {amount}", transfer.subject))
        });
        let log = self.log.iter().map(|text| plain(format!(" => => # {text}")));
        std::iter::once(head).chain(transfers).chain(log).collect()
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1}s", time.as_secs_f64())
}

#[cfg(test)]
#[path = "live_tests.rs"]
mod tests;
