//! Flags of docker's commands for containers: each works, or is refused by name and with a reason before anything is made.

use crate::{as_root_and_user, wait_for, with_busybox};
use std::{fs, os::unix::fs::MetadataExt};

#[test]
fn the_first_process_and_its_kernel_are_told() {
    as_root_and_user("the_first_process_and_its_kernel_are_told", |here| {
        let script = "id -G; cat /proc/self/oom_score_adj /proc/sys/kernel/domainname /proc/sys/net/ipv4/ip_default_ttl; \
                      cat /proc/sys/kernel/msgmax; hostname; cat /etc/hostname; grep -c 'box.example.org box' /etc/hosts; hostname -f";
        let made = here.ok([
            "create",
            "--name",
            "told",
            "--network=none",
            "-h",
            "box",
            "--domainname=example.org",
            "--group-add",
            "1234",
            "--group-add=root",
            "-u=5:7",
            "--oom-score-adj=300",
            "--sysctl",
            "net.ipv4.ip_default_ttl=77",
            "--sysctl=kernel.msgmax=9000",
            "--annotation=a=b",
            "-a",
            "stdout",
            "-a=STDERR",
            "-q",
            "busybox",
            "sh",
            "-c",
            script,
        ]);
        assert_eq!(made.trim_end().len(), 64);
        let said = here.ok(["start", "-a", "told"]);
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(
            lines,
            [
                "7 0 1234",
                "300",
                "example.org",
                "77",
                "9000",
                "box",
                "box.example.org",
                "1",
                "box.example.org"
            ],
            "{said}"
        );
        let format = "{{.HostConfig.GroupAdd}} {{.HostConfig.OomScoreAdj}} {{index .HostConfig.Sysctls \"kernel.msgmax\"}} \
                      {{.HostConfig.Annotations.a}} {{.Config.Domainname}}";
        assert_eq!(here.ok(["inspect", "-f", format, "told"]), "[1234 root] 300 9000 b example.org\n");
        // of the namespaces that they were made for
        let plain =
            here.ok(["run", "--rm", "--network=none", "busybox", "cat", "/proc/sys/net/ipv4/ip_default_ttl"]);
        assert_eq!(plain, "64\n");
        let ran = here.run(["run", "--rm", "--group-add", "nosuch", "busybox", "true"]);
        assert!(ran.code == 125 && ran.stderr.contains("unable to find group nosuch"), "{ran:#?}");
        here.ok(["rm", "told"]);
        assert_eq!(here.ok(["ps", "-aq"]), "", "nothing is left of what was not started");
    });
}

#[test]
fn an_annotation_has_a_name() {
    let Some(here) = with_busybox("an_annotation_has_a_name") else { return };
    for (command, code) in [("run", 125), ("create", 1)] {
        let ran = here.fails([command, "--annotation=", "busybox", "true"]);
        let said = "the empty string is not permitted as an annotation key";
        assert!(ran.code == code && ran.stderr.contains(said), "{ran:#?}");
    }
}

#[test]
fn flags_that_are_not_done_say_why_before_anything_is_made() {
    let Some(here) = with_busybox("flags_that_are_not_done_say_why_before_anything_is_made") else { return };
    for (flag, said) in [
        ("--attach=x", "valid streams are STDIN, STDOUT and STDERR"),
        ("-a=stdout", "--attach of some streams alone is not supported"),
        ("--blkio-weight=5", "--blkio-weight is not supported: how much is read from disks"),
        ("--device-read-bps=/dev/sda:1m", "--device-read-bps is not supported"),
        ("--cgroupns=host", "--cgroupns is not supported: a container sees no control groups but its own"),
        ("--cgroupns=x", "--cgroupns: invalid CGROUP mode"),
        ("--cpu-rt-period=5", "--cpu-rt-period is not supported: processors are limited by --cpus"),
        (
            "--device-cgroup-rule=c 1:1 r",
            "--device-cgroup-rule is not supported: give each device with --device",
        ),
        ("--gpus=all", "--gpus is not supported: give devices with --device"),
        ("--ip=1.2.3.4", "user specified IP address is supported on user defined networks only"),
        ("--network-alias=x", "network-scoped aliases are only supported for user-defined networks"),
        ("--ipc=host", "--ipc is not supported: each container has message queues"),
        ("--ipc=x", "invalid IPC mode: x"),
        ("--isolation=hyperv", "invalid isolation (hyperv): linux only supports 'default'"),
        ("--kernel-memory=64m", "--kernel-memory is not supported: memory is limited by --memory"),
        ("--memory-reservation=64m", "--memory-reservation is not supported: memory is limited by --memory"),
        ("--memory-swappiness=5", "--memory-swappiness is not supported"),
        ("--link=x", "--link is not supported: there are no links between containers"),
        ("--mac-address=02:42:ac:11:00:02", "--mac-address is not supported: the program"),
        ("--oom-kill-disable", "--oom-kill-disable is not supported"),
        ("--oom-score-adj=5000", "Invalid value 5000, range for oom score adj is [-1000, 1000]"),
        ("--pid=host", "--pid is not supported: the processes of a container are by themselves"),
        ("--pid=container:x", "--pid is not supported"),
        ("--pid=x", "--pid: invalid PID mode"),
        ("--runtime=kata", "--runtime is not supported: containers are started by rbuild itself"),
        ("--storage-opt=size=1g", "--storage-opt is not supported"),
        ("--sysctl=kernel.pid_max=5", "sysctl 'kernel.pid_max=5' is not allowed"),
        ("--sysctl=net.core/../../kernel/pid_max=5", "is not allowed"),
        ("--use-api-socket", "--use-api-socket is not supported: there is no daemon"),
        ("--userns=x", "--userns: invalid USER mode"),
        ("--uts=host", "--uts is not supported: a container has a host name of its own"),
        ("--uts=x", "--uts: invalid UTS mode"),
    ] {
        for command in ["run", "create"] {
            let ran = here.fails([command, flag, "busybox", "true"]);
            assert!(ran.code == 125 && ran.stderr.contains(said), "{command} {flag}: {ran:#?}");
        }
    }
    let ran = here.fails(["run", "--network=host", "--sysctl=net.core.somaxconn=5", "busybox", "true"]);
    assert!(ran.stderr.contains("not allowed in host network namespace"), "{ran:#?}");
    let ran = here.fails(["run", "-d", "-a", "stdout", "busybox", "true"]);
    assert!(ran.stderr.contains("cannot specify both --attach and --detach"), "{ran:#?}");
    let ran = here.fails(["update", "--blkio-weight", "5", "x"]);
    assert!(ran.stderr.contains("--blkio-weight is not supported"), "{ran:#?}");
    assert_eq!(here.ok(["ps", "-aq"]), "");
    // what asks for nothing
    let quiet =
        ["--ipc=private", "--cgroupns=private", "--userns=host", "--isolation=default", "--pid=", "--uts="];
    let nothing =
        ["--disable-content-trust", "--oom-kill-disable=false", "--memory-swappiness=-1", "--blkio-weight=0"];
    let words = [&["run", "--rm"][..], &quiet, &nothing, &["busybox", "true"]].concat();
    assert_eq!(here.run(words).stderr, "");
}

#[test]
fn a_parameter_that_the_kernel_does_not_take_is_named() {
    let Some(here) = with_busybox("a_parameter_that_the_kernel_does_not_take_is_named") else { return };
    for (flag, said) in [
        ("--sysctl=net.foo=1", "cannot set the sysctl net.foo: no such file or directory"),
        ("--sysctl=kernel.sem=x", "cannot set the sysctl kernel.sem: invalid argument"),
    ] {
        let ran = here.fails(["run", "--rm", "--network=none", flag, "busybox", "true"]);
        assert!(ran.stderr.contains(said), "{ran:#?}");
    }
    // as many as there are
    let all = fs::read_dir("/proc/sys/net/ipv4/conf/lo").unwrap().map(Result::unwrap);
    let all = all.filter(|file| file.metadata().unwrap().mode() & 0o200 != 0);
    let many: Vec<String> = all
        .map(|file| {
            let value = fs::read_to_string(file.path()).unwrap();
            format!("--sysctl=net.ipv4.conf.lo.{}={}", file.file_name().display(), value.trim())
        })
        .collect();
    assert!(many.len() > 24, "{many:?}");
    let mut run = vec!["run", "--rm", "--network=none"];
    run.extend(many.iter().map(String::as_str));
    run.extend(["--sysctl=kernel.msgmax=9000", "busybox", "cat", "/proc/sys/kernel/msgmax"]);
    assert_eq!(here.ok(run), "9000\n");
}

#[test]
fn sizes_and_details_are_shown() {
    as_root_and_user("sizes_and_details_are_shown", |here| {
        here.ok([
            "run",
            "-d",
            "--name",
            "big",
            "busybox",
            "sh",
            "-c",
            "head -c 2000000 /dev/zero > /f; echo a; echo b; exec sleep 1000",
        ]);
        wait_for(|| here.ok(["logs", "big"]) == "a\nb\n");
        assert_eq!(here.ok(["logs", "--details", "big"]), " a\n b\n");
        let table = here.ok(["ps", "-s"]);
        let (head, row) = table.split_once('\n').unwrap();
        assert!(head.ends_with("NAMES     SIZE") && row.contains("   2MB (virtual "), "{table}");
        assert!(here.ok(["ps", "--format", "{{.Size}}"]).starts_with("2MB (virtual "));
        assert!(!here.ok(["ps"]).contains("SIZE"));
        here.ok(["rm", "-f", "big"]);
    });
}
