//! The crates and their layers: a dependency goes down, never sideways or up; a library has one home.

use crate::{CRATES, root, rust_files};
use std::{collections::BTreeMap, fs};

/// Edges that go sideways on purpose, with the reason.
const EXCEPTIONS: [(&str, &str); 0] = [];

/// Libraries that only these crates may use.
const HOMES: [(&str, &str); 14] = [
    ("object_store", "rbuild-remote-cache"),
    ("pest", "rbuild-parser"),
    ("pest_derive", "rbuild-parser"),
    ("petgraph", "rbuild-planner"),
    ("bzip2", "rbuild-archive"),
    ("liblzma", "rbuild-archive"),
    ("sled", "rbuild-cache"),
    ("reqwest", "rbuild-registry"),
    ("toml", "rbuild-registry"),
    ("toml", "rbuild-cli"),
    ("reqwest", "rbuild-daemon"),
    ("clap", "rbuild-cli"),
    ("oci-spec", "rbuild-oci"),
    ("libc", "rbuild-sys"),
];

/// Packages in `Cargo.lock`, at most.
const PACKAGES: usize = 331;

#[test]
fn dependencies_point_down() {
    let layers: BTreeMap<&str, u8> = CRATES.iter().map(|(_, package, layer)| (*package, *layer)).collect();
    for (folder, package, layer) in CRATES {
        for dependency in dependencies(folder) {
            let Some(below) = layers.get(dependency.as_str()) else { continue };
            let excused = EXCEPTIONS.contains(&(package, dependency.as_str()));
            assert!(
                *below < layer || excused,
                "{package} (layer {layer}) depends on {dependency} (layer {below})"
            );
        }
    }
}

/// Whoever shows what the engine does needs the engine alone: it re-exports what its signatures name.
#[test]
fn front_ends_depend_on_the_facade() {
    const FRONT_ENDS: [&str; 3] = ["docker-api", "cli", "examples/embed"];
    const FACADE: [&str; 2] = ["rbuild", "rbuild-docker-api"];
    for folder in FRONT_ENDS {
        for dependency in dependencies(folder) {
            let is_ours = CRATES.iter().any(|(_, package, _)| *package == dependency);
            assert!(!is_ours || FACADE.contains(&dependency.as_str()), "{folder} depends on {dependency}");
        }
    }
}

/// Docker's shapes are functions of values: they can serve a terminal and a socket alike.
#[test]
fn shapes_touch_nothing() {
    for path in rust_files(&root().join("docker-api/src")) {
        let text = fs::read_to_string(&path).unwrap();
        for module in ["std::io", "std::fs", "std::env", "std::time", "std::process", "std::net"] {
            assert!(!text.contains(module), "{} uses {module}", path.display());
        }
    }
}

#[test]
fn every_crate_has_a_layer() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let members = manifest.split_once("members = [").unwrap().1.split_once(']').unwrap().0;
    for member in
        members.split(',').map(|member| member.trim().trim_matches('"')).filter(|member| !member.is_empty())
    {
        assert!(CRATES.iter().any(|(folder, ..)| *folder == member), "{member} has no layer in {}", file!());
    }
}

#[test]
fn libraries_stay_at_home() {
    for (folder, package, _) in CRATES {
        for dependency in dependencies(folder) {
            let homes: Vec<&str> =
                HOMES.iter().filter(|(library, _)| *library == dependency).map(|(_, home)| *home).collect();
            assert!(homes.is_empty() || homes.contains(&package), "{dependency} belongs into {homes:?}");
        }
    }
}

#[test]
fn the_lock_file_stays_small() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let packages = lock.matches("[[package]]").count();
    assert!(packages <= PACKAGES, "{packages} packages in Cargo.lock, {PACKAGES} at most");
}

#[test]
fn unsafe_lives_in_sys() {
    for (folder, package, _) in CRATES {
        let lib = root().join(folder).join("src/lib.rs");
        let Ok(text) = fs::read_to_string(&lib) else { continue };
        assert!(package == "rbuild-sys" || text.contains("#![forbid(unsafe_code)]"), "{}", lib.display());
    }
}

/// Names in the `[dependencies]` section of a crate.
fn dependencies(folder: &str) -> Vec<String> {
    let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
    let section = manifest.split_once("[dependencies]").map_or("", |(_, rest)| rest);
    let section = section.split_once("\n[").map_or(section, |(section, _)| section);
    let name = |line: &str| line.split(['.', '=', ' ']).next().unwrap_or_default().to_owned();
    section.lines().filter(|line| !line.starts_with('#')).map(name).filter(|name| !name.is_empty()).collect()
}
