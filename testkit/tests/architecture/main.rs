//! The rules of the house that a compiler does not check: which crate may use which, which file may use which, how long
//! a file is, and what nothing is called.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod circles;
mod crates;
mod errors;
mod files;
mod references;
mod tests;

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Every crate: folder, package, layer.
const CRATES: [(&str, &str, u8); 17] = [
    ("oci", "rbuild-oci", 0),
    ("parser", "rbuild-parser", 0),
    ("executor/sys", "rbuild-sys", 0),
    ("planner", "rbuild-planner", 1),
    ("archive", "rbuild-archive", 1),
    ("cache", "rbuild-cache", 1),
    ("registry", "rbuild-registry", 1),
    ("daemon", "rbuild-daemon", 1),
    ("image", "rbuild-image", 2),
    ("cache/remote", "rbuild-remote-cache", 3),
    ("executor", "rbuild-executor", 3),
    ("engine", "rbuild", 4),
    ("docker-api", "rbuild-docker-api", 5),
    ("cli", "rbuild-cli", 6),
    ("examples/embed", "rbuild-embed-example", 6),
    ("testkit", "rbuild-testkit", 7),
    ("bench", "rbuild-bench", 7),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The Rust files below `directory`, sorted; empty when the directory does not exist.
fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
