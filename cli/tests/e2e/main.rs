//! The program as people use it: real builds on real root filesystems, a real registry, images read by other tools.
//!
//! One binary for all, so that it links once. Base images come from `scripts/base-image`; `scripts/check` makes them.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod bad_input;
mod base_images;
mod beside_prune;
mod broken_push;
mod budget;
mod builds;
mod by_hand;
mod cache;
mod cache_mounts;
mod cache_seeds;
mod command_line;
mod commit_running;
mod compare;
mod container_faults;
mod container_networks;
mod containers;
mod context_ls;
mod contexts;
mod cp;
mod crowd;
mod daemon;
mod deep_trees;
mod detached;
mod devices;
mod diagnostics;
mod docker_flags;
mod docker_shapes;
mod emulators;
mod examples;
mod exec;
mod explain;
mod failed_steps;
mod faults;
mod foreground;
mod foreign_tools;
mod git_sources;
mod health;
mod hostile_contexts;
mod hostile_sizes;
mod hostile_text;
mod image_commands;
mod images;
mod init;
mod limits;
mod linked_copies;
mod long_runs;
mod lower_bases;
mod lower_store;
mod modes;
mod named_network_commands;
mod named_network_faults;
mod named_networks;
mod networks;
mod ordinary_user;
mod output_attributes;
mod outputs;
mod pause;
mod pins;
mod platforms;
mod port_stories;
mod preview;
mod privileges;
mod processes;
mod refused_overlay;
mod registries;
mod remote_bases;
mod remote_cache;
mod remote_contexts;
mod robust;
mod sandbox;
mod scheduling;
mod secrets;
mod security;
mod squash;
mod ssh;
mod story;
mod targets;
mod temporary_files;
mod update;
mod verify;
mod volumes;
mod watching;
mod web_sources;

/// The binary under test, unless `RBUILD_BIN` names another.
const RBUILD: &str = env!("CARGO_BIN_EXE_rbuild");

/// A workspace with `busybox:latest`, or nothing when the tests do not run as root.
fn with_busybox(test: &str) -> Option<rbuild_testkit::Workspace> {
    if !rbuild_testkit::is_root(test) {
        return None;
    }
    let workspace = rbuild_testkit::Workspace::new(RBUILD);
    workspace.import(rbuild_testkit::Base::Busybox);
    Some(workspace)
}

/// What steps wrote, of a build's plain progress: its lines `#5 0.1 text`.
fn step_output(progress: &str) -> Vec<String> {
    let of_step = |line: &str| {
        let mut words = line.splitn(3, ' ');
        let (Some(number), Some(time), Some(text)) = (words.next(), words.next(), words.next()) else {
            return None;
        };
        (number.starts_with('#') && time.parse::<f64>().is_ok()).then(|| text.to_owned())
    };
    progress.lines().filter_map(of_step).collect()
}

/// That of its lines `> text`, without the mark.
fn marked_output(progress: &str) -> Vec<String> {
    let unmarked = |line: &String| line.strip_prefix("> ").map(str::to_owned);
    step_output(progress).iter().filter_map(unmarked).collect()
}

/// Waits until something happens, for half a minute at most.
fn wait_for(mut happens: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !happens() {
        assert!(begun.elapsed() < std::time::Duration::from_secs(30), "it does not happen");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// Makes a check in a workspace of root and in one of an ordinary user, both with `busybox:latest`; says by name who cannot be here.
fn as_root_and_user(test: &str, check: impl Fn(&rbuild_testkit::Workspace)) {
    let Some(here) = with_busybox(test) else { return };
    check(&here);
    if let Some(there) = ordinary_user::workspace(test) {
        there.import(rbuild_testkit::Base::Busybox);
        check(&there);
    }
}
