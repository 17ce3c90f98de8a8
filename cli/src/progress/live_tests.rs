//! What live progress looks like, on a terminal made of a grid of characters.

use super::*;
use rbuild::{Activity, Note, RegistryNotice, StepName, Warning};

fn step(name: &str) -> Activity {
    let (position, instruction) = (String::new(), name.to_owned());
    Activity::Step(StepName { number: 1, position, instruction })
}

/// As much of a terminal as the drawing uses.
struct Screen {
    lines: Vec<String>,
    size: Size,
    live: Live,
}

impl Screen {
    fn new(columns: usize, rows: usize) -> Self {
        Self { lines: Vec::new(), size: Size { columns, rows }, live: Live::new(Color::Off) }
    }

    fn show(&mut self, bytes: &[u8]) {
        let mut text = std::str::from_utf8(bytes).unwrap();
        if let Some(rest) = text.strip_prefix("\u{1b}[") {
            let (rows, rest) = rest.split_once('A').unwrap();
            let keep = self.lines.len() - rows.parse::<usize>().unwrap();
            self.lines.truncate(keep);
            text = rest.strip_prefix("\r\u{1b}[J").unwrap();
        }
        assert!(!text.contains('\u{1b}'), "{text:?}");
        for line in text.lines() {
            assert!(columns(line) < self.size.columns, "{line:?} is too long");
            self.lines.push(line.to_owned());
        }
    }

    fn draw(&mut self, millis: u64) {
        let mut out = Shown::default();
        self.live.draw(Duration::from_millis(millis), self.size, &mut out);
        self.show(out.as_bytes());
    }

    fn finish(&mut self, millis: u64) {
        let mut out = Shown::default();
        self.live.finish(Duration::from_millis(millis), self.size, &mut out);
        self.show(out.as_bytes());
    }

    fn begin(&mut self, id: u32, name: &str, millis: u64) {
        let event = Event::Begun { activity: ActivityId(id), what: step(name) };
        self.live.event(event, Duration::from_millis(millis));
    }

    fn end(&mut self, id: u32, outcome: Outcome, millis: u64) {
        let event =
            Event::Ended { activity: ActivityId(id), outcome, elapsed: Duration::from_millis(millis) };
        self.live.event(event, Duration::from_millis(millis));
    }

    fn output(&mut self, id: u32, text: &str) {
        let event = Event::Output { activity: ActivityId(id), bytes: text.into(), elapsed: Duration::ZERO };
        self.live.event(event, Duration::ZERO);
    }
}

#[test]
fn running_steps_are_redrawn_and_finished_ones_stay() {
    let mut screen = Screen::new(40, 24);
    screen.begin(1, "[1/2] FROM busybox", 0);
    screen.end(1, Outcome::Done, 100);
    screen.begin(2, "[2/2] RUN make -j everything && make install", 100);
    screen.output(2, "one\ntwo\r\n\x1b[1mthree\x1b[0m\nhalf");
    screen.draw(1200);
    assert_eq!(
        screen.lines,
        [
            " => [1/2] FROM busybox             0.1s",
            "[+] Building 1.2s (1/2)",
            " => [2/2] RUN make -j everything … 1.1s",
            " => => # one",
            " => => # two",
            " => => # three",
        ]
    );
    screen.output(2, " line\n4\n5\n6\n7\n");
    screen.draw(1300);
    assert_eq!(
        screen.lines[3..],
        [" => => # three", " => => # half line", " => => # 4", " => => # 5", " => => # 6", " => => # 7"]
    );
    screen.end(2, Outcome::Done, 2000);
    screen.finish(2000);
    assert_eq!(
        screen.lines,
        [
            " => [1/2] FROM busybox             0.1s",
            " => [2/2] RUN make -j everything … 2.0s",
            "[+] Building 2.0s (2/2) FINISHED",
        ]
    );
}

#[test]
fn many_cached_steps_are_one_line() {
    let mut screen = Screen::new(40, 24);
    for id in 1..=12 {
        screen.begin(id, &format!("[{id}/13] RUN x"), 0);
        screen.end(id, Outcome::Cached, 0);
    }
    screen.begin(13, "[13/13] RUN false", 0);
    screen.end(13, Outcome::Failed("exit code: 1".into()), 300);
    screen.finish(300);
    assert_eq!(
        screen.lines,
        [
            " => CACHED 12 steps                0.0s",
            " => ERROR [13/13] RUN false        0.3s",
            "[+] Building 0.3s (13/13)",
        ]
    );
}

#[test]
fn a_narrow_and_low_terminal_is_not_overrun() {
    let mut screen = Screen::new(20, 4);
    for id in 1..=9 {
        screen.begin(id, "[stage 1/2] RUN something long", 0);
    }
    screen.draw(100);
    assert_eq!(screen.lines, ["[+] Building 0.1s …", " => [stage 1/… 0.1s", " => [stage 1/… 0.1s"]);
}

#[test]
fn lines_folded_by_a_narrower_window_are_counted_as_folded() {
    let mut live = Live::new(Color::Off);
    live.event(Event::Begun { activity: ActivityId(1), what: step("x") }, Duration::ZERO);
    let mut out = Shown::default();
    live.draw(Duration::ZERO, Size { columns: 80, rows: 24 }, &mut out);
    out = Shown::default();
    live.draw(Duration::from_millis(200), Size { columns: 30, rows: 24 }, &mut out);
    // the header of 23 columns is one row, the step of 79 is three
    assert!(out.as_bytes().starts_with(b"\x1b[4A\r\x1b[J"), "{out:?}");
}

#[test]
fn transfers_have_bars_and_colours_can_be_had() {
    let mut live = Live::new(Color::On);
    live.event(Event::Begun { activity: ActivityId(1), what: step("pull") }, Duration::ZERO);
    let event = Event::Transferred {
        activity: ActivityId(1),
        subject: "sha256:abc".to_owned(),
        done: 5_000_000,
        total: Some(10_000_000),
    };
    live.event(event, Duration::ZERO);
    let mut out = Shown::default();
    live.draw(Duration::ZERO, Size { columns: 80, rows: 24 }, &mut out);
    let text = String::from_utf8(out.as_bytes().to_vec()).unwrap();
    assert!(
        text.contains("\u{1b}[2m => => sha256:abc [==========>         ] 5MB / 10MB\u{1b}[0m\n"),
        "{text}"
    );
}

#[test]
fn what_strangers_wrote_is_tame_and_measured_as_it_is_shown() {
    let mut screen = Screen::new(60, 24);
    screen.begin(1, "a\u{1b}]0;x\u{7}\nb\u{202e}", 0);
    screen.output(1, "\u{1b}[31mred\u{1b}[0m\u{1b}[2J\u{9b}2J\n");
    screen.live.event(
        Event::Note {
            activity: ActivityId(1),
            note: Note::Blob { blob: "n\u{1b}[8m\n".to_owned(), remark: "x".to_owned() },
        },
        Duration::ZERO,
    );
    screen.live.event(Event::Warning(Warning::FinishedLost("w\u{1b}c\nx".into())), Duration::ZERO);
    screen.draw(100);
    assert_eq!(
        screen.lines[1..],
        [
            " => a\\u001b]0;x\\u0007\\nb\\u202e (n\\u001b[8m\\n: x)       0.1s",
            " => => # red\\u001b[2J\\u009b2J"
        ]
    );
    screen.finish(200);
    assert_eq!(screen.lines.last().unwrap(), " - finished steps could not be kept: w\\u001bc\\nx");
}

#[test]
fn a_wait_for_a_registry_stays_as_a_line_and_is_no_warning_of_the_end() {
    let mut screen = Screen::new(60, 10);
    screen.begin(1, "pushing r.example/app", 0);
    let reason = "r.example answered 503".to_owned();
    let wait = Event::Warning(Warning::Registry(RegistryNotice::Waiting { reason, seconds: 4 }));
    screen.live.event(wait, Duration::from_millis(10));
    screen.draw(100);
    let said = " => WARN: r.example answered 503: trying again in 4 s";
    assert_eq!(screen.lines[0], said);
    screen.end(1, Outcome::Failed("r.example answered 503".into()), 4000);
    screen.finish(4000);
    let lines = screen.lines.join("\n");
    assert!(lines.starts_with(said) && !lines.contains("found"), "{lines}");
}

#[test]
fn of_much_output_the_last_lines_are_shown() {
    let mut screen = Screen::new(40, 20);
    screen.begin(1, "a", 0);
    screen.output(1, "begun ");
    let many: String = (0..1000).map(|number| format!("{number}\n")).collect();
    screen.output(1, &(many + "rest"));
    screen.draw(100);
    let shown: Vec<String> = (994..1000).map(|number| format!(" => => # {number}")).collect();
    assert_eq!(screen.lines[2..], shown);
    screen.output(1, " of it\n");
    screen.draw(300);
    assert_eq!(screen.lines.last().unwrap(), " => => # rest of it");
}
