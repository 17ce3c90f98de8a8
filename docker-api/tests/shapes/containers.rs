//! Containers: `inspect` and `ps`.

use crate::{cases, check, now, read};
use rbuild::{Container, ContainerHealth, ContainerSizes, HealthResult, HealthStatus, VolumeName};
use rbuild_docker_api::{ContainerInspect, ContainerRow, Detail};
use serde_json::json;

fn mountpoint(name: &VolumeName) -> String {
    format!("/store/volumes/{name}/_data")
}

#[test]
fn containers_have_docker_s_shape() {
    for case in cases("containers") {
        let container: Container = serde_json::from_value(read(&case.join("container.json"))).unwrap();
        let shape = ContainerInspect::new(&container, None, &mountpoint);
        check(shape.printed(), &case.join("inspect.json"));
        assert!(
            shape.complete()["Config"].as_object().unwrap().contains_key("Healthcheck"),
            "templates see all fields"
        );
    }
}

#[test]
fn sizes_are_there_when_they_were_asked_for() {
    let case = cases("containers").pop().unwrap();
    let container: Container = serde_json::from_value(read(&case.join("container.json"))).unwrap();
    let sized = ContainerInspect::new(&container, Some(ContainerSizes { written: 0, all: 12 }), &mountpoint)
        .printed();
    assert_eq!((&sized["SizeRw"], &sized["SizeRootFs"]), (&json!(0), &json!(12)));
    let unsized_one = ContainerInspect::new(&container, None, &mountpoint);
    assert!(unsized_one.printed().get("SizeRw").is_none() && unsized_one.complete()["SizeRw"].is_null());
}

#[test]
fn a_line_of_ps_has_docker_s_fields() {
    for case in cases("containers") {
        let container: Container = serde_json::from_value(read(&case.join("container.json"))).unwrap();
        let row = |detail| ContainerRow::new(&container, detail, now());
        check(json!({"short": row(Detail::Short), "full": row(Detail::Full)}), &case.join("rows.json"));
    }
}

#[test]
fn a_health_has_docker_s_words_and_shape() {
    let running = cases("containers").into_iter().find(|case| case.ends_with("running")).unwrap();
    let mut container: Container = serde_json::from_value(read(&running.join("container.json"))).unwrap();
    assert_eq!(ContainerInspect::new(&container, None, &mountpoint).printed()["State"].get("Health"), None);
    let result = HealthResult { start: now(), end: now(), exit_code: -1, output: "why".to_owned() };
    for (status, word, shown) in [
        (HealthStatus::Starting, "starting", " (health: starting)"),
        (HealthStatus::Healthy, "healthy", " (healthy)"),
        (HealthStatus::Unhealthy, "unhealthy", " (unhealthy)"),
    ] {
        container.health = Some(ContainerHealth { status, failing_streak: 4, log: vec![result.clone()] });
        let health = &ContainerInspect::new(&container, None, &mountpoint).printed()["State"]["Health"];
        let log = json!([{"Start": now(), "End": now(), "ExitCode": -1, "Output": "why"}]);
        assert_eq!(*health, json!({"Status": word, "FailingStreak": 4, "Log": log}));
        let status = ContainerRow::new(&container, Detail::Short, now()).status;
        assert!(status.ends_with(shown), "{status}");
        container.paused = true;
        assert!(ContainerRow::new(&container, Detail::Short, now()).status.ends_with(" (Paused)"));
        container.paused = false;
    }
}
