//! What a container may not reach whatever it is given: processes of others, the terminal of the caller, the machine behind privileges of a
//! user's own; and files beside the target of a secret.

use super::{Arena, MOUNTS, Who, attack, dockerfile};
use rbuild_testkit::{Ran, has_program};
use std::process::Command;

/// Tries to trace and to read every process that there may be, and types into every terminal that it can open.
const REACH: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <unistd.h>
int main(void) {
  setvbuf(stdout, 0, _IONBF, 0);
  char here[8]; struct iovec own = {here, 8}, theirs = {(void *)0x400000, 8};
  for (int pid = 1; pid < 70000; pid++) {
    if (pid == getpid()) continue;
    if (!ptrace(PTRACE_SEIZE, pid, 0, 0)) printf("reached by tracing %d\n", pid);
    if (process_vm_readv(pid, &own, 1, &theirs, 1, 0) >= 0 || errno == EFAULT) printf("reached the memory of %d\n", pid);
  }
  const char *names[] = {"/dev/tty", "/dev/console", "/dev/pts/0", "/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2"};
  for (int i = 0; i < 9; i++) {
    int fd = i < 3 ? i : open(names[i - 3], O_RDWR | O_NOCTTY | O_NONBLOCK);
    if (fd >= 0 && (isatty(fd) || !ioctl(fd, TIOCSTI, "x"))) printf("reached a terminal %d\n", i);
  }
  printf("looked around\n");
  return 0;
}
"#;

#[test]
fn no_process_and_no_terminal_of_the_caller_is_reached() {
    let test = "no_process_and_no_terminal_of_the_caller_is_reached";
    attack(test, |arena| {
        if !arena.compiled(test, "reach", REACH) || !has_program("script", test) {
            return;
        }
        for mount in MOUNTS {
            for user in ["0", "1000"] {
                let text =
                    dockerfile(mount, &format!("COPY reach /reach\nUSER {user}\nRUN MOUNT [\"/reach\"]"));
                let context = arena.here.context("c", &text, &[("file", "")]).display().to_string();
                let words = ["build", "--progress=plain", "--no-cache", "-t", "x", &context];
                is_not_reached(arena, &on_a_terminal(arena, &words));
            }
        }
        arena.here.ok(["run", "-d", "--name=other", "-u", "0", "x", "sleep", "600"]);
        for words in [
            &["run", "--rm", "-i", "-u", "0", "x", "/reach"][..],
            &["run", "--rm", "--cap-add=SYS_PTRACE", "-u", "0", "x", "/reach"],
            &["exec", "-i", "-u", "1000", "other", "/reach"],
        ] {
            is_not_reached(arena, &on_a_terminal(arena, words));
        }
        arena.here.ok(["rm", "-f", "other"]);
    });
}

fn is_not_reached(arena: &Arena, ran: &Ran) {
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert!(said.contains("looked around") && !said.contains("reached "), "{:?}: {ran:#?}", arena.who);
}

/// Runs rbuild with a terminal of its own as its three streams and as its controlling one.
fn on_a_terminal(arena: &Arena, words: &[&str]) -> Ran {
    let inner = arena.here.command(words);
    let quoted = |word: &std::ffi::OsStr| format!("'{}'", word.to_str().unwrap().replace('\'', "'\\''"));
    let line: Vec<String> =
        std::iter::once(inner.get_program()).chain(inner.get_args()).map(quoted).collect();
    let mut command = Command::new("script");
    command.args(["-qec", &line.join(" "), "/dev/null"]).current_dir(arena.here.path());
    command.env_clear().envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let ran = Ran::of(command.stdin(std::process::Stdio::null()).output().unwrap());
    arena.assert_safe(&ran, &words.join(" "));
    ran
}

#[test]
fn privileges_of_a_user_reach_nothing_that_is_not_the_user_s() {
    // what `--privileged` gives to a container of root is the machine; a user's is root of the user's namespace alone
    let look = "for f in /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sysrq-trigger /proc/sys/vm/drop_caches \
        /sys/kernel/uevent_helper /sys/power/state; do if test -f $f && (true >> $f) 2>/dev/null; then echo reached $f; fi; done; \
        mkdir -p /c; for c in memory pids devices cgroup2; do if test $c = cgroup2; then mount -t cgroup2 none /c; else mount -t cgroup -o $c none /c; fi 2>/dev/null; \
        for f in $(find /c /sys/fs/cgroup -name release_agent -o -name devices.allow -o -name memory.limit_in_bytes -o -name cgroup.subtree_control); do \
        (true >> $f) 2>/dev/null && echo reached $c $f; done; umount /c 2>/dev/null; done; \
        mount -t devtmpfs none /c 2>/dev/null && echo reached devtmpfs; mknod /n b 7 0 2>/dev/null && echo reached mknod; \
        for n in mnt pid net ipc uts user; do nsenter --$n=/proc/1/ns/$n true 2>/dev/null; done; \
        for p in /proc/[0-9]*; do ls $p/root/BAIT $p/cwd/bait; done 2>/dev/null; chroot /proc/1/root cat BAIT/secret 2>/dev/null; echo looked";
    attack("privileges_of_a_user_reach_nothing_that_is_not_the_user_s", |arena| {
        if arena.who == Who::Root {
            return;
        }
        let look = look.replace("BAIT", &arena.bait().display().to_string());
        let script = format!("{look}; {}", super::search(arena));
        for words in [
            &["run", "--rm", "--privileged", "busybox", "sh", "-c", &script][..],
            &[
                "run",
                "--rm",
                "--cap-add=ALL",
                "--security-opt=seccomp=unconfined",
                "--security-opt=systempaths=unconfined",
                "busybox",
                "sh",
                "-c",
                &script,
            ],
            &["run", "--rm", "--privileged", "--device=/dev/null:/dev/other", "busybox", "sh", "-c", &script],
        ] {
            let ran = arena.run(words);
            assert!(ran.stdout.contains("looked") && !ran.stdout.contains("reached"), "{ran:#?}");
        }
        let text = format!("FROM busybox\nRUN --security=insecure {script}\n");
        let ran = arena.build_with(&["--allow=security.insecure"], &text);
        let reached = ran.stderr.lines().find(|line| line.contains(" reached ") && !line.contains("RUN"));
        assert_eq!((ran.code, reached), (0, None), "{ran:#?}");
    });
}

#[test]
fn a_secret_s_target_that_is_a_link_is_the_image_s() {
    attack("a_secret_s_target_that_is_a_link_is_the_image_s", |arena| {
        let bait = arena.bait().display().to_string();
        let secret =
            arena.here.context("given", "", &[("secret", "the secret that is given\n")]).join("secret");
        let flag = format!("--secret=id=s,src={}", secret.display());
        for target in
            [bait.as_str(), "/proc/self/root", "/proc/1/cwd", "../../../../../..", "/proc/self/fd/4/.."]
        {
            for place in ["/l", "/l/reached", "/l/empty-file", "/l/bait/reached", "/l/deep/reached"] {
                let mount = format!("--mount=type=secret,id=s,target={place}");
                let lines =
                    format!("RUN ln -s {target} /l\nRUN {mount} cat {place}; echo more >> {place}; true");
                arena.build_with(&[&flag], &dockerfile("", &lines));
            }
        }
        // what was made to mount on is exchanged for a link before it is cleaned up
        for exchange in [
            format!("mv /d /e; ln -s {bait} /d"),
            format!("mv /d /e; mkdir /d; ln -s {bait}/empty-file /d/empty-file; ln -s {bait}/empty /d/empty"),
            "mv /d /e; ln -s /proc/self/cwd /d".to_owned(),
        ] {
            let mounts =
                "--mount=type=secret,id=s,target=/d/empty-file --mount=type=secret,id=s,target=/d/empty/file";
            let ran = arena.build_with(&[&flag], &dockerfile("", &format!("RUN {mounts} {exchange}")));
            assert_eq!(ran.code, 0, "{:?}: {ran:#?}", arena.who);
        }
    });
}
