//! `--filter`: what it lets through, and what is wrong with wrong ones.

use crate::{
    data,
    images::{image, summary},
    now, read,
};
use rbuild::{Container, Digest, ImageId, Timestamp};
use rbuild_docker_api::{ContainerFilter, FilterError, ImageFilter, ImageFilters};
use std::collections::BTreeSet;

#[test]
fn images_are_filtered_by_docker_s_words() {
    let full = summary(&image(&read(&data("images/full/image.json"))));
    let bare = summary(&image(&read(&data("images/bare/image.json"))));
    let moment = |text: &str| Some(text.parse::<Timestamp>().unwrap());
    for (filter, admits_full, admits_bare) in [
        ("dangling=true", false, true),
        ("dangling=0", true, false),
        ("label=a", true, false),
        ("label=a=1 & 2", true, false),
        ("label=a=2", false, false),
        ("label=b", false, false),
        ("reference=deb*", true, false),
        ("reference=*/*", false, false),
        ("reference=*/team/*:1", true, false),
        // an image without a moment is older than all
        ("before=later", true, true),
        ("since=earlier", true, false),
        ("since=later", false, false),
        ("until=2027-01-01", true, true),
        ("until=2020-01-01T00:00:00Z", false, true),
    ] {
        let filter = ImageFilter::parse(filter, now()).unwrap();
        let created = |name: &str| match name {
            "later" => Ok(moment("2027-01-01T00:00:00Z")),
            "earlier" => Ok(moment("2020-01-01T00:00:00Z")),
            other => Err(other.to_owned()),
        };
        let filter = ImageFilters::from_iter([filter.resolve(created).unwrap()]);
        assert_eq!((filter.admits(&full), filter.admits(&bare)), (admits_full, admits_bare), "{filter:?}");
    }
    let unknown = ImageFilter::parse("before=nothing", now())
        .unwrap()
        .resolve(|name| Err::<Option<Timestamp>, _>(name.to_owned()));
    assert_eq!(unknown, Err("nothing".to_owned()));
}

/// As with docker: who names two repositories wants both, who names two labels wants images that have both.
#[test]
fn of_several_patterns_one_is_enough_and_of_labels_all_count() {
    let full = summary(&image(&read(&data("images/full/image.json"))));
    let admits = |filters: &[&str]| {
        let parsed = filters.iter().map(|text| ImageFilter::parse(text, now()).unwrap());
        let filters: ImageFilters = parsed.map(|filter| filter.resolve(|_| Err(())).unwrap()).collect();
        filters.admits(&full)
    };
    assert!(admits(&["reference=nothing", "reference=deb*"]));
    assert!(!admits(&["reference=nothing", "reference=none"]));
    assert!(!admits(&["reference=deb*", "label=none"]));
    assert!(!admits(&["label=a", "label=none"]));
    assert!(admits(&[]));
}

#[test]
fn containers_are_filtered_by_docker_s_words() {
    let container = |case: &str| -> Container {
        serde_json::from_value(read(&data(&format!("containers/{case}/container.json")))).unwrap()
    };
    let (running, exited) = (container("running"), container("exited"));
    for (filter, admits_running, admits_exited) in [
        ("name=/calm", true, true),
        ("name=x", false, false),
        ("id=0123", true, true),
        ("id=123", false, false),
        ("status=running", true, false),
        ("status=exited", false, true),
        ("exited=-1", false, false),
        ("ancestor=image", true, true),
        // the containers have this name, which leads elsewhere now
        ("ancestor=debian:12", false, false),
        ("label=role=db", true, false),
        ("label=x", true, false),
    ] {
        let images = |name: &str| {
            let id =
                if name == "image" { running.image_id } else { ImageId::from_digest(Digest::of(b"another")) };
            Ok::<_, ()>(BTreeSet::from([id]))
        };
        let filter = ContainerFilter::parse(filter).unwrap().resolve(images).unwrap();
        let found = (filter.admits(&running, &[]), filter.admits(&exited, &[]));
        assert_eq!(found, (admits_running, admits_exited), "{filter:?}");
    }
    for (filters, admits_running, admits_exited) in [
        (&["ancestor=another", "ancestor=image"][..], true, true),
        (&["name=x", "name=calm"], true, true),
        (&["status=paused", "status=exited"], false, true),
        (&["status=running", "status=exited", "name=x"], false, false),
        (&["label=x", "label=role=db"], true, false),
        (&["label=role=db", "label=role=web"], false, false),
    ] {
        let images = |name: &str| {
            let is_meant = name == "image";
            Ok::<_, ()>(is_meant.then_some(running.image_id).into_iter().collect::<BTreeSet<_>>())
        };
        let resolved = |text: &&str| ContainerFilter::parse(text).unwrap().resolve(images).unwrap();
        let filters: Vec<_> = filters.iter().map(resolved).collect();
        let admits = |container| ContainerFilter::all_admit(&filters, container, &[]);
        assert_eq!((admits(&running), admits(&exited)), (admits_running, admits_exited), "{filters:?}");
    }
}

#[test]
fn wrong_filters_are_named() {
    let image = |text: &str| ImageFilter::parse(text, now()).unwrap_err();
    assert_eq!(image("x=1"), FilterError::Invalid("x".to_owned()));
    assert_eq!(image("dangling=maybe").to_string(), "invalid filter 'dangling=[maybe]'");
    assert_eq!(image("until=x").to_string(), "failed to parse value as time or duration: \"x\"");
    assert_eq!(
        image("dangling").to_string(),
        "invalid argument \"dangling\" for \"-f, --filter\" flag: invalid filter 'dangling'"
    );
    let container = |text: &str| ContainerFilter::parse(text).unwrap_err().to_string();
    assert_eq!(
        container("status=gone"),
        "invalid filter 'status=gone': it is created, running, paused, exited, restarting, removing, dead"
    );
    assert_eq!(container("exited=no"), "invalid filter 'exited=no'");
    assert_eq!(container("is-task=true"), "invalid filter 'is-task'");
    assert_eq!(container("publish=x"), "invalid filter 'x'");
    assert!(container("name").ends_with("invalid filter 'name'"));
}
