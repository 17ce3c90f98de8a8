//! Directories through rbuild's descriptors (CVE-2024-21626), and descriptors that a container inherits.

use super::{MOUNTS, SECRET, attack, dockerfile, search};
use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt,
    process::Command,
};

/// The numbers that rbuild's descriptors can have, and more.
const NUMBERS: std::ops::RangeInclusive<u32> = 3..=40;

#[test]
fn a_working_directory_through_descriptors_stays_inside() {
    attack("a_working_directory_through_descriptors_stays_inside", |arena| {
        let search = search(arena);
        for mount in MOUNTS {
            // what is mounted moves the numbers; the context has the most to show
            let step = if mount.is_empty() || mount.contains("type=bind,target") { 1 } else { 3 };
            for number in NUMBERS.step_by(step) {
                let directory = format!("/proc/{}/fd/{number}", if number % 5 == 0 { "1" } else { "self" });
                let said =
                    arena.refuses(&dockerfile(mount, &format!("WORKDIR {directory}\nRUN MOUNT {search}")));
                assert!(said.contains(&directory), "{said}");
            }
        }
    });
}

#[test]
fn a_working_directory_that_is_a_link_of_proc_stays_inside() {
    attack("a_working_directory_that_is_a_link_of_proc_stays_inside", |arena| {
        let search = search(arena);
        for target in [
            "/proc/self/cwd",
            "/proc/self/root",
            "/proc/1/root",
            "/proc/1/cwd",
            "/proc/self/exe",
            "/proc/thread-self/cwd",
        ] {
            for mount in MOUNTS {
                // by its name, and by a link in the image
                arena.build(&dockerfile(mount, &format!("WORKDIR {target}/../..\nRUN MOUNT {search}")));
                arena.build(&dockerfile(
                    mount,
                    &format!("RUN ln -s {target} /l && ln -s /l /k\nWORKDIR /k/..\nRUN MOUNT {search}"),
                ));
            }
        }
    });
}

#[test]
fn a_mount_target_through_descriptors_makes_nothing_outside() {
    attack("a_mount_target_through_descriptors_makes_nothing_outside", |arena| {
        for (kind, first) in [("cache", 3), ("tmpfs", 4)] {
            let runs = NUMBERS.map(|number| {
                // one that fails must not keep the others from being tried, so each is a stage
                format!(
                    "FROM links AS s{number}\nRUN --mount=type=bind,target=/m --mount=type={kind},target=/l{number}/reached true\n"
                )
            });
            let links = NUMBERS.map(|number| format!("ln -s /proc/self/fd/{number}/../bait /l{number}; "));
            let links = format!("FROM busybox AS links\nRUN {}true\n", links.collect::<String>());
            let text = links + &runs.collect::<String>();
            let context = arena.here.context("c", &text, &[]);
            for number in (first..=*NUMBERS.end()).step_by(2) {
                let stage = format!("s{number}");
                let ran = arena.here.run(["build", "--target", &stage, context.to_str().unwrap()]);
                arena.assert_safe(&ran, &format!("{kind} {number}"));
            }
        }
    });
}

#[test]
fn a_container_s_directory_and_volumes_stay_inside() {
    attack("a_container_s_directory_and_volumes_stay_inside", |arena| {
        let search = search(arena);
        let links =
            NUMBERS.map(|number| format!("ln -s /proc/self/fd/{number} /l{number}; ")).collect::<String>();
        arena.builds(&dockerfile("", &format!("RUN {links}true")));
        arena.here.write("volume/file", "of the volume\n");
        let volume = arena.here.path().join("volume");
        for number in NUMBERS {
            for directory in
                [format!("/proc/self/fd/{number}"), format!("/l{number}"), format!("/l{number}/../..")]
            {
                arena.run(&["run", "--rm", "-w", &directory, "x", "sh", "-c", &search]);
            }
            let target = format!("{}:/l{number}/../bait/reached", volume.display());
            arena.run(&["run", "--rm", "-v", &target, "x", "true"]);
        }
    });
}

#[test]
fn what_rbuild_inherited_is_not_inherited_further() {
    attack("what_rbuild_inherited_is_not_inherited_further", |arena| {
        // it stays open through exec, at a number that no descriptor of rbuild's has
        let context = arena.here.context(
            "c",
            "FROM busybox\nRUN for f in /proc/self/fd/* /proc/1/fd/*; do cat $f/secret; done 2>/dev/null; true\n",
            &[],
        );
        let words = ["build", "--no-cache", context.to_str().unwrap()];
        let build = arena.here.command(words);
        let mut shell = Command::new("sh");
        shell.args(["-c", "exec 8<\"$0\" 9<\"$0\"; exec \"$@\"", arena.bait().to_str().unwrap()]);
        shell.arg(build.get_program()).args(build.get_args()).env_clear();
        shell
            .envs(build.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .current_dir(arena.here.path());
        let ran = rbuild_testkit::Ran::of(shell.output().unwrap());
        arena.assert_safe(&ran, "descriptors open at start");
        assert_eq!(ran.code, 0, "{ran:#?}");
    });
}

#[test]
fn standard_streams_lead_nowhere() {
    attack("standard_streams_lead_nowhere", |arena| {
        let search = search(arena);
        let null = fs::metadata("/dev/null").unwrap();
        arena.builds(&dockerfile(
            "",
            "RUN chmod 600 /dev/fd/0 /dev/null /dev/stdin; chown 1:1 /dev/null; true",
        ));
        // a directory of the host as standard input
        let mut inside = arena.here.command(["run", "-i", "--rm", "busybox", "sh", "-c"]);
        inside.arg(format!("cat /proc/self/fd/0/secret; cd /proc/self/fd/0 && {search}"));
        let ran = rbuild_testkit::Ran::of(inside.stdin(File::open(arena.bait()).unwrap()).output().unwrap());
        arena.assert_safe(&ran, "a directory as standard input");
        // a file of the host as standard output: what stood in it before is not the container's to see or to change
        let log = arena.here.write("log", format!("{SECRET}\n"));
        let append = File::options().append(true).open(&log).unwrap();
        let script = "exec 5>&1; timeout 1 cat /proc/self/fd/5 >&2; true > /proc/self/fd/5; chmod 666 /proc/self/fd/5; echo done";
        let mut inside = arena.here.command(["run", "--rm", "busybox", "sh", "-c", script]);
        let ran = inside.stdout(append).output().unwrap();
        arena.assert_safe(&rbuild_testkit::Ran::of(ran), "a file as standard output");
        let log_text = fs::read_to_string(&log).unwrap();
        assert!(log_text.starts_with(SECRET), "{:?}: {log_text:?}", arena.who);
        assert_eq!(fs::metadata(&log).unwrap().mode() & 0o7777, 0o644);
        let now = fs::metadata("/dev/null").unwrap();
        assert_eq!((now.mode(), now.uid(), now.ino()), (null.mode(), null.uid(), null.ino()));
    });
}
