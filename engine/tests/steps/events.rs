//! What a caller hears of a build, and what is left of it in the record.

use super::world::World;
use crate::{
    Activity, BuildOutcome, BuildState, ChangedInput, Event, MissReason, Outcome, RecordedStep, StepOutcome,
};

/// An event in a few words.
fn words(event: &Event) -> String {
    match event {
        Event::Begun { activity, what } => {
            let what = match what {
                Activity::LoadDefinition { file } => format!("load {file}"),
                Activity::LoadMetadata { image, .. } => format!("metadata {image}"),
                Activity::Step(step) => {
                    format!("step {} {} {}", step.number, step.position, step.instruction)
                }
                Activity::Export => "export".to_owned(),
                Activity::RepeatStep(_)
                | Activity::AskStore { .. }
                | Activity::FetchSource { .. }
                | Activity::FetchLayers { .. }
                | Activity::ImportCache { .. }
                | Activity::ExportCache { .. }
                | Activity::Load
                | Activity::Pull { .. }
                | Activity::Push { .. }
                | Activity::ExportImage { .. }
                | Activity::ExportTar
                | Activity::ExportDirectory
                | Activity::ImportMount { .. }
                | Activity::LoadIntoDaemon { .. } => format!("{what:?}"),
            };
            format!("{} begins: {what}", activity.0)
        }
        Event::Missed { activity, reason } => format!("{} missed: {reason:?}", activity.0),
        Event::Ended { activity, outcome, .. } => match outcome {
            Outcome::Failed(causes) => format!("{} failed: {causes}", activity.0),
            Outcome::Done | Outcome::Cached | Outcome::Canceled => format!("{} {outcome:?}", activity.0),
        },
        Event::Found(finding) => format!("found {} in line {}", finding.rule, finding.lines.0),
        Event::Warning(warning) => format!("warning: {warning}"),
        Event::Recorded(build) => format!("recorded {} steps", build.steps().len()),
        Event::Output { .. } | Event::Transferred { .. } | Event::Note { .. } => format!("{event:?}"),
    }
}

fn world() -> World {
    let world = World::new("FROM scratch as x\nCOPY f0 /\nWORKDIR /a\n");
    world.write("f0", "0");
    world
}

#[test]
fn events_are_complete_and_in_order() {
    if !rbuild_testkit::has_root() {
        return;
    }
    let world = world();
    let begun = ["1 begins: load Dockerfile", "1 Done", "found FromAsCasing in line 1"];
    let (built, events) = world.run_reporting();
    built.unwrap();
    assert_eq!(
        events.iter().map(words).collect::<Vec<_>>(),
        [
            &begun[..],
            &[
                "2 begins: step 1 [1/2] COPY f0 /",
                "2 missed: New",
                "2 Done",
                "3 begins: step 2 [2/2] WORKDIR /a",
                "3 missed: New",
                "3 Done",
                "4 begins: export",
                "4 Done",
                "recorded 2 steps",
            ]
        ]
        .concat()
    );
    let (built, events) = world.run_reporting();
    built.unwrap();
    assert_eq!(
        events.iter().map(words).collect::<Vec<_>>(),
        [
            &begun[..],
            &[
                "2 begins: step 1 [1/2] COPY f0 /",
                "2 Cached",
                "3 begins: step 2 [2/2] WORKDIR /a",
                "3 Cached",
                "4 begins: export",
                "4 Done",
                "recorded 2 steps",
            ]
        ]
        .concat()
    );
}

#[test]
fn the_record_has_the_plan_with_keys_reasons_and_layers() {
    if !rbuild_testkit::has_root() {
        return;
    }
    let world = world();
    let image = world.run().image();
    world.write("f0", "other");
    world.run();
    let (newest, first) = (world.record("^0"), world.record("^1"));
    assert_eq!(first.subject.dockerfile.as_deref(), Some("Dockerfile"));
    assert_eq!(
        first.subject.context.as_deref(),
        world.path("").to_str().map(|path| path.trim_end_matches('/'))
    );
    let BuildState::Ended(end) = &first.state else { panic!("{first:?}") };
    assert_eq!(end.outcome, BuildOutcome::Done { image });
    assert_eq!(
        end.findings.iter().map(|finding| (&*finding.rule, finding.line)).collect::<Vec<_>>(),
        [("FromAsCasing", 1)]
    );
    let plan: Vec<_> = end.steps.iter().map(|step| (step.number, &*step.instruction, step.line)).collect();
    assert_eq!(plan, [(1, "COPY f0 /", 2), (2, "WORKDIR /a", 3)]);
    assert_eq!(end.steps[1].after, [1]);
    let BuildState::Ended(end) = &newest.state else { panic!("{newest:?}") };
    for step in &end.steps {
        let RecordedStep { key, layer, began_ms, took_ms, outcome, .. } = step;
        assert!(key.is_some() && layer.is_some() && began_ms.is_some() && took_ms.is_some(), "{step:?}");
        assert_eq!(*outcome, StepOutcome::Done);
    }
    let Some(MissReason::Changed(inputs)) = &end.steps[0].miss else { panic!("{end:?}") };
    assert!(
        matches!(&inputs[..], [ChangedInput { input, before: Some(_), now: Some(_), .. }] if input == "/f0"),
        "{inputs:?}"
    );
    assert_eq!(end.steps[1].miss, Some(MissReason::OtherBase));
}

#[test]
fn a_build_that_fails_before_its_plan_has_a_record() {
    let world = World::new("FROM scratch\nCOPPY f0 /\n");
    let (failed, events) = world.run_reporting();
    assert!(failed.is_err());
    assert_eq!(
        events.iter().map(words).collect::<Vec<_>>(),
        ["1 begins: load Dockerfile", "1 Done", "recorded 0 steps"]
    );
    let BuildState::Ended(end) = world.record("^0").state else { panic!("no end") };
    let BuildOutcome::Failed { causes, class } = end.outcome else { panic!("{end:?}") };
    assert_eq!((causes, class), (vec![failed.unwrap_err().to_string()], crate::FailureClass::Input));
    assert!(end.steps.is_empty());
}
