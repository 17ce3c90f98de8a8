//! Plans for several platforms and targets as one.

use crate::resolve::resolved;
use rbuild_oci::{Digest, ImageConfig, ImageId, Platform};
use rbuild_planner::{ImageRequest, Plan, PlanOptions, ResolvedImage, lower};

/// The plan of `text` for each platform and target, joined.
fn joined(text: &str, targets: &[(&str, &str)]) -> Plan {
    let dockerfile = rbuild_parser::parse(text.as_bytes()).unwrap();
    let image = |request: &ImageRequest| {
        let config = ImageConfig::scratch(&request.platform);
        let id = ImageId::from_digest(Digest::of(request.platform.to_string().as_bytes()));
        ResolvedImage { id, config, layers: 1 }
    };
    let plan = |(platform, target): &(&str, &str)| {
        let mut options = PlanOptions::new("linux/amd64".parse().unwrap());
        options.platform = Some(platform.parse().unwrap());
        options.target = Some((*target).to_owned());
        lower(resolved(&dockerfile, &options, &image).unwrap()).unwrap()
    };
    let mut plans = targets.iter().map(plan);
    plans.next().unwrap().join(plans.collect())
}

/// Names of the steps with the platform of their stage.
fn steps(plan: &Plan) -> Vec<String> {
    let step = |step: &rbuild_planner::Step| format!("{} {}", plan.stages[step.stage.0].platform, step.name);
    plan.steps.iter().map(step).collect()
}

#[test]
fn what_two_platforms_have_in_common_is_done_once() {
    let plan = joined(
        "FROM --platform=$BUILDPLATFORM tools AS build\nRUN fetch\nARG TARGETARCH\nRUN make $TARGETARCH\n\
         FROM base\nCOPY --from=build /out /out\nRUN test\nFROM scratch AS files\nCOPY a /\nFROM files\nCOPY --from=1 /x /\n",
        &[("linux/amd64", ""), ("linux/arm64", "")],
    );
    assert_eq!(
        steps(&plan),
        [
            "linux/amd64 RUN fetch",
            "linux/amd64 RUN make amd64",
            "linux/amd64 COPY --from=build /out /out",
            "linux/amd64 RUN test",
            "linux/amd64 COPY a /",
            "linux/amd64 COPY --from=1 /x /",
            "linux/amd64 RUN make arm64",
            "linux/arm64 COPY --from=build /out /out",
            "linux/arm64 RUN test",
            "linux/arm64 COPY --from=1 /x /",
        ]
    );
    for step in &plan.steps {
        assert!(plan.dependencies(step.id).all(|needed| needed < step.id), "{}", step.name);
        assert!(plan.dependencies(step.id).all(|needed| plan.dependents(needed).any(|id| id == step.id)));
    }
    let platforms = plan.targets.iter().map(|target| target.image.config.platform().to_string());
    assert_eq!(platforms.collect::<Vec<_>>(), ["linux/amd64", "linux/arm64"]);
    assert_eq!(plan.images.len(), 3, "tools for this machine, base for each platform");
}

#[test]
fn commands_of_two_platforms_are_never_one() {
    // the same base for both: an image without a platform of its own
    let plan = joined("FROM scratch\nCOPY a /\nRUN b\n", &[("linux/amd64", ""), ("linux/arm64", "")]);
    assert_eq!(steps(&plan), ["linux/amd64 COPY a /", "linux/amd64 RUN b", "linux/arm64 RUN b"]);
}

#[test]
fn several_targets_share_their_stages() {
    let plan = joined(
        "FROM base AS one\nRUN a\nFROM one AS two\nRUN b\nFROM base AS other\nRUN c\n",
        &[("linux/amd64", "two"), ("linux/amd64", "one"), ("linux/amd64", "other")],
    );
    assert_eq!(steps(&plan), ["linux/amd64 RUN a", "linux/amd64 RUN b", "linux/amd64 RUN c"]);
    let names = plan.targets.iter().map(|target| plan.stages[target.stage.0].display_name.as_str());
    assert_eq!(names.collect::<Vec<_>>(), ["two", "one", "other"]);
    assert_eq!(plan.stages.len(), 3);
    let platform: Platform = "linux/amd64".parse().unwrap();
    assert!(plan.stages.iter().all(|stage| stage.platform == platform));
}
