//! The plan for programs. The format is described in `docs/compatibility.md`; members are only ever added.

use super::word;
use rbuild::{Input, MissReason, PlannedBuild, StagePreview, StepPreview};
use rbuild_docker_api::miss_word;
use serde_json::{Value, json};

/// The whole plan.
pub(crate) fn json(planned: &PlannedBuild) -> String {
    let stage = |(index, stage): (usize, &StagePreview)| {
        let steps: Vec<Value> = stage.steps.iter().map(|step| step_object(planned, step)).collect();
        json!({
            "name": stage.name,
            "line": stage.line,
            "platform": stage.platform.to_string(),
            "target": planned.targets.contains(&index),
            "base": input(planned, &stage.base),
            "steps": steps,
        })
    };
    let stages: Vec<Value> = planned.stages.iter().enumerate().map(stage).collect();
    let target = planned.targets.first().map(|first| &planned.stages[*first].name);
    format!("{:#}\n", json!({"version": 1, "target": target, "stages": stages}))
}

fn step_object(planned: &PlannedBuild, step: &StepPreview) -> Value {
    let sources: Vec<Value> = step.sources.iter().map(|source| input(planned, source)).collect();
    let mut object = json!({
        "id": step.id,
        "name": step.name,
        "line": step.line,
        "state": word(step.outlook),
        "after": step.after,
        "sources": sources,
    });
    if let Some(reason) = &step.reason {
        object["reason"] = miss_word(reason).into();
        if let MissReason::Changed(inputs) = reason {
            object["changed"] = inputs.iter().map(|changed| changed.input.as_str()).collect();
        }
    }
    object
}

fn input(planned: &PlannedBuild, input: &Input) -> Value {
    match input {
        Input::Scratch => json!({"kind": "scratch"}),
        Input::Image(name) => json!({"kind": "image", "name": name}),
        Input::Stage(index) => json!({"kind": "stage", "name": planned.stages[*index].name}),
        Input::Context => json!({"kind": "context"}),
        Input::NamedContext(name) => json!({"kind": "named-context", "name": name}),
    }
}
