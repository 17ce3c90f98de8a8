//! Tests that cannot run here say so by name, so that a skipped test is not taken for a passed one.
//!
//! Each prints `skipped: PROGRAM::TEST: why` and appends that line to the file that the variable `RBUILD_TEST_SKIPPED`
//! names; `scripts/check` sets it, lists the lines at its end, and fails when a test was skipped that could have run.

use std::{fmt::Display, fs, io::Write as _, os::unix::fs::MetadataExt as _, thread};

/// States that the running test is skipped, and why: return from it next. The test's name is that of its thread.
pub fn skip(why: impl Display) {
    let thread = thread::current();
    skip_named(thread.name().unwrap_or("unnamed"), why);
}

/// As [`skip`], for what runs outside of a test's own thread.
pub fn skip_named(test: &str, why: impl Display) {
    // one line, whatever a program said
    let why = why.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    let line = format!("skipped: {}::{test}: {why}\n", program());
    eprint!("{line}");
    #[expect(
        clippy::disallowed_methods,
        reason = "the script that runs all tests says where it wants the list"
    )]
    let Some(list) = std::env::var_os("RBUILD_TEST_SKIPPED") else { return };
    // one write to a file opened for appending: lines of several test programs never mix
    let appended = fs::File::options().create(true).append(true).open(list);
    appended
        .and_then(|mut list| list.write_all(line.as_bytes()))
        .expect("the list of skipped tests can be written");
}

/// True if the tests run as root; otherwise the running test is skipped.
#[must_use]
pub fn has_root() -> bool {
    let root = runs_as_root();
    if !root {
        skip("it needs root");
    }
    root
}

pub(crate) fn runs_as_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// The test program's name: that of its file without the hash that cargo appends.
fn program() -> String {
    let path = std::env::current_exe().unwrap_or_default();
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    name.rsplit_once('-').map_or(name.clone(), |(program, _)| program.to_owned())
}
