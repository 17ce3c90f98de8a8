//! What a plan looks like, in every format.

use super::*;
use rbuild::{MissReason, Platform, StagePreview, StepPreview};

fn stage(name: &str, base: Input, line: usize, steps: Vec<StepPreview>) -> StagePreview {
    StagePreview { name: name.to_owned(), base, platform: Platform::host(), line, steps }
}

fn step(id: usize, name: &str, outlook: Outlook, after: &[usize], sources: &[Input]) -> StepPreview {
    StepPreview {
        id,
        name: name.to_owned(),
        line: id + 2,
        outlook,
        reason: match outlook {
            Outlook::Cached | Outlook::Unused => None,
            Outlook::Run if sources.contains(&Input::Context) => Some(MissReason::New),
            Outlook::Run | Outlook::Maybe => Some(MissReason::Input),
        },
        after: after.to_vec(),
        sources: sources.to_vec(),
    }
}

fn six_stages() -> PlannedBuild {
    use {Input as I, Outlook as O};
    let golang = || I::Image("golang:1.22".to_owned());
    let quotes = "RUN echo \"<done> & `dusted` #1\" \\\n  && true";
    let long = "RUN apk add --no-cache build-base ca-certificates curl git openssl pkgconf tar xz zlib-dev";
    PlannedBuild {
        stages: vec![
            stage("base", golang(), 1, vec![step(0, "WORKDIR /src", O::Cached, &[], &[])]),
            stage(
                "deps",
                I::Stage(0),
                4,
                vec![
                    step(1, "COPY go.mod go.sum ./", O::Cached, &[0], &[I::Context]),
                    step(2, "RUN go mod download", O::Cached, &[1], &[]),
                ],
            ),
            stage("tools", golang(), 8, vec![step(3, long, O::Unused, &[], &[])]),
            stage(
                "build",
                I::Stage(1),
                10,
                vec![
                    step(4, "COPY . .", O::Run, &[2], &[I::Context]),
                    step(5, "RUN --mount=from=tools,target=/t make", O::Run, &[3, 4], &[I::Stage(2)]),
                ],
            ),
            stage("empty", I::Image("alpine".to_owned()), 14, vec![]),
            stage(
                "stage-5",
                I::Scratch,
                16,
                vec![
                    step(6, "COPY --from=build /src/app /app", O::Maybe, &[5], &[I::Stage(3)]),
                    step(
                        7,
                        "COPY --from=docs /a /b",
                        O::Run,
                        &[6],
                        &[I::NamedContext("docs".to_owned()), I::Image("alpine".to_owned())],
                    ),
                    step(8, quotes, O::Maybe, &[7], &[]),
                ],
            ),
        ],
        targets: vec![5],
    }
}

#[test]
fn text_has_a_block_a_stage() {
    insta::assert_snapshot!("plan-text", text(&six_stages()));
}

#[test]
fn json_is_stable() {
    insta::assert_snapshot!("plan-json", json(&six_stages()));
}

#[test]
fn graphs_have_a_cluster_a_stage() {
    insta::assert_snapshot!("plan-dot", dot(&six_stages()));
    insta::assert_snapshot!("plan-mermaid", mermaid(&six_stages()));
}

#[test]
fn a_plan_without_steps_says_so() {
    let planned = PlannedBuild {
        stages: vec![stage("stage-0", Input::Image("busybox".to_owned()), 1, vec![])],
        targets: vec![0],
    };
    assert_eq!(text(&planned), "stage-0 (target) ← busybox\n\nno steps\n");
}
