//! The system calls a container has no use for, and the ways around a filter that knows their numbers.

use super::{Arena, MOUNTS, SECRET, attack, dockerfile};
use rbuild_testkit::Ran;
use std::process::Command;

/// Tries each call and prints the names of those that the kernel carried out, or would have if their arguments were right.
const CALLS: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
/* done: it was carried out. Anything but EPERM and ENOSYS of a call that only a filter stops here counts as well. */
static void done(const char *name, long r) { if (r >= 0) printf("done %s\n", name); }
static void filtered(const char *name, long r) { if (r >= 0 || (errno != EPERM && errno != ENOSYS)) printf("done %s %ld %d\n", name, r, errno); }
static long in_child(long (*f)(void)) { int p = fork(); if (!p) _exit(f() >= 0 ? 0 : 1); int s; waitpid(p, &s, 0); errno = EPERM; return s ? -1 : 0; }
static long user_ns(void) { return unshare(CLONE_NEWUSER); }
static long mount_ns(void) { return unshare(CLONE_NEWNS); }
static long net_ns(void) { return unshare(CLONE_NEWNET); }
static long pid_ns(void) { return unshare(CLONE_NEWPID); }
static long cgroup_ns(void) { return unshare(CLONE_NEWCGROUP); }
static long time_ns(void) { return unshare(CLONE_NEWTIME); }
static long cloned(void) { return syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0); }
static long cloned3(void) { unsigned long a[11] = {CLONE_NEWUSER, 0, 0, 0, SIGCHLD}; return syscall(SYS_clone3, a, 88); }
int main(void) {
  setvbuf(stdout, 0, _IONBF, 0);
  done("userns", in_child(user_ns)); done("mntns", in_child(mount_ns)); done("netns", in_child(net_ns));
  done("pidns", in_child(pid_ns)); done("cgroupns", in_child(cgroup_ns)); done("timens", in_child(time_ns));
  done("clone", in_child(cloned)); done("clone3", in_child(cloned3));
  done("mount", mount("none", "/tmp", "tmpfs", 0, 0)); done("remount", mount("/", "/", 0, MS_REMOUNT | MS_BIND, 0));
  done("bind", mount("/proc", "/tmp", 0, MS_BIND, 0)); done("umount", umount2("/proc/kcore", MNT_DETACH));
  done("umount-proc", umount2("/proc", MNT_DETACH)); done("umount-sys", umount2("/sys/firmware", MNT_DETACH));
  filtered("fsopen", syscall(SYS_fsopen, "tmpfs", 0)); filtered("open_tree", syscall(SYS_open_tree, AT_FDCWD, "/", 1));
  filtered("move_mount", syscall(SYS_move_mount, -1, "", -1, "", 4)); filtered("pivot_root", syscall(SYS_pivot_root, "/", "/"));
  filtered("mount_setattr", syscall(SYS_mount_setattr, AT_FDCWD, "/", 0, 0, 0));
  int fd = open("/", O_RDONLY | O_DIRECTORY); char handle[136] = {128, 0, 0, 0, 1}; *(int *)handle = 8;
  filtered("open_by_handle_at", syscall(SYS_open_by_handle_at, fd, handle, O_RDONLY));
  filtered("setns", syscall(SYS_setns, open("/proc/self/ns/mnt", O_RDONLY), 0));
  filtered("keyctl", syscall(SYS_keyctl, 0, -3, 0)); filtered("add_key", syscall(SYS_add_key, "user", "k", "v", 1, -3));
  filtered("request_key", syscall(SYS_request_key, "user", "k", 0, 0));
  filtered("io_uring_setup", syscall(SYS_io_uring_setup, 1, 0)); filtered("bpf", syscall(SYS_bpf, 0, 0, 0));
  filtered("perf_event_open", syscall(SYS_perf_event_open, 0, 0, -1, -1, 0)); filtered("userfaultfd", syscall(SYS_userfaultfd, 0));
  filtered("kexec_load", syscall(SYS_kexec_load, 0, 0, 0, 0)); filtered("init_module", syscall(SYS_init_module, 0, 0, 0));
  filtered("finit_module", syscall(SYS_finit_module, -1, 0, 0)); filtered("delete_module", syscall(SYS_delete_module, "x", 0));
  filtered("acct", syscall(SYS_acct, "/x")); filtered("swapon", syscall(SYS_swapon, "/x", 0)); filtered("reboot", syscall(SYS_reboot, 0, 0, 0, 0));
  filtered("syslog", syscall(SYS_syslog, 3, 0, 0)); filtered("settimeofday", syscall(SYS_settimeofday, "x", 0));
  filtered("clock_settime", syscall(SYS_clock_settime, 0, 0)); filtered("quotactl", syscall(SYS_quotactl, 0, 0, 0, 0));
  filtered("lookup_dcookie", syscall(212, 0, 0, 0)); filtered("nfsservctl", syscall(180, 0)); filtered("fanotify", syscall(SYS_fanotify_init, 0, 0));
  filtered("iopl", syscall(SYS_iopl, 3)); filtered("ioperm", syscall(SYS_ioperm, 0x80, 1, 1)); filtered("vhangup", syscall(SYS_vhangup));
  filtered("move_pages", syscall(SYS_move_pages, 1, 0, 0, 0, 0, 0)); filtered("process_vm", syscall(SYS_kcmp, 1, 1, 0, 0, 0) >= 0 ? -1 : -1);
  filtered("chroot-out", -1 + 0 * chdir("/"));
  /* the same by other tables: x32 and, for 32 bits, int 0x80 */
  filtered("x32 mount", syscall(0x40000000 + SYS_mount, "none", "/tmp", "tmpfs", 0, 0));
  long r; __asm__ volatile("int $0x80" : "=a"(r) : "a"(310), "b"(CLONE_NEWUSER) : "memory"); errno = -r; filtered("i386 unshare", r < 0 ? -1 : r);
  __asm__ volatile("int $0x80" : "=a"(r) : "a"(288), "b"(0), "c"(-3), "d"(0) : "memory"); errno = -r; filtered("i386 keyctl", r < 0 ? -1 : r);
  __asm__ volatile("int $0x80" : "=a"(r) : "a"(425), "b"(1), "c"(0) : "memory"); errno = -r; filtered("i386 io_uring", r < 0 ? -1 : r);
  printf("no_new_privs %d seccomp %d dumpable %d\n", prctl(PR_GET_NO_NEW_PRIVS), prctl(PR_GET_SECCOMP), prctl(PR_GET_DUMPABLE));
  /* what is not of this container cannot be seen, so neither traced nor signalled */
  printf("others %d\n", kill(getppid() ? getppid() : 99999, 0) == 0 && getppid() > 0 && getpid() == 1);
  return 0;
}
"#;

#[test]
fn calls_that_concern_the_machine_are_refused() {
    let test = "calls_that_concern_the_machine_are_refused";
    if std::env::consts::ARCH != "x86_64" {
        return rbuild_testkit::skip("the numbers it tries are those of x86_64");
    }
    attack(test, |arena| {
        if !arena.compiled(test, "calls", CALLS) {
            return;
        }
        for mount in MOUNTS {
            for user in ["0", "1000"] {
                let text =
                    dockerfile(mount, &format!("COPY calls /calls\nUSER {user}\nRUN MOUNT [\"/calls\"]"));
                let said = arena.builds(&text);
                let done: Vec<&str> = said.lines().filter(|line| line.contains(" done ")).collect();
                assert_eq!(done, Vec::<&str>::new(), "{:?} {mount} {user}", arena.who);
                assert!(said.contains(" seccomp 2 "), "{said}");
            }
        }
        let ran = arena.run(&["run", "--rm", "-u", "0", "x", "/calls"]);
        assert!(ran.code == 0 && !ran.stdout.contains("done "), "{:?}: {ran:#?}", arena.who);
    });
}

#[test]
fn no_capability_but_the_usual_ones_can_be_had() {
    attack("no_capability_but_the_usual_ones_can_be_had", |arena| {
        let look = "grep -E 'Cap|NoNewPrivs|Seccomp:' /proc/self/status";
        for mount in MOUNTS {
            let said = arena.builds(&dockerfile(mount, &format!("RUN --network=none MOUNT {look}")));
            for line in [
                "CapInh:\t0000000000000000",
                "CapBnd:\t00000000a80425fb",
                "CapAmb:\t0000000000000000",
                "Seccomp:\t2",
            ] {
                assert!(said.contains(line), "{:?}: {line}: {said}", arena.who);
            }
            // a set-user-id program gives an ordinary user of the container no more than its root has
            let script = format!(
                "mkdir /s && cp /bin/busybox /s/busybox && chmod 4755 /s/busybox\nUSER 1000\nRUN --network=none MOUNT /s/busybox sh -c \"{look}\""
            );
            let said = arena.builds(&dockerfile(mount, &format!("RUN {script}")));
            assert!(said.contains("CapBnd:\t00000000a80425fb"), "{said}");
        }
    });
}

#[test]
fn only_processes_of_the_container_are_seen() {
    attack("only_processes_of_the_container_are_seen", |arena| {
        let look = "for p in /proc/[0-9]*; do echo sees $(cat $p/comm); done; kill -9 -1; ls /proc/1/root/; \
            cat /proc/1/environ | tr '\\0' '\\n'; true";
        for mount in MOUNTS {
            let said = arena.builds(&dockerfile(mount, &format!("RUN MOUNT {look}")));
            for line in said.lines().filter(|line| line.contains(" sees ")) {
                assert!(
                    line.ends_with("sees sh") || line.ends_with("sees cat") || line.contains("RUN"),
                    "{:?}: {line}",
                    arena.who
                );
            }
            assert!(!said.contains("RBUILD_ROOT="), "{said}");
        }
    });
}

/// With `hold WORD PROGRAM…` it executes the program with a session keyring of its own, in which a key holds the word; else it prints
/// what that key holds, if it can be found.
const KEYS: &str = r#"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int count, char **words) {
  if (count > 3 && !strcmp(words[1], "hold")) {
    if (syscall(SYS_keyctl, 1, 0) < 0 || syscall(SYS_add_key, "user", "rbuild-bait", words[2], strlen(words[2]), -3) < 0) return 1;
    execvp(words[3], words + 3);
    return 1;
  }
  char text[64] = "";
  long key = syscall(SYS_keyctl, 10, -3, "user", "rbuild-bait", 0);
  if (key >= 0) syscall(SYS_keyctl, 11, key, text, 63);
  printf("looked for a key: %s\n", key >= 0 ? text : strerror(errno));
  return 0;
}
"#;

#[test]
fn keys_of_the_caller_are_out_of_reach() {
    let test = "keys_of_the_caller_are_out_of_reach";
    attack(test, |arena| {
        if !arena.compiled(test, "keys", KEYS) {
            return;
        }
        let (held, looked) = (holding(arena, &["version"]), "looked for a key: ");
        if held.code != 0 {
            return rbuild_testkit::skip_named(test, "keys cannot be made here");
        }
        // what may call keyctl has an empty keyring of its own, not that of the one who builds
        let text = dockerfile("", "COPY keys /keys\nRUN --security=insecure [\"/keys\"]");
        let context = arena.here.context("c", &text, &[]).display().to_string();
        let build =
            ["build", "--progress=plain", "--no-cache", "--allow=security.insecure", "-t", "x", &context];
        let ran = holding(arena, &build);
        assert!(ran.code == 0 && ran.stderr.contains(looked), "{:?}: {ran:#?}", arena.who);
        for flag in ["--privileged", "--security-opt=seccomp=unconfined"] {
            let ran = holding(arena, &["run", "--rm", flag, "x", "/keys"]);
            assert!(ran.code == 0 && ran.stdout.contains(looked), "{:?} {flag}: {ran:#?}", arena.who);
        }
        arena.here.ok(["run", "-d", "--name=keyless", "x", "sleep", "600"]);
        let ran = holding(arena, &["exec", "--privileged", "keyless", "/keys"]);
        arena.here.ok(["rm", "-f", "keyless"]);
        assert!(ran.code == 0 && ran.stdout.contains(looked), "{:?}: {ran:#?}", arena.who);
    });
}

/// Runs rbuild with a key in its session keyring that holds the bait's word.
fn holding(arena: &Arena, words: &[&str]) -> Ran {
    let inner = arena.here.command(words);
    let mut command = Command::new(arena.here.path().join("c/keys"));
    command.args(["hold", SECRET]).arg(inner.get_program()).args(inner.get_args());
    command.env_clear().envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let ran = Ran::of(command.current_dir(arena.here.path()).output().unwrap());
    arena.assert_safe(&ran, &words.join(" "));
    ran
}
