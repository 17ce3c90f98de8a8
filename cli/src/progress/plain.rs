//! Progress in lines, in BuildKit's plain format.
//!
//! One activity at a time has the stage: its lines come as they happen. The lines of the others wait until it is over, or
//! until it has been silent for a while and they have something to say; then `#N ...` marks that it will go on.

use super::{
    each_once,
    lines::LineBuffer,
    names,
    transfers::{Transfer, Transfers},
    warnings_found,
};
use crate::{
    explanation,
    failure::joined,
    shown::{Shown, StepOutput, one_line, one_line_with_tabs},
};
use rbuild::{Activity, ActivityId, Event, Outcome};
use std::{collections::BTreeMap, fmt::Write, time::Duration};

/// How long the activity on the stage may be silent while others wait.
const PATIENCE: Duration = Duration::from_millis(500);
/// Time between two lines about one transfer.
const TRANSFER_INTERVAL: Duration = Duration::from_secs(5);

/// The lines that were written, and those that wait.
pub(super) struct Plain {
    /// How the output of steps is shown.
    output: StepOutput,
    activities: BTreeMap<ActivityId, Block>,
    /// The activity whose lines are being written.
    stage: Option<ActivityId>,
    /// When the stage was last used.
    last: Duration,
    /// True if a block has been written, so that the next one needs a blank line before it.
    begun: bool,
    warnings: Vec<String>,
    /// The activity that read the Dockerfile, to which warnings belong.
    definition: Option<(ActivityId, String)>,
    /// How many of the warnings stand below it.
    attached: usize,
    /// Why the first step that ran was not in the cache.
    first_miss: Option<String>,
}

#[derive(Default)]
struct Block {
    name: String,
    /// Whole lines that wait, with their `#N`.
    waiting: Shown,
    line: LineBuffer,
    transfers: Transfers,
    over: bool,
    /// True if its failure is that of the whole command, which says why.
    is_all: bool,
}

impl Plain {
    /// Nothing written yet.
    pub(super) fn new(output: StepOutput) -> Self {
        Self {
            output,
            activities: BTreeMap::new(),
            stage: None,
            last: Duration::ZERO,
            begun: false,
            warnings: Vec::new(),
            definition: None,
            attached: 0,
            first_miss: None,
        }
    }

    /// Takes note of `event`, and writes what can be written.
    pub(super) fn event(&mut self, event: Event, now: Duration, out: &mut Shown) {
        if let Some(wait) = names::wait(&event) {
            line(out, format_args!("{wait}"));
            return;
        }
        if let Some(warning) = names::warning(&event) {
            self.warnings.push(warning);
            return;
        }
        self.attach_warnings(now, out);
        let (id, over) = match event {
            Event::Found(_) | Event::Warning(_) | Event::Missed { .. } => return,
            Event::Recorded(build) => {
                self.first_miss = explanation::first_line(&build);
                return;
            }
            Event::Begun { activity, what } => {
                let name = one_line_with_tabs(&names::short_name(&what)).into_owned();
                if matches!(what, Activity::LoadDefinition { .. }) {
                    self.definition = Some((activity, name.clone()));
                }
                let is_all = matches!(what, Activity::Pull { .. });
                let block = self.activities.entry(activity).or_default();
                (block.name, block.is_all) = (name, is_all);
                (activity, false)
            }
            Event::Output { activity, bytes, elapsed } => {
                let stage = self.activities.entry(activity).or_default();
                stage.output(activity, &bytes, elapsed, self.output);
                (activity, false)
            }
            Event::Transferred { activity, subject, done, total } => {
                let progress = (one_line(&subject).into_owned(), done, total);
                self.activities.entry(activity).or_default().transferred(activity, progress, now);
                (activity, false)
            }
            Event::Note { activity, note } => {
                self.activities.entry(activity).or_default().say(activity, &names::note(&note));
                (activity, false)
            }
            Event::Ended { activity, outcome, elapsed } => {
                self.activities.entry(activity).or_default().end(activity, &outcome, elapsed, self.output);
                (activity, true)
            }
        };
        if self.stage.is_none_or(|stage| stage == id) {
            self.give_stage(id, now, out);
            if over {
                self.next(now, out);
            }
        }
    }

    /// Lets others onto the stage when the one that has it has been silent for too long.
    pub(super) fn tick(&mut self, now: Duration, out: &mut Shown) {
        if now.saturating_sub(self.last) >= PATIENCE
            && let Some(next) = self.next_waiting()
        {
            self.give_stage(next, now, out);
            if !self.activities.contains_key(&next) {
                self.next(now, out);
            }
        }
    }

    /// True if lines wait for the stage.
    pub(super) fn holds_back(&self) -> bool {
        self.next_waiting().is_some()
    }

    /// Writes everything that waits, and the warnings. What is not over by now has been given up.
    pub(super) fn finish(&mut self, out: &mut Shown) {
        self.attach_warnings(Duration::ZERO, out);
        for (id, activity) in &mut self.activities {
            if !activity.over {
                activity.end(*id, &Outcome::Canceled, Duration::ZERO, self.output);
            }
        }
        if let Some(stage) = self.stage {
            self.give_stage(stage, Duration::ZERO, out);
        }
        while let Some(next) = self.next_waiting() {
            self.give_stage(next, Duration::ZERO, out);
        }
        if !self.warnings.is_empty() {
            let warnings = each_once(&std::mem::take(&mut self.warnings));
            // a build that was stopped may still send events
            self.attached = 0;
            line(out, format_args!("\n {}", warnings_found(warnings.len())));
            for warning in warnings {
                line(out, format_args!(" - {warning}"));
            }
        }
        if let Some(why) = self.first_miss.take() {
            line(out, format_args!("\n{why}"));
        }
    }

    /// Writes warnings below the activity that read the Dockerfile. It is over long before they are known, so it comes back
    /// for them.
    fn attach_warnings(&mut self, now: Duration, out: &mut Shown) {
        let new = &self.warnings[self.attached..];
        self.attached = self.warnings.len();
        let Some((id, name)) = self.definition.as_ref().filter(|_| !new.is_empty()) else { return };
        let activity = self.activities.entry(*id).or_insert_with(|| Block {
            name: name.clone(),
            over: true,
            ..Block::default()
        });
        for warning in new {
            activity.say(*id, &format!("WARN: {warning}"));
        }
        let id = *id;
        if self.stage.is_none_or(|stage| stage == id) {
            self.give_stage(id, now, out);
        }
    }

    /// Gives the stage to those who are over, then to the first who waits.
    fn next(&mut self, now: Duration, out: &mut Shown) {
        while let Some(next) = self.next_waiting() {
            self.give_stage(next, now, out);
            if self.stage.is_some() {
                break;
            }
        }
    }

    /// The next activity with buffered lines: finished ones first, then the oldest.
    fn next_waiting(&self) -> Option<ActivityId> {
        let waiting = |(_, activity): &(&ActivityId, &Block)| !activity.waiting.is_empty();
        let over = self.activities.iter().filter(waiting).find(|(_, activity)| activity.over);
        over.or_else(|| self.activities.iter().find(waiting)).map(|(id, _)| *id)
    }

    /// Writes the waiting lines of `id`, below its name unless it had the stage already. An activity that is over leaves
    /// the stage and is forgotten.
    fn give_stage(&mut self, id: ActivityId, now: Duration, out: &mut Shown) {
        let Some(activity) = self.activities.get_mut(&id) else { return };
        if self.stage != Some(id) {
            if let Some(interrupted) = self.stage {
                line(out, format_args!("#{} ...", interrupted.0));
            }
            if self.begun {
                out.text("\n");
            }
            line(out, format_args!("#{} {}", id.0, activity.name));
            self.begun = true;
            self.stage = Some(id);
        }
        out.append(&mut activity.waiting);
        self.last = now;
        if activity.over {
            self.activities.remove(&id);
            self.stage = None;
        }
    }
}

impl Block {
    fn output(&mut self, id: ActivityId, bytes: &[u8], elapsed: Duration, output: StepOutput) {
        let Self { line: buffer, waiting, .. } = self;
        // once for all lines: a program may write millions
        let start = Shown::from(log_start(id, elapsed).as_str());
        buffer.feed(bytes, |text| {
            waiting.append_copy(&start);
            waiting.step_line(text, output);
        });
    }

    fn transferred(
        &mut self,
        id: ActivityId,
        (subject, done, total): (String, u64, Option<u64>),
        now: Duration,
    ) {
        let (transfer, was_over) = self.transfers.update(subject, (done, total), now);
        let due = transfer.reported.is_none_or(|reported| now.saturating_sub(reported) >= TRANSFER_INTERVAL);
        if was_over || !(due || transfer.is_over()) {
            return;
        }
        transfer.reported = Some(now);
        let text = transfer_text(transfer, now);
        self.say(id, &text);
    }

    fn end(&mut self, id: ActivityId, outcome: &Outcome, elapsed: Duration, output: StepOutput) {
        if let Some(rest) = self.line.rest() {
            log_line(&mut self.waiting, (id, elapsed), &rest, output);
        }
        match outcome {
            Outcome::Done => self.say(id, &format!("DONE {:.1}s", elapsed.as_secs_f64())),
            Outcome::Cached => self.say(id, "CACHED"),
            Outcome::Failed(_) if self.is_all => self.say(id, "ERROR"),
            Outcome::Failed(causes) => self.say(id, &format!("ERROR: {}", joined(causes))),
            Outcome::Canceled => self.say(id, "CANCELED"),
        }
        self.over = true;
    }

    fn say(&mut self, id: ActivityId, text: &str) {
        line(&mut self.waiting, format_args!("#{} {}", id.0, one_line(text)));
    }
}

fn transfer_text(transfer: &Transfer, now: Duration) -> String {
    let taken = now.saturating_sub(transfer.begun).as_secs_f64();
    let time = if taken > 0.01 { format!(" {taken:.1}s") } else { String::new() };
    let done = if transfer.is_over() { " done" } else { "" };
    format!("{} {}{time}{done}", transfer.subject, transfer.amount())
}

fn log_line(out: &mut Shown, (id, elapsed): (ActivityId, Duration), text: &[u8], output: StepOutput) {
    out.text(&log_start(id, elapsed));
    out.step_line(text, output);
}

/// What stands before a line of a step's output.
fn log_start(id: ActivityId, elapsed: Duration) -> String {
    format!("#{} {:.3} ", id.0, elapsed.as_secs_f64())
}

fn line(out: &mut Shown, text: std::fmt::Arguments<'_>) {
    // writing to memory cannot fail
    let _ = writeln!(out, "{text}");
}

#[cfg(test)]
#[path = "plain_tests.rs"]
mod tests;
