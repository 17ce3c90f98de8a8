//! Every folder under `testdata/planner` is a case: a Dockerfile, options if it needs any, and the plan or the error it
//! gives. `UPDATE_EXPECT=1` writes what comes out; a changed file is then to be read against the reference.

use crate::{dump, options, resolve};
use rbuild_planner::{Plan, PlanError, lower_beside};
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_case_gives_the_expected_plan() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/planner");
    let update = wants_update();
    let mut failed = Vec::new();
    let cases = cases(&root);
    assert!(cases.len() >= 400, "only {} cases found in {}", cases.len(), root.display());
    for case in cases {
        let actual = run(&case);
        let expected_path = case.join("expected.txt");
        let expected = fs::read_to_string(&expected_path).unwrap_or_default();
        if actual == expected {
            continue;
        }
        if update {
            fs::write(&expected_path, actual).unwrap();
        } else {
            println!("--- {}\n{}", case.display(), difference(&expected, &actual));
            failed.push(case);
        }
    }
    assert!(failed.is_empty(), "{} cases differ; UPDATE_EXPECT=1 takes the new output", failed.len());
}

/// Whatever the parser accepts is planned or refused with a message.
#[test]
fn every_file_the_parser_knows_gives_a_plan_or_an_error() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/parser");
    let mut planned = 0;
    for case in cases(&root) {
        let Ok(text) = fs::read(case.join("Dockerfile")) else { continue };
        let Ok(dockerfile) = rbuild_parser::parse(&text) else { continue };
        match plan(&dockerfile, &options::Options::read(&case.join("none"))) {
            Ok(plan) => assert!(!dump::plan(&plan).is_empty()),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        planned += 1;
    }
    println!("{planned} files of {} were planned", root.display());
}

#[expect(
    clippy::disallowed_methods,
    reason = "the switch that rewrites expectations is an environment variable"
)]
fn wants_update() -> bool {
    std::env::var_os("UPDATE_EXPECT").is_some()
}

fn cases(root: &Path) -> Vec<PathBuf> {
    let entries = |path: &Path| {
        let mut found: Vec<PathBuf> =
            fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        found.retain(|path| path.is_dir());
        found.sort();
        found
    };
    entries(root).iter().flat_map(|area| entries(area)).collect()
}

fn run(case: &Path) -> String {
    let text = fs::read(case.join("Dockerfile")).unwrap();
    let options = options::Options::read(&case.join("options.json"));
    let dockerfile = match rbuild_parser::parse(&text) {
        Ok(dockerfile) => dockerfile,
        Err(error) => return format!("parse error: {error}\n"),
    };
    match plan(&dockerfile, &options) {
        Ok(plan) => dump::plan(&plan),
        Err(error) => dump::error(&error),
    }
}

pub(crate) fn plan(
    dockerfile: &rbuild_parser::Dockerfile,
    options: &options::Options,
) -> Result<Plan, PlanError> {
    let resolved = resolve::resolved(dockerfile, &options.plan, &|request| options.image(request))?;
    lower_beside(resolved, &|path| options.ignored.iter().any(|left_out| left_out == path))
}

fn difference(expected: &str, actual: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), actual.lines().collect());
    let mut out = String::new();
    for line in &old {
        if !new.contains(line) {
            out.push_str(&format!("- {line}\n"));
        }
    }
    for line in &new {
        if !old.contains(line) {
            out.push_str(&format!("+ {line}\n"));
        }
    }
    out
}
