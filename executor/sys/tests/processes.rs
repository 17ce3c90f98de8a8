//! Cases that need a process of their own, so this program executes itself: an ordinary user entering a user
//! namespace, which only one thread may do, and a builder that is killed.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test program that is its own harness")]

#[expect(dead_code, reason = "shared with the tests in containers, which use all of it")]
#[path = "containers/world.rs"]
mod world;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rbuild_sys::{
    sandbox::{Confinement, Identity, Network},
    userns::{PrivilegeKind, enter_user_namespace, namespace_kind},
};
use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use world::{Options, World};

const USER: &str = "rbuild-test";

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("inside") => inside_a_user_namespace(),
        Some("without-ids") => println!("{}", enter_user_namespace().unwrap_err()),
        Some("builder") => wait_in_a_container(),
        _ => {
            if world::can_mount() {
                a_killed_builder_takes_its_container_along();
                an_ordinary_user_gets_the_same_world();
                a_user_without_ids_is_told_what_to_do();
            }
        }
    }
}

/// Starts a container, says the number of its first process, and waits for its end.
fn wait_in_a_container() {
    let world = World::new();
    let null = File::create("/dev/null").unwrap();
    // As another user, because a change of credentials is what could lose the signal.
    let identity = Identity { uid: 4321, gid: 4321, groups: &[] };
    let options = Options { identity, ..Options::default() };
    // It ignores what can be ignored, and has processes in other sessions.
    let script = "trap '' HUP INT QUIT TERM; busybox setsid sleep 1000 & (sleep 1000 &) ; sleep 1000 & wait";
    let (mut running, _) = world.start(&["sh", "-c", script], &options, &null).unwrap();
    println!("{}", running.child.pid().unwrap());
    running.child.wait().unwrap();
}

fn a_killed_builder_takes_its_container_along() {
    let own = std::env::current_exe().unwrap();
    for signal in [Signal::SIGKILL, Signal::SIGQUIT, Signal::SIGABRT, Signal::SIGTERM] {
        // A shell that starts this in the background has some of them ignored.
        let mut builder = Command::new("env");
        let builder = builder.arg("--default-signal").arg(&own).arg("builder").stdout(Stdio::piped());
        let mut builder = builder.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(builder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let process = Path::new("/proc").join(line.trim());
        let cmdline = || fs::read(process.join("cmdline")).unwrap_or_default();
        // The builder hears of the exec before the kernel has put the new arguments in place.
        wait_until("the command to run", || cmdline().starts_with(b"sh"));
        let inner = || children(line.trim()).iter().filter(|child| !child.is_empty()).count();
        wait_until("the container to be full", || inner() == 3);
        kill(Pid::from_raw(builder.id() as i32), signal).unwrap();
        builder.wait().unwrap();
        // Reaped by the machine's first process, or a zombie where that one does not.
        wait_until("the container to end with its builder", || cmdline().is_empty() && inner() == 0);
        println!("a builder killed by {signal} takes its container along ... ok");
    }
}

/// The command lines of a process's children.
fn children(pid: &str) -> Vec<Vec<u8>> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let cmdline = |child: &str| fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
    list.split_ascii_whitespace().map(cmdline).collect()
}

fn wait_until(what: &str, done: impl Fn() -> bool) {
    let limit = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < limit, "waited a minute for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn an_ordinary_user_gets_the_same_world() {
    if !user_exists() || !namespaces_are_allowed() {
        return;
    }
    let output = as_user(USER, "inside");
    assert!(output.1, "{}", output.0);
    print!("{}", output.0);
}

fn a_user_without_ids_is_told_what_to_do() {
    let (output, _) = as_user("nobody", "without-ids");
    if output.contains("refuses") {
        rbuild_testkit::skip_named("a_user_without_ids_is_told_what_to_do", output);
        return;
    }
    for part in ["nobody has no subordinate ids in /etc/subuid", "uidmap"] {
        assert!(output.contains(part), "{output}");
    }
    println!("a user without ids is told what to do ... ok");
}

/// A user with subordinate ids, made if there is none: useradd gives them.
fn user_exists() -> bool {
    let has_ids = || {
        fs::read_to_string("/etc/subuid")
            .unwrap_or_default()
            .lines()
            .any(|line| line.starts_with(&format!("{USER}:")))
    };
    if !has_ids() {
        drop(Command::new("useradd").args(["--create-home", "--shell", "/bin/sh", USER]).status());
    }
    if !has_ids() || !Path::new("/usr/bin/newuidmap").exists() {
        let why = format_args!("no user {USER} with subordinate ids could be made, or newuidmap is missing");
        rbuild_testkit::skip_named("an_ordinary_user_gets_the_same_world", why);
        return false;
    }
    true
}

/// True if this kernel lets ordinary users have user namespaces with rights in them; some distributions do not.
fn namespaces_are_allowed() -> bool {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "unshare", "--map-root-user", "true"]);
    let allowed = command.current_dir("/").output().is_ok_and(|output| output.status.success());
    if !allowed {
        let why = "ordinary users get no user namespaces here";
        rbuild_testkit::skip_named("an_ordinary_user_gets_the_same_world", why);
    }
    allowed
}

/// Runs this program as `user`; its output and whether it succeeded.
fn as_user(user: &str, argument: &str) -> (String, bool) {
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = place.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let (reuid, regid) = (format!("--reuid={user}"), "--init-groups");
    let group = nix::unistd::User::from_name(user).unwrap().unwrap().gid.to_string();
    let output = Command::new("setpriv")
        .args([&reuid, regid, "--regid", &group])
        .arg(&copy)
        .arg(argument)
        .current_dir("/")
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (String::from_utf8_lossy(&text).into_owned(), output.status.success())
}

fn inside_a_user_namespace() {
    enter_user_namespace().unwrap();
    assert_eq!(namespace_kind().unwrap(), PrivilegeKind::UserNamespace);
    assert!(nix::unistd::geteuid().is_root());
    let world = World::new();
    for network in [Network::Host, Network::None] {
        let options = Options { network, ..Options::default() };
        let script = "id; hostname; echo x > /dev/null; head -c 4 /dev/urandom > /tmp/x; ls /proc/self/fd > /dev/null
            ls /sys/class > /dev/null; touch /sys/x 2>/dev/null || echo read-only
            mount -t tmpfs x /tmp 2>/dev/null || echo refused; busybox chown 1234:55 /tmp/x; stat -c %u:%g /tmp/x
            grep -E 'CapEff|Seccomp:' /proc/self/status; ls /dev/shm /dev/pts";
        let output = world.shell(script, &options);
        for part in [
            "uid=0 gid=0",
            "buildkitsandbox",
            "read-only",
            "refused",
            "1234:55",
            "CapEff:\t00000000a80",
            "Seccomp:\t2",
        ] {
            assert!(output.contains(part), "{network:?} {part}: {output}");
        }
        println!("an ordinary user gets the same world, network {network:?} ... ok");
    }
    let user = Options { identity: Identity { uid: 33, gid: 33, groups: &[33, 44] }, ..Options::default() };
    assert!(world.shell("id", &user).starts_with("uid=33 gid=33 groups=33,44"));
    let insecure = Options { confinement: Confinement::Insecure, ..Options::default() };
    assert_eq!(world.shell("mount -t tmpfs x /tmp; echo mounted", &insecure), "mounted\n");
    println!("an ordinary user may change identity and confinement ... ok");
}
