//! What plain progress looks like.

use super::*;
use rbuild::{Finding, Note, RegistryNotice, StepName, Warning};

const fn id(number: u32) -> ActivityId {
    ActivityId(number)
}

/// An activity of this name.
fn step(name: &str) -> Activity {
    let (position, instruction) = (String::new(), name.to_owned());
    Activity::Step(StepName { number: 1, position, instruction })
}

fn found(rule: &str, message: &str) -> Event {
    Event::Found(Finding {
        rule: rule.to_owned(),
        description: "",
        url: None,
        message: message.to_owned(),
        lines: (4, 4),
        excerpt: String::new(),
    })
}

fn begun(number: u32, name: &str) -> Event {
    let what = match name.strip_prefix("[internal] load build definition from ") {
        Some(file) => Activity::LoadDefinition { file: file.to_owned() },
        None => step(name),
    };
    Event::Begun { activity: id(number), what }
}

fn output(number: u32, text: &str, millis: u64) -> Event {
    Event::Output { activity: id(number), bytes: text.into(), elapsed: Duration::from_millis(millis) }
}

fn ended(number: u32, outcome: Outcome, millis: u64) -> Event {
    Event::Ended { activity: id(number), outcome, elapsed: Duration::from_millis(millis) }
}

fn shown(events: Vec<(u64, Event)>) -> String {
    let (mut plain, mut out) = (Plain::new(StepOutput::Unchanged), Shown::default());
    for (at, event) in events {
        plain.tick(Duration::from_millis(at), &mut out);
        plain.event(event, Duration::from_millis(at), &mut out);
    }
    plain.finish(&mut out);
    String::from_utf8(out.as_bytes().to_vec()).unwrap()
}

#[test]
fn blocks_are_buildkit_s() {
    let text = shown(vec![
        (0, begun(1, "[internal] load build definition from Dockerfile")),
        (1, ended(1, Outcome::Done, 1)),
        (1, begun(2, "[1/3] FROM busybox")),
        (1, ended(2, Outcome::Cached, 0)),
        (2, begun(3, "[2/3] RUN echo hi")),
        (54, output(3, "hi\nth", 54)),
        (60, output(3, "ere", 60)),
        (80, ended(3, Outcome::Done, 123)),
        (90, begun(4, "[3/3] RUN false")),
        (
            95,
            ended(
                4,
                Outcome::Failed(
                    "process \"/bin/sh -c false\" did not complete successfully: exit code: 1".into(),
                ),
                5,
            ),
        ),
        (95, found("JSONArgsRecommended", "use JSON")),
        // once at the end, however often it was found
        (95, found("JSONArgsRecommended", "use JSON")),
    ]);
    assert_eq!(
        text,
        "#1 [internal] load build definition from Dockerfile\n#1 DONE 0.0s\n\n\
         #2 [1/3] FROM busybox\n#2 CACHED\n\n\
         #3 [2/3] RUN echo hi\n#3 0.054 hi\n#3 0.123 there\n#3 DONE 0.1s\n\n\
         #4 [3/3] RUN false\n#4 ERROR: process \"/bin/sh -c false\" did not complete successfully: exit code: 1\n\
         \n#1 [internal] load build definition from Dockerfile\n#1 WARN: JSONArgsRecommended: use JSON (line 4)\n\
         #1 WARN: JSONArgsRecommended: use JSON (line 4)\n\
         \n 1 warning found:\n - JSONArgsRecommended: use JSON (line 4)\n"
    );
}

#[test]
fn a_wait_for_a_registry_is_a_line_of_its_time_and_no_warning_of_the_end() {
    let reason = "r.example answered 503 Service Unavailable".to_owned();
    let wait = Event::Warning(Warning::Registry(RegistryNotice::Waiting { reason, seconds: 4 }));
    let push = Activity::Push { image: "r.example/app".to_owned() };
    let text = shown(vec![
        (0, Event::Begun { activity: id(1), what: push }),
        (10, wait),
        (4000, ended(1, Outcome::Failed("r.example answered 503 Service Unavailable".into()), 4000)),
    ]);
    assert_eq!(
        text,
        "#1 pushing r.example/app\nWARN: r.example answered 503 Service Unavailable: trying again in 4 s\n\
         #1 ERROR: r.example answered 503 Service Unavailable\n"
    );
}

#[test]
fn steps_side_by_side_do_not_interleave() {
    let text = shown(vec![
        (0, begun(1, "a")),
        (0, begun(2, "b")),
        (1, output(2, "b1\n", 1)),
        (2, output(1, "a1\n", 2)),
        (3, output(2, "b2\n", 3)),
        (4, ended(1, Outcome::Done, 4)),
        (5, output(2, "b3\n", 5)),
        (6, ended(2, Outcome::Canceled, 6)),
    ]);
    assert_eq!(
        text,
        "#1 a\n#1 0.002 a1\n#1 DONE 0.0s\n\n#2 b\n#2 0.001 b1\n#2 0.003 b2\n#2 0.005 b3\n#2 CANCELED\n"
    );
}

#[test]
fn a_silent_step_gives_way() {
    let text = shown(vec![
        (0, begun(1, "slow")),
        (0, begun(2, "quick")),
        (1, output(2, "x\n", 1)),
        (700, output(2, "y\n", 700)),
        (800, ended(2, Outcome::Done, 800)),
        (900, ended(1, Outcome::Done, 900)),
    ]);
    assert_eq!(
        text,
        "#1 slow\n#1 ...\n\n#2 quick\n#2 0.001 x\n#2 0.700 y\n#2 DONE 0.8s\n\n#1 slow\n#1 DONE 0.9s\n"
    );
}

#[test]
fn transfers_are_told_now_and_then() {
    let transferred = |done| Event::Transferred {
        activity: id(1),
        subject: "sha256:0123456789ab".to_owned(),
        done,
        total: Some(3_000_000),
    };
    let text = shown(vec![
        (0, begun(1, "[1/1] FROM debian")),
        (0, transferred(0)),
        (100, transferred(1_000_000)),
        (5100, transferred(2_000_000)),
        (5200, transferred(3_000_000)),
        (5200, transferred(3_000_000)),
        (5300, ended(1, Outcome::Done, 5300)),
    ]);
    assert_eq!(
        text,
        "#1 [1/1] FROM debian\n#1 sha256:0123456789ab 0B / 3MB\n#1 sha256:0123456789ab 2MB / 3MB 5.1s\n\
         #1 sha256:0123456789ab 3MB / 3MB 5.2s done\n#1 DONE 5.3s\n"
    );
}

#[test]
fn what_is_not_over_in_the_end_was_canceled() {
    let text = shown(vec![
        (0, begun(1, "a")),
        (0, begun(2, "b")),
        (1, output(2, "half", 1)),
        (2, output(1, "x\n", 2)),
    ]);
    assert_eq!(text, "#1 a\n#1 0.002 x\n#1 CANCELED\n\n#2 b\n#2 0.000 half\n#2 CANCELED\n");
}

#[test]
fn what_strangers_wrote_is_one_tame_line() {
    let evil = "a\u{1b}]0;x\u{7}\n#9 DONE\u{202e}";
    let tame = "a\\u001b]0;x\\u0007\\n#9 DONE\\u202e";
    let transferred =
        |done| Event::Transferred { activity: id(1), subject: evil.to_owned(), done, total: Some(1) };
    let text = shown(vec![
        (0, begun(1, evil)),
        (
            0,
            Event::Note {
                activity: id(1),
                note: Note::Blob { blob: evil.to_owned(), remark: "x".to_owned() },
            },
        ),
        (0, transferred(1)),
        (0, ended(1, Outcome::Failed(evil.into()), 0)),
        (0, found(evil, "x")),
    ]);
    let warning = format!("\n 1 warning found:\n - {tame}: x (line 4)\n");
    assert_eq!(text, format!("#1 {tame}\n#1 {tame}: x\n#1 {tame} 1B / 1B done\n#1 ERROR: {tame}\n{warning}"));
}
