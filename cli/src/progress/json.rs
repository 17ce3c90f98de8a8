//! Progress for programs: one JSON object an event.

use super::names;
use crate::{failure::joined, shown::Shown};
use rbuild::{Event, Outcome};
use rbuild_docker_api::miss_word;
use serde_json::{Value, json};

/// Writes `event` as one line.
pub(super) fn event(event: &Event, out: &mut Shown) {
    let object = match event {
        Event::Begun { activity, what } => {
            json!({"type": "begun", "activity": activity.0, "name": names::name(what)})
        }
        Event::Output { activity, bytes, elapsed } => json!({
            "type": "output", "activity": activity.0, "text": String::from_utf8_lossy(bytes), "seconds": elapsed.as_secs_f64()
        }),
        Event::Transferred { activity, subject, done, total } => {
            json!({"type": "transferred", "activity": activity.0, "subject": subject, "done": done, "total": total})
        }
        Event::Note { activity, note } => {
            json!({"type": "note", "activity": activity.0, "text": names::note(note)})
        }
        Event::Missed { activity, reason } => {
            json!({"type": "missed", "activity": activity.0, "reason": miss_word(reason)})
        }
        Event::Ended { activity, outcome, elapsed } => {
            let (outcome, message) = match outcome {
                Outcome::Done => ("done", Value::Null),
                Outcome::Cached => ("cached", Value::Null),
                Outcome::Failed(causes) => ("failed", Value::from(joined(causes))),
                Outcome::Canceled => ("canceled", Value::Null),
            };
            json!({
                "type": "ended", "activity": activity.0, "outcome": outcome, "message": message, "seconds": elapsed.as_secs_f64()
            })
        }
        Event::Recorded(build) => json!({"type": "recorded", "build": build.id.to_string()}),
        Event::Found(_) | Event::Warning(_) => json!({"type": "warning", "text": names::warning(event)}),
    };
    out.text(&format!("{object}\n"));
}
