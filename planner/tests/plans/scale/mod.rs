//! Large files are planned in linear time: these would not end soon otherwise.

use crate::cases::plan;
use crate::options::Options;
use rbuild_oci::{DiffId, Digest, Timestamp};
use rbuild_planner::Plan;
use std::fmt::Write as _;
use std::path::Path;

const STAGES: usize = 10_000;

fn plan_text(text: &str) -> Plan {
    let dockerfile = rbuild_parser::parse(text.as_bytes()).unwrap();
    let options = Options::read(Path::new("none"));
    let start = std::time::Instant::now();
    let plan = plan(&dockerfile, &options).unwrap();
    println!("planned {} lines in {:?}", text.lines().count(), start.elapsed());
    plan
}

#[test]
fn a_long_chain_of_stages() {
    let mut text = "FROM alpine AS s0\nRUN true\n".to_owned();
    for i in 1..STAGES {
        writeln!(text, "FROM s{} AS s{i}\nRUN true", i - 1).unwrap();
    }
    let plan = plan_text(&text);
    assert_eq!((plan.stages.len(), plan.steps.len()), (STAGES, STAGES));
    let made = |_| (DiffId::from_digest(Digest::of(b"")), Timestamp::from_seconds(0).unwrap());
    assert_eq!(plan.target().image.finished_config(&made, None).history.len(), 1 + STAGES);
}

#[test]
fn a_long_chain_of_copies() {
    let mut text = "FROM scratch AS s0\nCOPY a /\n".to_owned();
    for i in 1..STAGES {
        writeln!(text, "FROM scratch AS s{i}\nCOPY --from=s{} / /", i - 1).unwrap();
    }
    let plan = plan_text(&text);
    assert_eq!((plan.stages.len(), plan.steps.len()), (STAGES, STAGES));
}

#[test]
fn one_stage_that_copies_from_all() {
    let mut text = String::new();
    for i in 0..STAGES {
        writeln!(text, "FROM scratch AS s{i}\nCOPY a /").unwrap();
    }
    text.push_str("FROM scratch\n");
    for i in 0..STAGES {
        writeln!(text, "COPY --from=s{i} / /{i}").unwrap();
    }
    let plan = plan_text(&text);
    assert_eq!(plan.steps.len(), 2 * STAGES);
}

#[test]
fn an_everyday_file() {
    let mut text = "ARG V=1\nFROM alpine AS base\nENV A=b C=d\nWORKDIR /app\n".to_owned();
    for i in 0..9 {
        writeln!(text, "FROM base AS s{i}\nARG V\nENV X{i}=${{A}}/x").unwrap();
        for j in 0..18 {
            writeln!(text, "RUN --mount=type=cache,target=/c make $V target-{j} && echo \"$X{i}\"").unwrap();
        }
    }
    text.push_str("FROM base\nCOPY --from=s8 /a /b\n");
    let plan = plan_text(&text);
    assert_eq!(plan.stages.len(), 3);
}
