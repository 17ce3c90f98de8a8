//! The functions that a fully cached build spends its time in: parsing, planning, keys, the index.

use criterion::{Criterion, criterion_group, criterion_main};
use rbuild_cache::{
    BuildBudget, BuildEnd, BuildOutcome, BuildSubject, CacheKey, KeyBuilder, RecordedStep, StepOutcome,
    Store, Writer,
};
use rbuild_oci::Clock;
use rbuild_oci::{ImageConfig, Platform};
use rbuild_planner::{Plan, PlanOptions, ResolvedImage};
use rbuild_testkit::now;
use std::hint::black_box;

/// 200 lines, 10 stages, with a bit of everything the language has.
const DENSE: &str = include_str!("dense.Dockerfile");

/// 10 stages, 20 lines each.
fn dockerfile() -> String {
    let mut text = String::new();
    for stage in 0..10 {
        text += &format!(
            "FROM debian:12 AS s{stage}\nARG VERSION=1.{stage}\nENV A=$VERSION B=${{A:-x}} C=\"quoted $VERSION\"\nWORKDIR /src/${{A}}\n"
        );
        for step in 0..6 {
            text += &format!(
                "COPY --chown=1000:1000 dir{step}/*.txt ./dir{step}/\nRUN make target{step} \\\n    && make install\n"
            );
        }
        text += "LABEL a=b\n";
        if stage > 0 {
            text += &format!("COPY --from=s{} /out /in\n", stage - 1);
        }
    }
    text
}

fn plan(text: &str) -> Plan {
    let dockerfile = rbuild_parser::parse(text.as_bytes()).expect("it parses");
    let options = PlanOptions::new(Platform::host());
    let graph = rbuild_planner::select(dockerfile, &options).expect("it selects");
    let config = ImageConfig::scratch(&Platform::host());
    let image = ResolvedImage { id: config.id(), config, layers: 1 };
    let answers = graph.unresolved().into_iter().map(|wanted| (wanted, image.clone())).collect();
    let graph = graph.resolve(answers).expect("it resolves").finish();
    let graph = graph.unwrap_or_else(|_| unreachable!("every image was answered"));
    rbuild_planner::lower(graph).expect("it lowers")
}

fn language(c: &mut Criterion) {
    let text = dockerfile();
    c.bench_function("parse 200 lines", |b| {
        b.iter(|| rbuild_parser::parse(black_box(text.as_bytes())).is_ok());
    });
    c.bench_function("parse and plan 200 lines, 10 stages", |b| {
        b.iter(|| plan(black_box(&text)).steps.len());
    });
    c.bench_function("parse 200 dense lines", |b| {
        b.iter(|| rbuild_parser::parse(black_box(DENSE.as_bytes())).is_ok());
    });
    c.bench_function("parse and plan 200 dense lines, 10 stages", |b| {
        b.iter(|| plan(black_box(DENSE)).steps.len());
    });
}

fn keys(c: &mut Criterion) {
    let env: Vec<String> = (0..30).map(|n| format!("VARIABLE_{n}=value {n}")).collect();
    c.bench_function("key of a RUN", |b| {
        b.iter(|| {
            let step = KeyBuilder::new("run")
                .list("argv", ["/bin/sh", "-c", "make"])
                .list("env", &env)
                .finish_step();
            CacheKey::definition(None, &step)
        });
    });
}

fn index(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path(), &Writer::Root, Clock::new(now)).expect("a store");
    let key = CacheKey::definition(None, &KeyBuilder::new("x").finish_step());
    c.bench_function("open the index, look one key up, close", |b| {
        b.iter(|| store.index(|index| Ok(index.record(&key).is_some())).expect("a transaction"));
    });
    c.bench_function("open a store", |b| {
        b.iter(|| Store::open(folder.path(), &Writer::Root, Clock::new(now)).expect("a store"));
    });
}

/// What the record of a fully cached build of 20 steps costs it, in a store that has as many records as it keeps.
fn build_record(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path(), &Writer::Root, Clock::new(now)).expect("a store");
    let key = CacheKey::definition(None, &KeyBuilder::new("x").finish_step());
    let step = |number: u32| RecordedStep {
        number,
        stage: "stage-0".to_owned(),
        instruction: format!("RUN make target{number} && make install"),
        line: number,
        after: (number > 0).then(|| number - 1).into_iter().collect(),
        key: Some(key),
        miss: None,
        outcome: StepOutcome::Cached,
        layer: None,
        began_ms: Some(1),
        took_ms: Some(0),
        peak_memory: None,
        processor_ms: None,
    };
    let record = || {
        let now = || rbuild_testkit::now().into();
        let open = store.begin_build(BuildSubject::default(), now()).expect("a record");
        let outcome = BuildOutcome::Done { image: None };
        let end = BuildEnd {
            ended: now(),
            outcome,
            steps: (0..20).map(step).collect(),
            findings: Vec::new(),
            warnings: Vec::new(),
        };
        open.finish(end, &BuildBudget::default()).expect("a record");
    };
    (0..BuildBudget::default().records).for_each(|_| record());
    c.bench_function("record a fully cached build", |b| b.iter(record));
}

criterion_group!(benches, language, keys, index, build_record);
criterion_main!(benches);
