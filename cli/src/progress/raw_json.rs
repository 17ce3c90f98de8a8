//! Progress for programs that read BuildKit's: one `SolveStatus` a line, as `docker build --progress=rawjson` writes it
//! (BuildKit, `client/graph.go`). BuildKit knows vertexes by digests; here the digest is that of an activity's number and name.

use super::names;
use crate::{failure::joined, shown::Shown};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rbuild::{ActivityId, Digest, Event, Outcome, Timestamp};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime},
};

/// The stream that BuildKit calls standard output. Both streams of a command are one here, in the order written.
const STDOUT: u8 = 1;

/// The vertexes so far.
pub(super) struct RawJson {
    begun: SystemTime,
    vertexes: BTreeMap<ActivityId, Vertex>,
}

struct Vertex {
    digest: String,
    name: String,
    started: String,
    /// Transfers that have begun, with the time.
    transfers: BTreeMap<String, String>,
    completed: BTreeSet<String>,
}

impl RawJson {
    /// Nothing written yet; the work began at `begun`.
    pub(super) fn new(begun: SystemTime) -> Self {
        Self { begun, vertexes: BTreeMap::new() }
    }

    /// Writes `event`, which came `now` after the beginning.
    pub(super) fn event(&mut self, event: &Event, now: Duration, out: &mut Shown) {
        let now = Timestamp::from(self.begun + now).to_string();
        if let Some(status) = self.status(event, &now) {
            out.text(&format!("{status}\n"));
        }
    }

    fn status(&mut self, event: &Event, now: &str) -> Option<Value> {
        match event {
            Event::Begun { activity, what } => {
                let name = names::name(what);
                let digest = Digest::of(format!("{} {name}", activity.0).as_bytes()).to_string();
                let (transfers, completed) = Default::default();
                let vertex = Vertex { digest, name, started: now.to_owned(), transfers, completed };
                let status = json!({"vertexes": [vertex.to_json()]});
                self.vertexes.insert(*activity, vertex);
                Some(status)
            }
            Event::Output { activity, bytes, elapsed: _ } => {
                let vertex = &self.vertexes.get(activity)?.digest;
                let data = STANDARD.encode(bytes);
                Some(json!({"logs": [{"vertex": vertex, "stream": STDOUT, "data": data, "timestamp": now}]}))
            }
            Event::Transferred { activity, subject, done, total } => {
                let vertex = self.vertexes.get_mut(activity)?;
                Some(json!({"statuses": [vertex.transfer(subject, *done, *total, now)]}))
            }
            // BuildKit has its remarks as transfers of nothing
            Event::Note { activity, note } => {
                let vertex = self.vertexes.get_mut(activity)?;
                Some(json!({"statuses": [vertex.transfer(&names::note(note), 0, Some(0), now)]}))
            }
            Event::Ended { activity, outcome, elapsed: _ } => {
                let mut vertex = self.vertexes.get(activity)?.to_json();
                vertex["completed"] = json!(now);
                match outcome {
                    Outcome::Done => {}
                    Outcome::Cached => vertex["cached"] = json!(true),
                    Outcome::Failed(causes) => vertex["error"] = json!(joined(causes)),
                    Outcome::Canceled => vertex["error"] = json!("context canceled"),
                }
                Some(json!({"vertexes": [vertex]}))
            }
            Event::Found(finding) => {
                let (first, last) = finding.lines;
                let mut warning =
                    self.warning(&format!("{}: {} (line {first})", finding.rule, finding.message));
                warning["detail"] = json!([STANDARD.encode(finding.description)]);
                warning["range"] = json!([{"start": {"line": first}, "end": {"line": last}}]);
                if let Some(url) = &finding.url {
                    warning["url"] = json!(url);
                }
                Some(json!({"warnings": [warning]}))
            }
            Event::Warning(_) => Some(json!({"warnings": [self.warning(&names::warning(event)?)]})),
            // BuildKit does not say why a step runs, and keeps its records elsewhere
            Event::Missed { .. } | Event::Recorded(_) => None,
        }
    }

    fn warning(&self, text: &str) -> Value {
        // the Dockerfile is what is read first
        let vertex = self.vertexes.values().next().map(|vertex| vertex.digest.as_str());
        json!({"vertex": vertex.unwrap_or_default(), "level": 1, "short": STANDARD.encode(text)})
    }
}

impl Vertex {
    fn to_json(&self) -> Value {
        json!({"digest": self.digest, "name": self.name, "started": self.started})
    }

    fn transfer(&mut self, subject: &str, done: u64, total: Option<u64>, now: &str) -> Value {
        let started = self.transfers.entry(subject.to_owned()).or_insert_with(|| now.to_owned());
        let mut status = json!({
            "id": subject, "vertex": self.digest, "current": done, "timestamp": now, "started": started
        });
        if let Some(total) = total.filter(|total| *total > 0) {
            status["total"] = json!(total);
        }
        if total.is_some_and(|total| done >= total) && self.completed.insert(subject.to_owned()) {
            status["completed"] = json!(now);
        }
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rbuild::{Activity, Causes, StepName};

    #[test]
    fn events_are_solve_statuses() {
        let mut raw = RawJson::new(SystemTime::UNIX_EPOCH);
        let mut line = |event: Event, seconds| {
            let mut out = Shown::default();
            raw.event(&event, Duration::from_secs(seconds), &mut out);
            serde_json::from_slice::<Value>(out.as_bytes()).unwrap()
        };
        let (activity, position) = (ActivityId(1), "[2/2]".to_owned());
        let what = Activity::Step(StepName { number: 1, position, instruction: "RUN x".to_owned() });
        let digest = Digest::of(b"1 [2/2] RUN x").to_string();
        let began = json!({"digest": digest, "name": "[2/2] RUN x", "started": "1970-01-01T00:00:01Z"});
        assert_eq!(line(Event::Begun { activity, what }, 1), json!({"vertexes": [began]}));
        let output = Event::Output { activity, bytes: b"\xff\n".to_vec(), elapsed: Duration::ZERO };
        assert_eq!(
            line(output, 2),
            json!({"logs": [
                {"vertex": digest, "stream": 1, "data": "/wo=", "timestamp": "1970-01-01T00:00:02Z"}
            ]})
        );
        let moved = |done, total| Event::Transferred { activity, subject: "a".to_owned(), done, total };
        let status = line(moved(1, Some(2)), 3);
        assert_eq!(
            (&status["statuses"][0]["total"], &status["statuses"][0]["completed"]),
            (&json!(2), &Value::Null)
        );
        let status = line(moved(2, Some(2)), 4);
        assert_eq!(status["statuses"][0]["started"], "1970-01-01T00:00:03Z");
        assert_eq!(status["statuses"][0]["completed"], "1970-01-01T00:00:04Z");
        let causes = Causes::of(&std::io::Error::other("no"));
        let failed = Event::Ended { activity, outcome: Outcome::Failed(causes), elapsed: Duration::ZERO };
        let ended = line(failed, 5);
        assert_eq!(ended["vertexes"][0]["error"], "no");
        assert_eq!(ended["vertexes"][0]["completed"], "1970-01-01T00:00:05Z");
    }
}
