//! Short runs of the scripts that kill builds, fill disks, damage stores and edit projects at random. What they find in longer runs
//! is the same with the same seed.

use crate::RBUILD;
use rbuild_testkit::{has_program, is_root, repository};
use std::process::Command;

/// Runs a script on the binary under test, and expects that it found nothing wrong.
fn run(test: &str, words: &[&str]) {
    if !is_root(test) || !has_program("python3", test) || !has_program("busybox", test) {
        return;
    }
    let (script, flags) = words.split_first().unwrap();
    let mut command = Command::new("python3");
    command.arg(repository().join("scripts").join(script)).arg(RBUILD).args(flags).env_remove("RBUILD_ROOT");
    let ran = command.output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout) + String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success() && !ran.stdout.is_empty(), "{said}");
}

#[test]
fn killed_builds_leave_nothing_wrong() {
    run("killed_builds_leave_nothing_wrong", &["faults", "kill", "--count", "8"]);
}

#[test]
fn a_full_disk_leaves_nothing_wrong() {
    run("a_full_disk_leaves_nothing_wrong", &["faults", "full", "--count", "3"]);
}

#[test]
fn damaged_indexes_and_stores_are_found_and_repaired() {
    let test = "damaged_indexes_and_stores_are_found_and_repaired";
    run(test, &["faults", "index", "--count", "4"]);
    run(test, &["faults", "damage", "--count", "6", "--seed", "5"]);
}

#[test]
fn a_clock_that_is_set_back_makes_nothing_wrong() {
    run("a_clock_that_is_set_back_makes_nothing_wrong", &["faults", "clock", "--count", "2"]);
}

#[test]
fn a_cached_build_equals_an_uncached_one_whatever_was_edited() {
    run("a_cached_build_equals_an_uncached_one_whatever_was_edited", &["random-edits", "--rounds", "8"]);
}
