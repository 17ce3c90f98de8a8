//! Docker's shapes of images, containers and Dockerfiles, against files: `testdata/docker-api`. `UPDATE_EXPECT=1` writes what comes
//! out; a changed file is then to be compared with what docker prints.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod answers;
mod containers;
mod filters;
mod images;

use rbuild::Timestamp;
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The moment of all listings.
fn now() -> Timestamp {
    "2026-11-22T10:48:38Z".parse().unwrap()
}

/// A place below `testdata/docker-api`.
fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("testdata/docker-api").join(path)
}

/// The folders in `path`, sorted.
fn cases(path: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(data(path)).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    assert!(!found.is_empty());
    found
}

fn read(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Compares `value` with the file, by bytes: the order of fields counts.
fn check(value: impl serde::Serialize, path: &Path) {
    let text = format!("{:#}\n", json!(value));
    #[expect(
        clippy::disallowed_methods,
        reason = "a test is asked by its environment to write what it expects"
    )]
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(path, &text).unwrap();
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    assert_eq!(text, expected, "{}", path.display());
}
