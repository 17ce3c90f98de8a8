//! Records of builds: what comes back, what a kill leaves, and how many are kept.

use crate::fixture::{child, parent, store};
use rbuild_cache::{
    BuildBudget, BuildEnd, BuildId, BuildOutcome, BuildState, BuildSubject, CacheKey, ChangedInput,
    EvictedBy, FileAspect, KeyBuilder, MissReason, RecordedFinding, RecordedStep, StepOutcome, Store,
    StoreError,
};
use rbuild_oci::{Digest, FailureClass, ImageId, Timestamp};
use rbuild_testkit::now;
use std::{
    fs,
    io::{BufRead, BufReader, Read},
    time::{Duration, UNIX_EPOCH},
};

const LARGE: BuildBudget = BuildBudget { records: 1000, bytes: u64::MAX };

fn at(second: u64) -> Timestamp {
    (UNIX_EPOCH + Duration::from_secs(second)).into()
}

fn subject(name: &str) -> BuildSubject {
    BuildSubject { context: Some(".".to_owned()), names: vec![name.to_owned()], ..BuildSubject::default() }
}

fn end(outcome: BuildOutcome) -> BuildEnd {
    let (steps, findings, warnings) = Default::default();
    BuildEnd { ended: at(9), outcome, steps, findings, warnings }
}

fn done() -> BuildEnd {
    end(BuildOutcome::Done { image: None })
}

fn step(number: u32, miss: Option<MissReason>, outcome: StepOutcome) -> RecordedStep {
    let stage = "build".to_owned();
    let instruction = format!("RUN {number}");
    RecordedStep {
        number,
        stage,
        instruction,
        line: number + 1,
        after: (0..number).collect(),
        key: None,
        miss,
        outcome,
        layer: None,
        began_ms: None,
        took_ms: None,
        peak_memory: None,
        processor_ms: None,
    }
}

fn log(store: &Store, id: &BuildId, step: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    store.build_log(id, step).unwrap().unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

fn states(store: &Store) -> Vec<(String, BuildState)> {
    store.builds().unwrap().into_iter().map(|build| (build.subject.names.join(","), build.state)).collect()
}

#[test]
fn what_is_recorded_comes_back() {
    let (_directory, store) = store();
    assert_eq!(store.builds().unwrap(), []);
    let changed = ChangedInput {
        input: "env A".to_owned(),
        before: None,
        now: Some("1".to_owned()),
        aspects: vec![FileAspect::Further { count: 1 }],
    };
    let misses = [
        MissReason::New,
        MissReason::Changed(vec![changed]),
        MissReason::OtherBase,
        MissReason::Input,
        MissReason::Evicted { at: at(1), by: Some(EvictedBy::Prune) },
        MissReason::Lost,
        MissReason::OtherMachine,
        MissReason::Unavailable { from: "r.example/cache:1".to_owned() },
        MissReason::NoCache,
    ];
    let failed = StepOutcome::Failed { causes: vec!["exit code: 1".to_owned()] };
    let outcomes =
        [StepOutcome::Done, StepOutcome::Cached, failed, StepOutcome::Canceled, StepOutcome::NotRun];
    let steps: Vec<RecordedStep> = (0..9)
        .map(|number| {
            let position = number as usize;
            step(number, Some(misses[position].clone()), outcomes[position % outcomes.len()].clone())
        })
        .collect();
    let ends = [
        BuildOutcome::Done { image: Some(ImageId::from_digest(Digest::of(b"image"))) },
        BuildOutcome::Failed {
            causes: vec!["step".to_owned(), "exited".to_owned()],
            class: FailureClass::Input,
        },
        BuildOutcome::Failed { causes: vec!["no space".to_owned()], class: FailureClass::Environment },
        BuildOutcome::Canceled,
    ]
    .map(|outcome| BuildEnd {
        steps: steps.clone(),
        findings: vec![RecordedFinding {
            rule: "UndefinedVar".to_owned(),
            line: 3,
            message: "m".to_owned(),
            url: None,
        }],
        warnings: vec!["a warning".to_owned()],
        ..end(outcome)
    });
    for (second, recorded) in ends.iter().enumerate() {
        let begun = at(100 + second as u64);
        let open = store.begin_build(subject(&second.to_string()), begun).unwrap();
        let id = open.id().clone();
        open.finish(recorded.clone(), &LARGE).unwrap();
        let read = store.build(&id).unwrap().unwrap();
        assert_eq!((&read.id, read.begun, &read.subject), (&id, begun, &subject(&second.to_string())));
        assert_eq!(read.state, BuildState::Ended(Box::new(recorded.clone())));
    }
    let names: Vec<String> = states(&store).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["3", "2", "1", "0"], "newest first");
}

#[test]
fn the_files_are_as_documented() {
    let (_directory, store) = store();
    let open = store.begin_build(subject("x"), at(1)).unwrap();
    let id = open.id().clone();
    let key = CacheKey::definition(None, &KeyBuilder::new("run").finish_step());
    let layer = "0123456789abcdef".parse().unwrap();
    let step = RecordedStep {
        key: Some(key),
        layer: Some(layer),
        began_ms: Some(2),
        took_ms: Some(3),
        peak_memory: Some(4096),
        processor_ms: Some(5),
        ..step(1, Some(MissReason::NoCache), StepOutcome::Done)
    };
    open.log(1).append(b"text").unwrap();
    let failed = BuildOutcome::Failed { causes: vec!["m".to_owned()], class: FailureClass::Internal };
    open.finish(BuildEnd { steps: vec![step], ..end(failed) }, &LARGE).unwrap();
    let begun =
        format!(r#"{{"id":"{id}","begun":"1970-01-01T00:00:01Z","subject":{{"context":".","names":["x"]}}"#);
    let ended = format!(
        r#""end":{{"ended":"1970-01-01T00:00:09Z","outcome":{{"failed":{{"causes":["m"],"class":"internal"}}}},"steps":[{{"number":1,"stage":"build","instruction":"RUN 1","line":2,"after":[0],"key":"{key}","miss":"no_cache","outcome":"done","layer":"0123456789abcdef","began_ms":2,"took_ms":3,"peak_memory":4096,"processor_ms":5}}]}}"#
    );
    let builds = store.root().join("builds");
    assert_eq!(
        fs::read_to_string(builds.join("0.jsonl")).unwrap(),
        format!("\n{begun}}}\n\n{begun},{ended}}}\n")
    );
    assert!(builds.join(format!("logs/{id}/1.log.zst")).is_file());
}

#[test]
fn a_build_is_found_by_the_beginning_of_its_id() {
    let (_directory, store) = store();
    let ids: Vec<BuildId> = (0..20)
        .map(|second| {
            let open = store.begin_build(subject("x"), at(second)).unwrap();
            let id = open.id().clone();
            open.finish(done(), &LARGE).unwrap();
            id
        })
        .collect();
    for id in &ids {
        assert_eq!(store.find_build(id.as_str()).unwrap().as_ref(), Some(id));
        assert_eq!(store.find_build(id.short()).unwrap().as_ref(), Some(id));
    }
    for nothing in ["", "x", "ABC", &"0".repeat(64), &format!("{}0", ids[0])] {
        assert_eq!(store.find_build(nothing).unwrap(), None, "{nothing}");
    }
    // of twenty ids, two begin with the same of sixteen digits
    let ambiguous = (0..16).find_map(|digit| store.find_build(&format!("{digit:x}")).err());
    let Some(StoreError::AmbiguousBuild { prefix, first, second }) = ambiguous else {
        panic!("{ambiguous:?}");
    };
    assert!(first != second && [&first, &second].iter().all(|id| id.as_str().starts_with(&prefix)));
}

#[test]
fn logs_are_whole_whatever_is_in_them() {
    let (_directory, store) = store();
    let open = store.begin_build(subject("x"), at(1)).unwrap();
    let id = open.id().clone();
    let pieces: [&[u8]; 5] = [b"", b"a line\n", &[0, 255, 10, 13], &vec![b'y'; 3_000_000], b"no newline"];
    let mut one = open.log(1);
    for piece in pieces {
        one.append(piece).unwrap();
        let written = log_or_nothing(&store, &id, 1);
        assert!(written.ends_with(piece), "what is written can be read at once");
    }
    one.finish().unwrap();
    // the rest of a step's output, in a second go
    let mut again = open.log(1);
    again.append(b", and more").unwrap();
    drop(again);
    drop(open.log(2));
    open.finish(done(), &LARGE).unwrap();
    assert_eq!(store.build_logs(&id).unwrap(), [1], "a step that wrote nothing has no log");
    assert_eq!(log(&store, &id, 1), [pieces.concat().as_slice(), b", and more"].concat());
    assert!(store.build_log(&id, 2).unwrap().is_none());
    let bytes = fs::metadata(store.root().join(format!("builds/logs/{id}/1.log.zst"))).unwrap().len();
    assert!(bytes < 30_000, "{bytes} bytes for three million equal ones");
}

fn log_or_nothing(store: &Store, id: &BuildId, step: u32) -> Vec<u8> {
    if store.build_logs(id).unwrap().contains(&step) { log(store, id, step) } else { Vec::new() }
}

#[test]
#[ignore = "a part of the test below, run in a child process"]
fn child_that_builds() {
    let (store, _) = parent();
    let open = store.begin_build(subject("killed"), at(5)).unwrap();
    let mut log = open.log(3);
    (0..1000).for_each(|line| log.append(format!("line {line}\n").as_bytes()).unwrap());
    println!("\nwritten");
    std::thread::park();
}

#[test]
fn a_killed_build_is_unfinished_and_its_log_goes_as_far_as_it_came() {
    let (_directory, store) = store();
    store.begin_build(subject("dropped"), at(4)).unwrap();
    let mut child = child("builds::child_that_builds", store.root(), "");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "written"));
    let expected = |state| [("killed".to_owned(), state), ("dropped".to_owned(), BuildState::Unfinished)];
    assert_eq!(states(&store), expected(BuildState::Running));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(states(&store), expected(BuildState::Unfinished));
    let id = store.builds().unwrap().remove(0).id;
    let whole: String = (0..1000).map(|line| format!("line {line}\n")).collect();
    assert_eq!(String::from_utf8(log(&store, &id, 3)).unwrap(), whole);
}

#[test]
#[ignore = "a part of the test below, run in a child process"]
fn child_that_builds_again_and_again() {
    let (store, _) = parent();
    for number in 0.. {
        let open = store.begin_build(large_subject("x"), now().into()).unwrap();
        let mut log = open.log(number % 3);
        log.append(b"begin ").unwrap();
        log.append(b"end").unwrap();
        log.finish().unwrap();
        open.finish(done(), &BuildBudget { records: 5, bytes: 1 << 20 }).unwrap();
    }
}

#[test]
fn builds_killed_at_any_moment_leave_a_list_that_can_be_read() {
    /// Those asked for, and the lines of two files of 128 KiB, each line with 5,000 bytes of text.
    const MOST: usize = 5 + 2 * (128 << 10) / 5000;
    let (_directory, store) = store();
    for round in 0..12 {
        let mut child = child("builds::child_that_builds_again_and_again", store.root(), "");
        let deadline = now() + Duration::from_millis(40 + round * 7);
        while now() < deadline {
            store.builds().unwrap();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let builds = store.builds().unwrap();
        assert!(builds.len() <= MOST, "{} builds", builds.len());
        for build in builds {
            let logs = store.build_logs(&build.id).unwrap();
            match build.state {
                BuildState::Ended(_) => {
                    assert!(logs.iter().all(|step| log(&store, &build.id, *step) == b"begin end"));
                }
                BuildState::Unfinished => assert!(logs.len() <= 1),
                BuildState::Running => panic!("{build:?}"),
            }
        }
    }
    let logs = fs::read_dir(store.root().join("builds/logs")).unwrap().count();
    assert!(logs <= MOST, "logs go with their builds: {logs}");
}

/// So large that few of them fill a file.
fn large_subject(name: &str) -> BuildSubject {
    BuildSubject { dockerfile: Some("x".repeat(5000)), ..subject(name) }
}

#[test]
fn a_damaged_line_spoils_no_other_one() {
    let (_directory, store) = store();
    for (second, name) in ["first", "second", "third"].into_iter().enumerate() {
        store.begin_build(subject(name), at(second as u64)).unwrap().finish(done(), &LARGE).unwrap();
    }
    let whole = store.builds().unwrap();
    let path = store.root().join("builds/0.jsonl");
    let bytes = fs::read(&path).unwrap();
    let ends: Vec<usize> =
        (0..bytes.len()).filter(|at| bytes[*at] == b'}' && bytes[*at + 1] == b'\n').collect();
    assert_eq!(ends.len(), 6, "two lines a build");
    for length in 0..bytes.len() {
        fs::write(&path, &bytes[..length]).unwrap();
        let expected = ends.iter().filter(|end| **end < length).count().div_ceil(2);
        let names: Vec<String> = states(&store).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["third", "second", "first"][3 - expected..], "{length}");
        // what is appended to a line that was cut off is read
        store.begin_build(subject("later"), at(9)).unwrap();
        assert_eq!(states(&store)[0], ("later".to_owned(), BuildState::Unfinished), "{length}");
    }
    let mut spoiled = bytes.clone();
    spoiled[ends[1] - 5] = 0;
    spoiled[ends[3] - 5] = 255;
    fs::write(&path, spoiled).unwrap();
    fs::write(store.root().join("builds/unknown"), "").unwrap();
    let unfinished = |name: &str| (name.to_owned(), BuildState::Unfinished);
    assert_eq!(states(&store)[1..], [unfinished("second"), unfinished("first")]);
    assert_eq!(store.builds().unwrap()[0], whole[0]);
}

#[test]
fn a_damaged_log_ends_early() {
    let (_directory, store) = store();
    let open = store.begin_build(subject("x"), at(1)).unwrap();
    open.log(0).append(b"text").unwrap();
    let path = store.root().join(format!("builds/logs/{}/0.log.zst", open.id()));
    let compressed = fs::read(&path).unwrap();
    for length in 0..compressed.len() {
        fs::write(&path, &compressed[..length]).unwrap();
        assert!(b"text".starts_with(&log(&store, open.id(), 0)), "{length}");
    }
}

#[test]
fn the_oldest_lines_go_first() {
    // a file takes about twelve builds of this size
    for (records, kilobytes, expected) in [
        (1000, 1_000_000, 100..=100),
        (30, 1_000_000, 30..=56),
        (1, 1_000_000, 1..=15),
        (1000, 300, 20..=50),
        (0, 0, 1..=15),
    ] {
        let (_directory, store) = store();
        let budget = BuildBudget { records, bytes: kilobytes * 1000 };
        for second in 0..100 {
            let open = store.begin_build(large_subject(&second.to_string()), at(second)).unwrap();
            open.finish(done(), &budget).unwrap();
        }
        let names: Vec<String> = states(&store).into_iter().map(|(name, _)| name).collect();
        assert!(expected.contains(&names.len()), "{} of {records} records, {kilobytes} kB", names.len());
        let newest: Vec<String> = (0..100).rev().take(names.len()).map(|second| second.to_string()).collect();
        assert_eq!(names, newest, "{records} records, {kilobytes} kB");
    }
}

#[test]
fn the_oldest_logs_go_first() {
    // kilobytes of the budget, kilobytes of each log, and how many of ten are left
    for (kilobytes, of_each, expected) in
        [(u64::MAX, 200, 10), (1000, 200, 4), (100, 200, 1), (0, 200, 1), (0, 1, 10)]
    {
        let (_directory, store) = store();
        let budget = BuildBudget { records: 1000, bytes: kilobytes.saturating_mul(1000) };
        let running = store.begin_build(subject("running"), at(0)).unwrap();
        running.log(0).append(&noise(200_000)).unwrap();
        let ids: Vec<BuildId> = (1..=10)
            .map(|second| {
                let open = store.begin_build(subject(&second.to_string()), at(second)).unwrap();
                let id = open.id().clone();
                open.log(0).append(&noise(of_each * 1000)).unwrap();
                open.finish(done(), &budget).unwrap();
                id
            })
            .collect();
        let logged: Vec<bool> =
            ids.iter().rev().map(|id| store.build_log(id, 0).unwrap().is_some()).collect();
        let newest: Vec<bool> = (0..10).map(|age| age < expected).collect();
        assert_eq!(logged, newest, "{kilobytes} kB, logs of {of_each} kB");
        assert_eq!(store.builds().unwrap().len(), 11, "their lines stay");
        assert!(store.build_log(running.id(), 0).unwrap().is_some(), "one that runs keeps its log");
    }
}

/// Bytes that cannot be compressed.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}
