//! The processes of a RUN, and what they see: as docker 28.5 has it, compared by hand and written down here.

use crate::as_root_and_user;
use rbuild_testkit::{Ran, Workspace};
use std::{fs, time::Instant};

/// Builds on busybox; what the steps printed.
fn printed(here: &Workspace, steps: &str, files: &[(&str, &str)]) -> Vec<String> {
    let context = here.context("c", &format!("FROM busybox\n{steps}"), files);
    let mut command = here.command(["build", "--no-cache", "--progress=plain"]);
    let ran = Ran::of(command.arg(&context).output().unwrap());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let of_step = |line: &str| {
        let mut words = line.splitn(3, ' ');
        let (number, time, text) = (words.next()?, words.next()?, words.next()?);
        (number.starts_with('#') && time.parse::<f64>().is_ok()).then(|| text.to_owned())
    };
    ran.stderr.lines().filter_map(of_step).collect()
}

/// How many processes of this machine have this command.
fn living(command: &str) -> usize {
    let wanted = format!("{}\0", command.replace(' ', "\0"));
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter(|process| {
            fs::read(process.path().join("cmdline")).is_ok_and(|line| line == wanted.as_bytes())
        })
        .count()
}

#[test]
fn what_a_step_leaves_running_ends_with_it_and_hangs_nothing() {
    as_root_and_user("what_a_step_leaves_running_ends_with_it_and_hangs_nothing", |here| {
        let began = Instant::now();
        let steps = "RUN sleep 7391 & echo in the background\n\
             RUN setsid sh -c 'trap \"\" HUP TERM; sleep 7391 & sleep 7391' & sleep .1; echo a daemon\n\
             RUN (setsid sleep 7391 > /dev/null 2>&1 &); echo forked twice\n\
             RUN (sh -c 'exit 3' &); sleep .1; echo no zombie\n";
        let expected = ["in the background", "a daemon", "forked twice", "no zombie"];
        assert_eq!(printed(here, steps, &[]), expected);
        assert!(began.elapsed().as_secs() < 60, "nothing waits for them");
        assert_eq!(living("sleep 7391"), 0);
    });
}

#[test]
fn everybody_has_the_groups_of_the_image() {
    as_root_and_user("everybody_has_the_groups_of_the_image", |here| {
        let steps = "RUN printf 'root:x:0:0::/:\\nu:x:7:8::/:\\n' > /etc/passwd; printf 'r:x:70:root\\nb:x:71:u,root\\nc:x:72:u\\n' > /etc/group\n\
             RUN id -G\nUSER root\nRUN id -G\nUSER 0\nRUN id -G\nUSER 0:0\nRUN id -G\nUSER u\nRUN id -G\nUSER 7\nRUN id -G\n\
             USER u:c\nRUN id -G\nUSER 9\nRUN id -G\n";
        assert_eq!(
            printed(here, steps, &[]),
            ["0 70 71", "0 70 71", "0 70 71", "0", "8 71 72", "8 71 72", "72", "0"]
        );
    });
}

#[test]
fn a_script_is_one_whose_first_line_says_so_as_it_is_written() {
    as_root_and_user("a_script_is_one_whose_first_line_says_so_as_it_is_written", |here| {
        let steps = "RUN <<-EOF\n#!/bin/cat\n\tshown\nEOF\nRUN <<-EOF\n\t#!/bin/cat\n\techo carried out\nEOF\n\
             RUN <<EOF\n#!/bin/sh\necho $0\nEOF\n";
        assert_eq!(printed(here, steps, &[]), ["#!/bin/cat", "shown", "carried out", "/dev/pipes/EOF"]);
    });
}

#[test]
fn mounts_are_what_was_asked_for() {
    as_root_and_user("mounts_are_what_was_asked_for", |here| {
        let steps = "RUN mkdir /o && echo a > /o/f\n\
             RUN --mount=type=tmpfs,target=/t,size=5m --mount=type=cache,target=/c,uid=7,gid=8,mode=0750 --mount=type=cache,target=/r,ro \
             --mount=from=busybox,source=/bin,target=/b,rw --mount=target=/ctx --mount=target=/rw,rw \
             stat -c '%n %a %u:%g' /t /c /r; mount | grep -o '/[tr] type .*' | sed 's/ type [a-z0-9]*//; s/,.*size/,size/; s/,inode64.*//; s/,uid.*//; s/,relatime.*//'; \
             cp /bin/busybox /t/busybox && /t/busybox echo from memory; cp /bin/busybox /c/busybox && /c/busybox echo from the cache; \
             echo x > /b/new && rm /b/sh && echo x > /rw/f && cat /rw/f; echo x > /ctx/f || echo x > /r/f; df -m /t /dev/shm | awk 'NR > 1 { print $2 }'\n\
             RUN --mount=target=/rw --mount=from=busybox,source=/bin,target=/b cat /rw/f; ls /b/new /b/sh 2> /dev/null || true\n";
        let seen = printed(here, steps, &[("f", "of the context\n")]);
        let expected = [
            "/t 1777 0:0",
            "/c 750 7:8",
            "/r 755 0:0",
            "/t (rw,size=5120k",
            "from memory",
            "from the cache",
            "x",
            "/bin/sh: can't create /ctx/f: Read-only file system",
            "/bin/sh: can't create /r/f: Read-only file system",
            "5",
            "64",
            "of the context",
            "/b/sh",
        ];
        let lines = seen.iter().map(|line| line.trim_end_matches(')'));
        let seen: Vec<&str> = lines.filter(|line| !line.starts_with("/r (")).collect();
        assert_eq!(seen, expected);
    });
}
