//! Containers: `inspect` and `ps`.

use crate::{cases, check, now, read};
use rbuild::{
    BoundPort, Container, ContainerFiles, ContainerHealth, ContainerSizes, Empty, HealthResult, HealthStatus,
    PortProtocol, ProgramNetwork, VolumeName,
};
use rbuild_docker_api::{ContainerInspect, ContainerRow, Detail};
use serde_json::json;
use std::{collections::BTreeSet, net::Ipv4Addr};

fn mountpoint(name: &VolumeName) -> String {
    format!("/store/volumes/{name}/_data")
}

fn files() -> ContainerFiles {
    ContainerFiles {
        log: Some("/store/c/log".into()),
        lower: vec!["/store/c/init".into(), "/store/layers/a/fs".into()],
        changes: "/store/c/fs".into(),
        work: "/store/c/work".into(),
    }
}

#[test]
fn containers_have_docker_s_shape() {
    for case in cases("containers") {
        let container: Container = serde_json::from_value(read(&case.join("container.json"))).unwrap();
        let shape = ContainerInspect::new((&container, &files()), None, &mountpoint);
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
    let sized = ContainerInspect::new(
        (&container, &files()),
        Some(ContainerSizes { written: 0, all: 12 }),
        &mountpoint,
    )
    .printed();
    assert_eq!((&sized["SizeRw"], &sized["SizeRootFs"]), (&json!(0), &json!(12)));
    let unsized_one = ContainerInspect::new((&container, &files()), None, &mountpoint);
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
    assert_eq!(
        ContainerInspect::new((&container, &files()), None, &mountpoint).printed()["State"].get("Health"),
        None
    );
    let result = HealthResult { start: now(), end: now(), exit_code: -1, output: "why".to_owned() };
    for (status, word, shown) in [
        (HealthStatus::Starting, "starting", " (health: starting)"),
        (HealthStatus::Healthy, "healthy", " (healthy)"),
        (HealthStatus::Unhealthy, "unhealthy", " (unhealthy)"),
    ] {
        container.health = Some(ContainerHealth { status, failing_streak: 4, log: vec![result.clone()] });
        let health =
            &ContainerInspect::new((&container, &files()), None, &mountpoint).printed()["State"]["Health"];
        let log = json!([{"Start": now(), "End": now(), "ExitCode": -1, "Output": "why"}]);
        assert_eq!(*health, json!({"Status": word, "FailingStreak": 4, "Log": log}));
        let status = ContainerRow::new(&container, Detail::Short, now()).status;
        assert!(status.ends_with(shown), "{status}");
        container.paused = true;
        assert!(ContainerRow::new(&container, Detail::Short, now()).status.ends_with(" (Paused)"));
        container.paused = false;
    }
}

#[test]
fn ports_of_neighbours_are_a_range() {
    let case = cases("containers").pop().unwrap();
    let mut container: Container = serde_json::from_value(read(&case.join("container.json"))).unwrap();
    let port = |container, host, address| BoundPort { container, protocol: PortProtocol::Tcp, address, host };
    let local = Some(Ipv4Addr::LOCALHOST.into());
    let ports = vec![port(90, 8000, None), port(91, 8001, None), port(93, 8002, None), port(90, 9000, local)];
    container.network = Some(Box::new(ProgramNetwork { ports, ..ProgramNetwork::default() }));
    container.config.exposed_ports =
        [("90/tcp".to_owned(), Empty {}), ("53/udp".to_owned(), Empty {})].into_iter().collect();
    let shown = ContainerRow::new(&container, Detail::Short, now()).ports;
    let expected = "0.0.0.0:8000-8001->90-91/tcp, 127.0.0.1:9000->90/tcp, [::]:8000-8001->90-91/tcp, \
        0.0.0.0:8002->93/tcp, [::]:8002->93/tcp, 53/udp";
    assert_eq!(shown.split(", ").collect::<BTreeSet<_>>(), expected.split(", ").collect::<BTreeSet<_>>());
    assert!(shown.starts_with("53/udp, 0.0.0.0:8000-8001->90-91/tcp"), "{shown}");
    let inspected = ContainerInspect::new((&container, &files()), None, &mountpoint).printed();
    assert_eq!(inspected["NetworkSettings"]["Ports"]["53/udp"], json!(null));
    assert_eq!(inspected["NetworkSettings"]["Ports"]["93/tcp"][1]["HostIp"], "::");
}
