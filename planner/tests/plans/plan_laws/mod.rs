//! Laws that hold for the plan of every file. Property tests and the fuzz target call the same function, which panics
//! when a law is broken.

use rbuild_oci::{DiffId, Digest, ImageConfig, ImageId, Timestamp};
use rbuild_parser::{Lines, excerpt, parse};
use rbuild_planner::{ImageRequest, Plan, PlanError, PlanOptions, ResolvedImage, Selection, lower};
use serde_json::json;

use crate::dump;
use crate::resolve::resolved;

/// Checks the laws of plans on a text, be it a Dockerfile or not; its base images have `triggers`.
pub(crate) fn check(text: &[u8], triggers: &[&str]) {
    let Ok(dockerfile) = parse(text) else { return };
    let planned = |selection| {
        let mut options = PlanOptions::new("linux/amd64".parse().expect("a platform"));
        options.selection = selection;
        options.build_args = [("A", "b"), ("HTTP_PROXY", "p")].map(|(k, v)| (k.into(), v.into())).into();
        options.labels = vec![("l".to_owned(), "m".to_owned())];
        let plan = || lower(resolved(&dockerfile, &options, &|request| image(request, triggers))?);
        let (result, again) = (plan(), plan());
        assert_eq!(described(&result), described(&again), "a plan depends on its inputs only");
        match &result {
            Ok(plan) => steps_are_in_order(plan),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        findings_have_a_place(text, &result);
        result
    };
    let [target, everything] = [Selection::Target, Selection::Everything].map(planned);
    if let Ok(everything) = everything {
        let target = target.expect("what can be planned whole can be planned in part");
        let made =
            |_| (DiffId::from_digest(Digest::of(b"layer")), Timestamp::from_seconds(0).expect("a time"));
        let [one, other] =
            [&target, &everything].map(|plan| plan.target().image.finished_config(&made, None));
        assert_eq!(one, other);
    }
}

fn described(result: &Result<Plan, PlanError>) -> String {
    match result {
        Ok(plan) => dump::plan(plan),
        Err(error) => dump::error(error),
    }
}

fn steps_are_in_order(plan: &Plan) {
    for (index, step) in plan.steps.iter().enumerate() {
        assert_eq!(step.id.0, index);
        assert!(plan.dependencies(step.id).all(|needed| needed.0 < index));
        assert!(!step.name.contains('\n') && !step.position.is_empty());
    }
    let mut steps: Vec<usize> = plan.stages.iter().flat_map(|stage| &stage.steps).map(|id| id.0).collect();
    steps.sort_unstable();
    assert!(steps.into_iter().eq(0..plan.steps.len()), "every step is one of one stage");
}

fn findings_have_a_place(text: &[u8], result: &Result<Plan, PlanError>) {
    let (lints, lines) = match result {
        Ok(plan) => (&plan.lints, None),
        Err(error) => (&error.lints, error.lines),
    };
    let text = String::from_utf8_lossy(text);
    for Lines { first, last } in lints.iter().map(|lint| lint.lines).chain(lines) {
        assert!(1 <= first && first <= last && last <= text.split('\n').count(), "{first}-{last}");
        assert!(excerpt(&text, "Dockerfile", Lines { first, last }).contains(" | >>> "));
    }
}

/// Ordinary images, and some with a config that no builder of today writes.
fn image(request: &ImageRequest, triggers: &[&str]) -> ResolvedImage {
    let name = request.reference.familiar();
    let config = match name.len() % 3 {
        0 => json!({"Env": ["PATH=/bin"], "Cmd": ["sh"]}),
        1 => json!({"Env": ["PATH=/bin", "E=f"], "WorkingDir": "/w", "User": "u", "OnBuild": triggers}),
        _ => json!({
            "Env": ["", "=", "A", "$B=${C", "PATH=/a", "PATH=/b"], "WorkingDir": "a/../../b", "User": ":",
            "ExposedPorts": {"": {}, "x/y": {}}, "Volumes": {"": {}}, "Labels": {"": ""}, "Shell": [],
            "Entrypoint": [], "Cmd": [""], "StopSignal": "?", "Healthcheck": {"Test": []}, "OnBuild": triggers,
        }),
    };
    let layer = Digest::of(name.as_bytes());
    let json = json!({
        "architecture": "amd64", "os": "linux", "created": "2024-01-01T00:00:00Z", "config": config,
        "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "base"}, {"empty_layer": true}],
        "rootfs": {"type": "layers", "diff_ids": [layer.to_string()]},
    });
    let config = ImageConfig::from_json(json.to_string().as_bytes()).expect("a correct config");
    ResolvedImage { id: ImageId::from_digest(layer), config, layers: 1 }
}
