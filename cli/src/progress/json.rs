//! Progress for programs: one JSON object an event.

use crate::{failure::joined, shown::Shown};
use rbuild::{Event, Outcome};
use serde_json::{Value, json};

/// Writes `event` as one line.
pub(super) fn event(event: &Event, out: &mut Shown) {
    let object = match event {
        Event::Begun { activity, name } => json!({"type": "begun", "activity": activity.0, "name": name}),
        Event::Output { activity, bytes, elapsed } => json!({
            "type": "output", "activity": activity.0, "text": String::from_utf8_lossy(bytes), "seconds": elapsed.as_secs_f64()
        }),
        Event::Transferred { activity, subject, done, total } => {
            json!({"type": "transferred", "activity": activity.0, "subject": subject, "done": done, "total": total})
        }
        Event::Note { activity, text } => json!({"type": "note", "activity": activity.0, "text": text}),
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
        Event::Warning { text } => json!({"type": "warning", "text": text}),
    };
    out.text(&format!("{object}\n"));
}
