//! `/proc`, `/sys` and `/dev`: what is masked or read-only stays so, whatever the image or the mounts put in the way
//! (CVE-2019-16884, CVE-2019-19921, CVE-2023-27561, CVE-2023-28642, CVE-2025-31133, CVE-2025-52565, CVE-2025-52881).

use super::{MOUNTS, attack, dockerfile};

/// Prints `leak` for each mask that is missing and each file of the kernel that can be written.
const LOOK: &str = "for f in /proc/kcore /proc/interrupts /proc/keys /proc/timer_list /proc/latency_stats /proc/sched_debug; do \
    if test -e $f && test \"$(head -c 1 $f | wc -c)\" != 0; then echo leak $f; fi; done; \
    for d in /proc/acpi /proc/scsi /proc/asound /sys/firmware /sys/devices/virtual/powercap; do \
    if test -d $d && test -n \"$(ls -A $d)\" && ! test -e $d/mqueue -o -e $d/file -o -e $d/bin; then echo leak $d; fi; done; \
    for f in /proc/sys/kernel/core_pattern /proc/sys/kernel/hostname /proc/sysrq-trigger /proc/sys/vm/drop_caches \
    /proc/irq/default_smp_affinity /sys/kernel/uevent_helper /sys/kernel/mm/ksm/run /sys/power/state \
    $(find /sys/fs/cgroup -name release_agent -o -name cgroup.procs); do \
    if test -f $f && true >> $f; then echo leak write $f; fi; done; \
    for d in /sys /sys/fs/cgroup /proc/sys; do if test -d $d/kernel -o -e $d/cgroup.procs && mkdir $d/made; then echo leak mkdir $d; fi; done; \
    for p in / /sys /proc /proc/sys /proc/kcore /dev /sys/fs/cgroup; do mount -o remount,rw,bind $p && echo leak remount $p; done; echo looked";

fn assert_no_leak(arena: &super::Arena, text: &str) -> i32 {
    let ran = arena.build(text);
    let leaks: Vec<&str> =
        ran.stderr.lines().filter(|line| line.contains(" leak ") && !line.contains("RUN ")).collect();
    let leaks: Vec<&&str> = leaks.iter().filter(|line| !line.contains("echo leak")).collect();
    assert!(leaks.is_empty(), "{:?}: {leaks:?} in {text}", arena.who);
    let looked = ran.stderr.lines().any(|line| line.ends_with(" looked") && !line.contains("echo"));
    assert_eq!(looked, ran.code == 0, "{:?}: {text}: {ran:#?}", arena.who);
    ran.code
}

#[test]
fn masks_hold_with_every_kind_of_mount() {
    attack("masks_hold_with_every_kind_of_mount", |arena| {
        for mount in MOUNTS {
            assert_eq!(assert_no_leak(arena, &dockerfile(mount, &format!("RUN MOUNT {LOOK}"))), 0);
        }
    });
}

#[test]
fn masks_hold_whatever_is_mounted_over_them() {
    attack("masks_hold_whatever_is_mounted_over_them", |arena| {
        // what stands at the places that the masks are made from
        let make = "RUN --mount=type=cache,id=d,target=/c mkdir -p /c/mqueue /c/shm /c/pts /c/sys /c/firmware /c/self && \
            for n in null zero full random tty ptmx console kcore keys; do ln -sf /proc/sysrq-trigger /c/$n; done; ln -sfn /proc /c/fd\n";
        for target in [
            "/dev",
            "/dev/null",
            "/dev/mqueue",
            "/dev/shm",
            "/dev/console",
            "/dev/fd",
            "/sys",
            "/sys/fs/cgroup",
            "/sys/firmware",
            "/sys/kernel",
            "/proc",
            "/proc/self",
            "/proc/sys",
            "/proc/sys/kernel",
            "/proc/kcore",
            "/proc/sysrq-trigger",
            "/proc/1/fd",
            "/",
            "/dev/../proc/sys",
        ] {
            for mount in [
                format!("--mount=type=tmpfs,target={target}"),
                format!("--mount=type=cache,id=d,target={target}"),
                format!("--mount=type=bind,source=empty,target={target}"),
                format!("--mount=type=bind,from=other,source=/,target={target},rw"),
                format!("--mount=type=cache,id=d,target={target} --mount=type=cache,id=d,target=/dev"),
            ] {
                let ran = dockerfile("", &format!("{make}RUN {mount} {LOOK}"));
                assert_no_leak(arena, &ran);
            }
        }
    });
}

#[test]
fn links_in_place_of_the_kernel_s_directories_lead_nowhere() {
    attack("links_in_place_of_the_kernel_s_directories_lead_nowhere", |arena| {
        // COPY may replace an empty directory of the base image; a base image may have anything from the start
        let root = arena.here.path().join("root");
        let script = "set -e; rm -rf root; mkdir root; tar -C root -xf \"$0\"; cd root; rm -rf proc sys dev; mkdir -p a b; ";
        let busybox = rbuild_testkit::repository().join("target/base/busybox.tar");
        for (number, links) in [
            "ln -s a proc", "ln -s a sys", "ln -s a dev", "ln -s sys proc", "ln -s ../../../../proc proc", "ln -s /a proc; ln -s /a sys",
            "ln -s dev proc", "ln -s sys dev", "ln -s tmp proc; ln -s tmp sys; ln -s tmp dev", "ln -s proc proc", "echo file > proc",
            "echo file > sys", "echo file > dev", "mkdir proc; ln -s /a proc/self; ln -s /etc proc/sys; ln -s /a proc/kcore",
            "mkdir dev; ln -s /proc/sysrq-trigger dev/null; ln -s /proc/kcore dev/console; ln -s / dev/pts; ln -s / dev/shm; ln -s / dev/mqueue",
            "mkdir sys; ln -s /a sys/firmware; ln -s /proc sys/fs", "mkfifo proc", "mkfifo dev", "mkdir dev; mkfifo dev/null dev/console",
        ]
        .iter()
        .enumerate()
        {
            let archive = arena.here.path().join("root.tar");
            let made = std::process::Command::new("sh")
                .args(["-c", &format!("{script}{links}; tar -cf ../root.tar ."), busybox.to_str().unwrap()])
                .current_dir(arena.here.path())
                .status();
            assert!(made.unwrap().success(), "{links}");
            let name = format!("links:{number}");
            arena.here.ok(["import", archive.to_str().unwrap(), &name]);
            for mount in &MOUNTS[..2] {
                let text = dockerfile(mount, &format!("RUN MOUNT {LOOK}")).replace("\nFROM busybox\n", &format!("\nFROM {name}\n"));
                assert_no_leak(arena, &text);
            }
            let ran = arena.run(&["run", "--rm", &name, "sh", "-c", LOOK]);
            assert!(!ran.stdout.contains("leak "), "{:?}: {links}: {ran:#?}", arena.who);
        }
        std::fs::remove_dir_all(root).unwrap();
    });
}
