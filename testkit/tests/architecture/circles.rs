//! Files of one crate that name each other in a circle: none of them can be read, tested or replaced without the rest.

use crate::{CRATES, references::Sources};
use std::collections::{BTreeMap, BTreeSet};

/// Circles that are still there: crate, and the files of the circle by module. The list may only shrink: a circle that
/// is gone, or has fewer files, has to be taken out here as well.
const ALLOWED: &[(&str, &[&str])] = &[(
    "planner",
    &[
        "instructions",
        "instructions::config",
        "instructions::copy",
        "instructions::device",
        "instructions::expose",
        "instructions::findings",
        "instructions::git",
        "instructions::mount",
        "instructions::run",
        "instructions::workdir",
        "lints",
        "lower",
        "sources",
        "stage_graph",
        "stage_lowering",
    ],
)];

#[test]
fn files_do_not_name_each_other_in_circles() {
    let mut faults = Vec::new();
    for (folder, ..) in CRATES {
        let allowed: BTreeSet<Vec<&str>> =
            ALLOWED.iter().filter(|(owner, _)| *owner == folder).map(|(_, files)| files.to_vec()).collect();
        let sources = Sources::of(folder);
        let found = circles(&sources.edges());
        let found: BTreeSet<Vec<&str>> =
            found.iter().map(|circle| circle.iter().map(String::as_str).collect()).collect();
        for circle in found.difference(&allowed) {
            faults.push(format!("a circle that is not allowed: (\"{folder}\", &{circle:?})"));
        }
        for circle in allowed.difference(&found) {
            faults.push(format!("a circle of {folder} that is gone or smaller, in {}: {circle:?}", file!()));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Groups of modules in which each reaches each, sorted. A module and its own parts may name each other.
fn circles(edges: &BTreeMap<String, BTreeSet<String>>) -> Vec<Vec<String>> {
    let reached: BTreeMap<&String, BTreeSet<&String>> =
        edges.keys().map(|from| (from, reachable(edges, from))).collect();
    let mut found: BTreeSet<Vec<String>> = BTreeSet::new();
    for (from, there) in &reached {
        if !there.contains(from) {
            continue;
        }
        let circle: Vec<String> = there
            .iter()
            .filter(|to| reached.get(**to).is_some_and(|back| back.contains(from)))
            .map(|to| (*to).clone())
            .collect();
        let is_one_module = circle.iter().any(|module| {
            let part = |other: &String| other == module || other.starts_with(&format!("{module}::"));
            circle.iter().all(part)
        });
        if !is_one_module {
            found.insert(circle);
        }
    }
    found.into_iter().collect()
}

fn reachable<'e>(edges: &'e BTreeMap<String, BTreeSet<String>>, from: &str) -> BTreeSet<&'e String> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&String> = edges.get(from).into_iter().flatten().collect();
    while let Some(next) = open.pop() {
        if reached.insert(next) {
            open.extend(edges.get(next).into_iter().flatten());
        }
    }
    reached
}

#[test]
fn circles_are_found() {
    let edges = |pairs: &[(&str, &str)]| {
        let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (from, to) in pairs {
            edges.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        }
        edges
    };
    assert_eq!(circles(&edges(&[("a", "b"), ("b", "c")])), Vec::<Vec<String>>::new());
    assert_eq!(circles(&edges(&[("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")])), [["a", "b", "c"]]);
    assert_eq!(circles(&edges(&[("a", "a::x"), ("a::x", "a")])), Vec::<Vec<String>>::new());
}
