//! How long files and functions are, what files are not called, and how many test programs a crate has.

use crate::{CRATES, root, rust_files};
use std::{fs, path::Path};

/// Lines of a file, at most.
const FILE_LINES: usize = 500;

/// Names of drawers: what is in them has no place of its own.
const BANNED: [&str; 6] = ["util", "common", "helpers", "misc", "types", "core"];

/// Crates with more than one test program, and why.
const SEVERAL_TESTS: [(&str, &str); 1] =
    [("executor/sys", "the tests of new processes need a program without the test harness's threads")];

#[test]
fn files_are_short() {
    for path in all_files() {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= FILE_LINES, "{} has {lines} lines, {FILE_LINES} at most", path.display());
    }
}

#[test]
fn functions_are_short() {
    let limits = fs::read_to_string(root().join("clippy.toml")).unwrap();
    assert!(limits.contains("too-many-lines-threshold = 60\n"), "functions have 60 lines at most");
    assert!(limits.contains("too-many-arguments-threshold = 5\n"), "functions have 5 parameters at most");
    let lints = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let in_fuzz = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
    for lint in ["too_many_lines", "too_many_arguments"] {
        let line = format!("\n{lint} = \"warn\"\n");
        assert!(lints.contains(&line) && in_fuzz.contains(&line), "clippy looks at {lint}");
        for path in all_files().filter(|path| !path.ends_with(file!())) {
            let text = fs::read_to_string(&path).unwrap();
            assert!(!text.contains(&format!("clippy::{lint}")), "{} lets {lint} pass", path.display());
        }
    }
    for (folder, ..) in CRATES {
        let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        assert!(
            manifest.contains("\n[lints]\nworkspace = true\n"),
            "{folder} has the lints of the workspace"
        );
    }
}

/// The result of a build depends on its inputs alone; the caller of the engine passes these as values.
#[test]
fn surroundings_are_read_at_the_edge() {
    let bans = fs::read_to_string(root().join("clippy.toml")).unwrap();
    let read = ["env::var", "env::var_os", "env::vars", "env::vars_os", "env::current_dir"];
    let read = read.into_iter().chain(["time::SystemTime::now", "time::SystemTime::elapsed"]);
    for call in read.map(|call| format!("\"std::{call}\"")).chain(["\"nix::time::clock_gettime\"".to_owned()])
    {
        assert!(bans.contains(&call), "clippy.toml forbids {call}");
    }
}

#[test]
fn there_are_no_drawers() {
    for path in all_files() {
        let below = path.strip_prefix(root()).unwrap().with_extension("");
        let drawer = below.iter().find(|part| BANNED.iter().any(|name| *part == *name));
        assert!(drawer.is_none(), "{} is a drawer: call it by what is in it", path.display());
    }
}

#[test]
fn a_crate_has_one_test_program() {
    for (folder, ..) in CRATES {
        let tests = root().join(folder).join("tests");
        let Ok(entries) = fs::read_dir(&tests) else { continue };
        let is_program = |path: &Path| {
            path.extension().is_some_and(|extension| extension == "rs") || path.join("main.rs").is_file()
        };
        let programs = entries.filter(|entry| is_program(&entry.as_ref().unwrap().path())).count();
        let excused = SEVERAL_TESTS.iter().any(|(crate_folder, _)| *crate_folder == folder);
        assert_eq!(
            programs > 1,
            excused,
            "{} has {programs} test programs: each is linked with the whole crate",
            tests.display()
        );
    }
}

/// Every Rust file of the repository, wherever it lies.
fn all_files() -> impl Iterator<Item = std::path::PathBuf> {
    let entries = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path());
    let folders = entries.filter(|path| !path.ends_with("target") && !path.ends_with(".git"));
    // the fuzz targets are built in a directory of their own
    folders
        .flat_map(|folder| rust_files(&folder))
        .filter(|path| !path.starts_with(root().join("fuzz/target")))
}
