//! Containers: `inspect` and `ps`.

use crate::{cases, check, now, read};
use rbuild::Container;
use rbuild_docker_api::{ContainerInspect, ContainerRow, Detail};
use serde_json::json;

#[test]
fn containers_have_docker_s_shape() {
    for case in cases("containers") {
        let container: Container = serde_json::from_value(read(&case.join("container.json"))).unwrap();
        let shape = ContainerInspect::from(&container);
        check(shape.printed(), &case.join("inspect.json"));
        assert!(
            shape.complete()["Config"].as_object().unwrap().contains_key("Healthcheck"),
            "templates see all fields"
        );
    }
}

#[test]
fn a_line_of_ps_has_docker_s_fields() {
    for case in cases("containers") {
        let container: Container = serde_json::from_value(read(&case.join("container.json"))).unwrap();
        let row = |detail| ContainerRow::new(&container, detail, now());
        check(json!({"short": row(Detail::Short), "full": row(Detail::Full)}), &case.join("rows.json"));
    }
}
