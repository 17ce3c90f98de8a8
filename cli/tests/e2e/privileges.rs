//! What the person who builds or runs gives to processes, or takes from them: as root, and as an ordinary user.

use crate::{RBUILD, ordinary_user};
use rbuild_testkit::{Base, Workspace, is_root};

/// Does `work` as root and as an ordinary user.
fn both(test: &str, work: impl Fn(&Workspace)) {
    if !is_root(test) {
        return;
    }
    let workspaces = [Some(Workspace::new(RBUILD)), ordinary_user::workspace(test)];
    for here in workspaces.into_iter().flatten() {
        here.import(Base::Busybox);
        work(&here);
    }
}

fn build(here: &Workspace, flags: &[&str], line: &str) -> rbuild_testkit::Ran {
    let context = here.context("c", &format!("FROM busybox\n{line}\n"), &[]);
    let context = context.to_str().unwrap();
    here.run(["build", "--progress=plain"].iter().chain(flags).chain([&context]))
}

#[test]
fn an_insecure_step_needs_its_right_and_may_mount() {
    both("an_insecure_step_needs_its_right_and_may_mount", |here| {
        let line = "RUN --security=insecure mount -t tmpfs x /mnt && grep Seccomp: /proc/self/status && head -c1 /proc/keys && echo done";
        let line = format!("RUN mkdir -p /mnt\n{line}");
        for flags in [&[][..], &["--allow=network.host"]] {
            let ran = build(here, flags, &line);
            assert_eq!(ran.code, 1, "{ran:?}");
            assert!(
                ran.stderr.contains("security.insecure is not allowed; --allow security.insecure allows it"),
                "{ran:?}"
            );
            assert!(!ran.stderr.contains("] RUN mkdir"), "nothing runs before: {ran:?}");
        }
        let ran = build(here, &["--allow=security.insecure"], &line);
        assert!(ran.code == 0 && ran.stderr.contains("Seccomp:\t0\n"), "{ran:?}");
        // the steps beside it are as ever
        let ran = build(
            here,
            &["--allow=security.insecure", "--no-cache"],
            "RUN mkdir -p /mnt && ! mount -t tmpfs x /mnt",
        );
        assert_eq!(ran.code, 0, "{ran:?}");
    });
}

#[test]
fn capabilities_are_added_and_dropped() {
    both("capabilities_are_added_and_dropped", |here| {
        let line = "RUN --network=none grep -E '^Cap(Bnd|Eff)' /proc/self/status; mkdir -p /mnt; \
                    mount -t tmpfs x /mnt && echo mounted; chown 1:1 /mnt 2>/dev/null && echo owned; true";
        let usual = build(here, &[], line);
        assert!(
            usual.stderr.contains("CapBnd:\t00000000a80425fb") && usual.stderr.contains(" owned\n"),
            "{usual:?}"
        );
        assert!(!usual.stderr.contains(" mounted\n"), "{usual:?}");
        let changed = build(here, &["--no-cache", "--cap-add=SYS_ADMIN", "--cap-drop=CHOWN"], line);
        assert!(changed.stderr.contains("CapBnd:\t00000000a82425fa"), "{changed:?}");
        assert!(changed.stderr.contains(" mounted\n") && !changed.stderr.contains(" owned\n"), "{changed:?}");
        let none =
            here.ok(["run", "--rm", "--cap-drop=all", "busybox", "grep", "CapBnd", "/proc/self/status"]);
        assert_eq!(none, "CapBnd:\t0000000000000000\n");
        let ran = here.run(["run", "--rm", "--cap-add=FLY", "busybox", "true"]);
        assert!(
            ran.code == 125 && ran.stderr.contains("invalid CapAdd: unknown capability: \"CAP_FLY\""),
            "{ran:?}"
        );
    });
}

#[test]
fn new_privileges_can_be_refused() {
    both("new_privileges_can_be_refused", |here| {
        let line = "USER 1000\nRUN grep NoNewPrivs /proc/self/status";
        assert!(build(here, &[], line).stderr.contains("NoNewPrivs:\t0\n"));
        let held = build(here, &["--no-cache", "--security-opt=no-new-privileges"], line);
        assert!(held.stderr.contains("NoNewPrivs:\t1\n"), "{held:?}");
        let flags = ["run", "--rm", "--security-opt", "no-new-privileges:true", "busybox"];
        let seen = here.ok(flags.iter().chain(&["grep", "NoNewPrivs", "/proc/self/status"]));
        assert_eq!(seen, "NoNewPrivs:\t1\n");
    });
}

#[test]
fn a_container_is_confined_as_its_flags_say() {
    both("a_container_is_confined_as_its_flags_say", |here| {
        let seccomp = |flags: &[&str]| {
            let command = ["busybox", "grep", "Seccomp:", "/proc/self/status"];
            here.ok(["run", "--rm"].iter().chain(flags).chain(&command))
        };
        assert_eq!(seccomp(&[]), "Seccomp:\t2\n");
        assert_eq!(seccomp(&["--security-opt", "seccomp=unconfined"]), "Seccomp:\t0\n");
        assert_eq!(seccomp(&["--privileged"]), "Seccomp:\t0\n");
        let mounts = ["sh", "-c", "mount -t tmpfs x /tmp && echo mounted"];
        assert_eq!(here.ok(["run", "--rm", "--privileged", "busybox"].iter().chain(&mounts)), "mounted\n");
        here.fails(["run", "--rm", "busybox"].iter().chain(&mounts));
        // privileges are root's in the container, as in docker: another user has none until a program gives them
        let sets = ["busybox", "grep", "-E", "^Cap(Inh|Prm|Eff|Amb):", "/proc/self/status"];
        let none = "CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapAmb:\t0000000000000000\n";
        let run = ["run", "--rm", "--privileged", "-u", "1000"];
        assert_eq!(here.ok(run.iter().chain(&sets)), none);
        here.fails(run.iter().chain(&["busybox", "mkdir", "/made"]));
        here.ok(["run", "-d", "--name=all", "--privileged", "busybox", "sleep", "500"]);
        assert_eq!(here.ok(["exec", "-u", "1000", "all"].iter().chain(&sets[1..])), none);
        let root = here.ok(["exec", "all"].iter().chain(&sets[1..]));
        assert!(
            root.starts_with("CapInh:\t0000000000000000\n") && may_administer(&root, "CapEff:\t"),
            "{root}"
        );
        here.ok(["rm", "-f", "all"]);
    });
}

/// What `inspect` says of a container's privileges.
fn inspected(here: &Workspace, name: &str) -> String {
    let format = "{{.HostConfig.Privileged}} {{json .HostConfig.CapAdd}} {{json .HostConfig.CapDrop}} {{json .HostConfig.SecurityOpt}}";
    here.ok(["container", "inspect", "--format", format, name])
}

#[test]
fn privileges_are_kept_with_a_container_and_shown() {
    both("privileges_are_kept_with_a_container_and_shown", |here| {
        let grep = ["busybox", "grep", "-E", "^(CapBnd|NoNewPrivs|Seccomp):", "/proc/self/status"];
        let flags = ["create", "--name=c1", "--cap-add=sys_admin", "--cap-drop=all"];
        here.ok(flags.iter().chain(&["--security-opt=no-new-privileges"]).chain(&grep));
        assert_eq!(inspected(here, "c1"), "false [\"CAP_SYS_ADMIN\"] [\"ALL\"] [\"no-new-privileges\"]\n");
        for _ in 0..2 {
            let seen = here.ok(["start", "-a", "c1"]);
            assert_eq!(seen, "CapBnd:\t0000000000200000\nNoNewPrivs:\t1\nSeccomp:\t2\n");
        }
        here.ok(["create", "--name=p1", "--privileged", "busybox", "true"]);
        assert_eq!(inspected(here, "p1"), "true null null null\n");
        here.ok(["create", "--name=u1", "busybox", "true"]);
        assert_eq!(inspected(here, "u1"), "false null null null\n");
    });
}

/// A profile in which only what a rule names is different.
const PROFILE: &str = r#"{
  "defaultAction": "SCMP_ACT_ALLOW",
  "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
  "syscalls": [
    { "names": ["mkdir", "mkdirat", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28 },
    { "names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": [{ "index": 1, "value": 10, "op": "SCMP_CMP_EQ" }] },
    { "names": ["sync"], "action": "SCMP_ACT_ERRNO", "excludes": { "caps": ["CAP_SYS_ADMIN"] } }
  ]
}"#;

#[test]
fn a_profile_decides_about_system_calls() {
    both("a_profile_decides_about_system_calls", |here| {
        here.write("profile.json", PROFILE);
        let option = "--security-opt=seccomp=profile.json";
        let script =
            "mkdir /d; kill -USR1 $$ || echo held; kill -0 $$ && echo alive; grep Seccomp: /proc/self/status";
        let ran = here.run(["run", "--rm", option, "busybox", "sh", "-c", script]);
        assert!(
            ran.stderr.contains("mkdir: can't create directory '/d': No space left on device"),
            "{ran:?}"
        );
        assert_eq!(ran.stdout, "held\nalive\nSeccomp:\t2\n", "{ran:?}");
        let ran = build(here, &[option], "RUN mkdir /d || echo refused");
        assert!(ran.code == 0 && ran.stderr.contains("refused"), "{ran:?}");
        // one that is given confines even those who may do everything
        here.fails(["run", "--rm", "--privileged", option, "busybox", "mkdir", "/d"]);
        // what is stored is the document, so the file may go
        here.ok(["create", "--name=c1", option, "busybox", "mkdir", "/d"]);
        std::fs::remove_file(here.path().join("profile.json")).unwrap();
        here.fails(["start", "-a", "c1"]);
        assert!(inspected(here, "c1").contains("seccomp={\\\"defaultAction\\\":\\\"SCMP_ACT_ALLOW\\\""));
        let ran = here.run(["run", "--rm", option, "busybox", "true"]);
        assert!(
            ran.code == 125 && ran.stderr.contains("opening seccomp profile (profile.json) failed"),
            "{ran:?}"
        );
        // the process can neither become its command nor end
        for action in ["SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"] {
            here.write("profile.json", format!("{{\"defaultAction\":\"{action}\",\"syscalls\":[]}}"));
            for init in [&[][..], &["--init"]] {
                let ran = here.run([&["run", "--rm", option], init, &["busybox", "true"]].concat());
                assert_ne!(ran.code, 0, "{action} {ran:?}");
            }
        }
        for action in ["SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"] {
            here.write("profile.json", format!("{{\"defaultAction\":\"{action}\",\"syscalls\":[]}}"));
            let ran = here.run(["run", "--rm", option, "busybox", "true"]);
            let said = "probably because the seccomp profile does not allow it";
            assert!(ran.code == 125 && ran.stderr.contains(said), "{action} {ran:?}");
        }
        here.write("profile.json", "[]");
        let ran = here.run(["run", "--rm", option, "busybox", "true"]);
        assert!(ran.code == 125 && ran.stderr.contains("decoding seccomp profile failed"), "{ran:?}");
    });
}

#[test]
fn the_kernel_can_be_shown_whole() {
    both("the_kernel_can_be_shown_whole", |here| {
        let masked = |flags: &[&str]| {
            let count = ["busybox", "sh", "-c", "awk '$5 ~ \"^/(proc|sys)/\"' /proc/self/mountinfo | wc -l"];
            here.ok(["run", "--rm"].iter().chain(flags).chain(&count)).trim().parse::<u32>().unwrap()
        };
        let usual = masked(&[]);
        let shown = masked(&["--security-opt", "systempaths=unconfined"]);
        // an ordinary user's container has mounts of the host's in its /sys
        assert!(usual >= shown + 5, "{usual} {shown}");
    });
}

#[test]
fn what_cannot_be_put_into_force_is_refused_by_name() {
    both("what_cannot_be_put_into_force_is_refused_by_name", |here| {
        for (option, part) in [
            ("apparmor=mine", "--security-opt apparmor=mine is not supported: "),
            ("label=type:x", "--security-opt label=type:x is not supported: "),
            ("writable-cgroups=true", "--security-opt writable-cgroups=true is not supported: "),
            ("nonsense", "invalid --security-opt: \"nonsense\""),
        ] {
            let ran = here.run(["run", "--rm", "--security-opt", option, "busybox", "true"]);
            assert!(ran.code == 125 && ran.stderr.contains(part), "{ran:?}");
        }
    });
}

/// True if CAP_SYS_ADMIN is in a set of a status file.
fn may_administer(status: &str, set: &str) -> bool {
    let line = status.lines().find_map(|line| line.strip_prefix(set)).unwrap();
    u64::from_str_radix(line, 16).unwrap() >> 21 & 1 == 1
}

#[test]
fn programs_that_come_later_have_the_privileges_of_their_container() {
    both("programs_that_come_later_have_the_privileges_of_their_container", |here| {
        let status = ["grep", "-E", "^(CapBnd|CapEff|NoNewPrivs|Seccomp):", "/proc/self/status"];
        let exec = |flags: &[&str]| here.ok(["exec"].iter().chain(flags).chain(&status));
        let flags = [
            "run",
            "-d",
            "--name=held",
            "--cap-drop=all",
            "--cap-add=chown",
            "--security-opt=no-new-privileges",
        ];
        here.ok(flags.iter().chain(&["busybox", "sleep", "500"]));
        let held = "CapEff:\t0000000000000001\nCapBnd:\t0000000000000001\nNoNewPrivs:\t1\nSeccomp:\t2\n";
        assert_eq!(exec(&["held"]), held);
        assert!(may_administer(&exec(&["--privileged", "held"]), "CapEff:\t"));
        here.ok(["run", "-d", "--name=free", "--privileged", "busybox", "sleep", "500"]);
        let free = exec(&["free"]);
        assert!(may_administer(&free, "CapBnd:\t") && free.ends_with("Seccomp:\t0\n"), "{free}");
        here.ok(["exec", "free", "mount", "-t", "tmpfs", "x", "/tmp"]);
        here.fails(["exec", "held", "mount", "-t", "tmpfs", "x", "/tmp"]);
        // one without rules for devices can be frozen too
        if here.run(["pause", "held"]).code == 0 {
            here.ok(["unpause", "held"]);
            here.ok(["pause", "free"]);
            here.ok(["unpause", "free"]);
        }
        here.ok(["rm", "-f", "held", "free"]);
    });
}
