//! What a command in a sandbox sees and may do, asked of real sandboxes. Needs root and busybox-static.

use crate::world::{Options, Parts, World, bind, can_mount};
use rbuild_sys::{
    SandboxError, SpawnError,
    sandbox::{Confinement, Identity, Mount, Network, Process},
    spawn::{Stdio, send_signal},
};
use std::{
    ffi::OsString,
    fs::{self, File},
    io::Read,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{MetadataExt, PermissionsExt, symlink},
    },
    path::Path,
    time::{Duration, Instant},
};

#[test]
fn the_world_is_as_dockers() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    let script = "id; hostname; pwd; echo pid $$; umask; cut -d' ' -f6 /proc/self/stat
        (echo x > /dev/tty) 2>/dev/null || echo no terminal
        ls -1 /dev; stat -c '%a %t:%T' /dev/null; ls /dev/shm /dev/mqueue
        grep -E '^(CapInh|CapPrm|CapEff|CapBnd|CapAmb|Seccomp|NoNewPrivs|SigIgn|SigBlk):' /proc/self/status
        readlink /proc/self/fd/3 || echo no descriptor";
    let output = world.shell(script, &Options::default());
    for line in [
        "uid=0 gid=0 groups=0",
        "buildkitsandbox",
        "\n/\n",
        "pid 1",
        "0022\n1\nno terminal\n",
        "0022",
        "\ncore\n",
        "666 1:3",
        "CapInh:\t0000000000000000",
        "CapPrm:\t00000000a80405fb",
        "CapEff:\t00000000a80405fb",
        "CapBnd:\t00000000a80405fb",
        "CapAmb:\t0000000000000000",
        "Seccomp:\t2",
        "NoNewPrivs:\t0",
        "SigIgn:\t0000000000000000",
        "SigBlk:\t0000000000000000",
        "no descriptor",
    ] {
        assert!(line == "\ncore\n" || output.contains(line), "{line:?} missing in\n{output}");
    }
    assert!(output.contains(
        "fd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n"
    ));
}

#[test]
fn mounts_are_those_of_the_specification() {
    if !can_mount() {
        return;
    }
    let output = World::new().shell("cat /proc/self/mountinfo", &Options::default());
    let has = |target: &str, parts: &[&str]| {
        let line = output.lines().rfind(|line| line.split(' ').nth(4) == Some(target));
        let line = line.unwrap_or_else(|| panic!("{target} is not mounted:\n{output}"));
        assert!(parts.iter().all(|part| line.contains(part)), "{line} lacks one of {parts:?}");
    };
    has("/", &["overlay", " rw"]);
    has("/proc", &["nosuid,nodev,noexec", "proc"]);
    has("/dev", &["nosuid", "tmpfs", "mode=755", "size=65536k"]);
    has("/dev/pts", &["devpts", "gid=5", "mode=620", "ptmxmode=666"]);
    has("/dev/shm", &["nosuid,nodev,noexec", "size=65536k"]);
    has("/dev/mqueue", &["mqueue"]);
    has("/sys", &[" ro,", "sysfs"]);
    has("/sys/fs/cgroup", &[" ro,"]);
    has("/proc/sys", &[" ro,"]);
    has("/proc/keys", &["/null"]);
    assert!(!output.contains(" /tmp "), "nothing of the host is left:\n{output}");
    assert!(output.lines().count() < 30, "nothing of the host is left:\n{output}");
}

#[test]
fn the_kernel_is_out_of_reach() {
    if !can_mount() {
        return;
    }
    let script = "for c in 'mount -t tmpfs x /tmp' 'umount /dev/shm' 'unshare -m true' 'unshare -U true' 'hostname x' \
        'test -s /proc/kcore' 'ls /sys/firmware/*' 'touch /proc/sys/kernel/x' 'touch /sys/x' 'grep . /proc/keys' \
        'mount -o remount,rw /sys'
        do $c 2>/dev/null && echo \"allowed: $c\"; done; mknod /tmp/n c 1 3 && echo made a node";
    let output = World::new().shell(script, &Options::default());
    assert_eq!(output, "made a node\n");
}

#[test]
fn insecure_steps_may_mount() {
    if !can_mount() {
        return;
    }
    let options = Options { confinement: Confinement::Insecure, ..Options::default() };
    let output =
        World::new().shell("mount -t tmpfs x /tmp; grep Seccomp: /proc/self/status; ls /dev/fuse", &options);
    assert_eq!(output, "Seccomp:\t0\n/dev/fuse\n");
}

#[test]
fn users_groups_and_directory_are_taken() {
    if !can_mount() {
        return;
    }
    let options = Options {
        identity: Identity { uid: 1234, gid: 55, groups: &[55, 7, 8] },
        directory: "/tmp",
        ..Options::default()
    };
    let script = "id; pwd; grep -E 'Cap(Prm|Eff|Bnd)' /proc/self/status; echo x > /dev/null";
    let output = World::new().shell(script, &options);
    let expected = "uid=1234 gid=55 groups=7,8,55\n/tmp\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n\
        CapBnd:\t00000000a80405fb\n";
    assert_eq!(output.replace("groups=55,7,8", "groups=7,8,55"), expected);
}

#[test]
fn the_network_can_be_taken_away() {
    if !can_mount() {
        return;
    }
    let options = Options { network: Network::None, ..Options::default() };
    // Kernels with tunnel drivers put devices of those, which are down, into every new network namespace.
    let script = "ip -o addr; for n in /sys/class/net/*; do read f < $n/flags; test $((f & 1)) = 0 || echo up ${n##*/}; done";
    let output = World::new().shell(script, &options);
    assert!(output.contains("127.0.0.1/8"), "{output}");
    let up: Vec<&str> = output.lines().filter(|line| line.starts_with("up ")).collect();
    assert_eq!(up, ["up lo"], "{output}");
}

#[test]
fn commands_are_found_as_execvp_finds_them() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    fs::create_dir_all(world.base.join("first/tool")).unwrap();
    fs::create_dir_all(world.base.join("second")).unwrap();
    fs::write(world.base.join("second/tool"), "#!/bin/sh\necho second\n").unwrap();
    fs::set_permissions(world.base.join("second/tool"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(world.base.join("second/text"), "echo no shebang\n").unwrap();
    fs::set_permissions(world.base.join("second/text"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(world.base.join("second/data"), "x").unwrap();
    let options = Options { path: "/missing:/first:/bin/busybox:/second:/bin", ..Options::default() };
    assert_eq!(world.run(&["tool"], &options).unwrap().output, "second\n");
    let failure = |command: &str| match world.run(&[command], &options) {
        Err(SandboxError::Spawn(error)) => error,
        other => panic!("{other:?}"),
    };
    assert!(matches!(failure("nothing"), SpawnError::NotInPath { .. }));
    assert!(matches!(failure("/bin/nothing"), SpawnError::NotFound { .. }));
    let errno = |error| match error {
        SpawnError::Exec { source, .. } => source.raw_os_error(),
        other => panic!("{other:?}"),
    };
    assert_eq!(errno(failure("data")), Some(libc::EACCES));
    assert_eq!(errno(failure("/tmp")), Some(libc::EACCES));
    assert_eq!(errno(failure("text")), Some(libc::ENOEXEC));
}

#[test]
fn exit_codes_and_signals_come_back() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    let options = Options::default();
    assert_eq!(world.run(&["sh", "-c", "exit 42"], &options).unwrap().code(), Some(42));
    let (mut running, _) =
        world.start(&["sleep", "100"], &options, &File::create("/dev/null").unwrap()).unwrap();
    running.child.kill().unwrap();
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&running.child.wait().unwrap()),
        Some(libc::SIGKILL)
    );
    running.child.kill().unwrap();
    assert!(send_signal(running.child.pidfd(), nix::sys::signal::Signal::SIGTERM).is_err());
}

#[test]
fn a_dropped_child_is_killed_with_all_it_started() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let writer = File::from(OwnedFd::from(writer));
    let (running, _) =
        world.start(&["sh", "-c", "sleep 600 & sleep 600"], &Options::default(), &writer).unwrap();
    drop(writer);
    let before = Instant::now();
    drop(running);
    reader.read_to_end(&mut Vec::new()).unwrap();
    assert!(before.elapsed() < Duration::from_secs(60), "the processes were waited for, not killed");
}

#[test]
fn a_failed_setup_names_the_call() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    let options = Options { directory: "/gone", ..Options::default() };
    let error = world.run(&["true"], &options).unwrap_err();
    assert_eq!(error.to_string(), "cannot open /gone in the image");
}

#[test]
fn mounts_of_the_caller_appear_in_order() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    let host = world.directory.path().join("host");
    fs::create_dir_all(&host).unwrap();
    fs::write(host.join("file"), "from the host\n").unwrap();
    symlink("/etc/real", world.base.join("etc/link")).unwrap();
    let parts = Parts::create(
        &world,
        &[("deep", "deep\n"), ("1", "first\n"), ("2", "second\n"), ("3", "through a link\n")],
    );
    let mount = |source, target: &str| Mount { source, target: target.into() };
    let mounts = [
        mount(parts.file("deep"), "/cache/sub/secret"),
        mount(bind(&host), "/cache"),
        mount(parts.file("1"), "/run/secrets/a"),
        mount(parts.file("2"), "/run/secrets/a"),
        mount(parts.file("3"), "/etc/link"),
        mount(bind(&host.join("file")), "/dev/shm/x"),
    ];
    let script = "cat /cache/file /cache/sub/secret /run/secrets/a /etc/real /dev/shm/x; stat -c %a:%u /cache/sub/secret
        echo x > /run/secrets/a || echo read-only; echo new > /cache/new; ls /dev/mqueue";
    let options = Options { mounts: &mounts, ..Options::default() };
    let outcome = world.run(&["sh", "-c", script], &options).unwrap();
    let text = "from the host\ndeep\nsecond\nthrough a link\nfrom the host\n400:0\n";
    assert!(
        outcome.output.starts_with(text) && outcome.output.ends_with("read-only\n"),
        "{}",
        outcome.output
    );
    assert_eq!(fs::read_to_string(host.join("new")).unwrap(), "new\n");
    let mut left: Vec<_> =
        fs::read_dir(&outcome.upper).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["dev", "etc", "proc", "sys"], "made to mount on, and gone");
    assert_eq!(fs::read_dir(outcome.upper.join("etc")).unwrap().count(), 0);
}

#[test]
fn used_mount_points_and_times_stay() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    let (root, upper) = world.root(&[&world.base]);
    let mut points = rbuild_sys::sandbox::MountPoints::new(root.as_fd()).unwrap();
    points.create(Path::new("/a/b/c"), rbuild_sys::sandbox::PartKind::Directory).unwrap();
    points.create(Path::new("/etc/hosts"), rbuild_sys::sandbox::PartKind::File).unwrap();
    fs::write(upper.join("a/b/kept"), "").unwrap();
    let before = fs::metadata(upper.join("etc")).unwrap();
    points.remove_unused().unwrap();
    let after = fs::metadata(upper.join("etc")).unwrap();
    assert!(
        upper.join("a/b/kept").exists() && !upper.join("a/b/c").exists() && !upper.join("etc/hosts").exists()
    );
    assert_eq!((before.mtime(), before.mtime_nsec()), (after.mtime(), after.mtime_nsec()));
    assert_eq!(fs::metadata(upper.join("a")).unwrap().mode() & 0o777, 0o755);
}

#[test]
fn what_leads_to_a_mount_point_may_be_replaced() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    let host = world.directory.path().join("host");
    fs::create_dir_all(&host).unwrap();
    for replacement in ["ln -s /etc /a", "ln -s a /a", "echo x > /a", "mkdir /a", "true"] {
        // the mounted directory itself stays busy, so its parent is moved
        let script = format!("mv /a /moved && {replacement}");
        let mounts = [Mount { source: bind(&host), target: "/a/b/c".into() }];
        let options = Options { mounts: &mounts, ..Options::default() };
        let outcome = world.run(&["sh", "-c", &script], &options).unwrap();
        assert_eq!((outcome.code(), outcome.output.as_str()), (Some(0), ""), "{replacement}");
        assert!(outcome.upper.join("moved/b").is_dir(), "{replacement}");
    }
}

#[test]
fn links_in_an_image_lead_nowhere_outside() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    let canary = world.directory.path().join("canary");
    fs::create_dir_all(&canary).unwrap();
    symlink(&canary, world.base.join("escape")).unwrap();
    let climb = format!("../../../../../../..{}", canary.display());
    symlink(climb, world.base.join("climb")).unwrap();
    let parts = Parts::create(&world, &[("x", "x")]);
    let mounts =
        ["/escape/a", "/climb/b"].map(|target| Mount { source: parts.file("x"), target: target.into() });
    let options = Options { mounts: &mounts, ..Options::default() };
    assert_eq!(world.shell("cat /escape/a /climb/b", &options), "xx");
    assert_eq!(fs::read_dir(&canary).unwrap().count(), 0);
}

#[test]
fn a_terminal_is_the_controlling_one() {
    if !can_mount() {
        return;
    }
    use rbuild_sys::terminal::{WindowSize, open_terminal_pair};
    let world = World::new();
    let pair = open_terminal_pair(WindowSize { rows: 33, columns: 99 }).unwrap();
    let (root, _) = world.root(&[&world.base]);
    let command = ["sh", "-c", "tty; busybox stty size; echo to tty > /dev/tty; ls -l /dev/console"]
        .map(OsString::from);
    let slave = pair.slave.as_fd();
    let spec = rbuild_sys::sandbox::SandboxSpec {
        root: root.as_fd(),
        root_access: rbuild_sys::sandbox::RootAccess::ReadWrite,
        process: Process {
            command: &command,
            environment: &["PATH=/bin".into()],
            directory: Path::new("/"),
            first: rbuild_sys::sandbox::FirstProcess::Command,
            identity: Identity { uid: 0, gid: 0, groups: &[] },
        },
        hostname: "h",
        domain: None,
        kernel: &std::collections::BTreeMap::new(),
        memory_score: None,
        network: Network::Host,
        mounts: &[],
        confinement: Confinement::Default,
        privilege: world.privilege,
        guard: &world.guard,
        cgroups: None,
        limits: &rbuild_sys::limits::Limits::default(),
        privileges: &rbuild_sys::privileges::Privileges::default(),
        terminal: Some(pair.devices.as_fd()),
        gate: None,
        stdio: Stdio { stdin: Some(slave), stdout: slave, stderr: slave },
    };
    let mut running = rbuild_sys::sandbox::start(&spec).unwrap();
    assert!(running.child.wait().unwrap().success());
    let mut master = File::from(pair.master);
    drop(pair.slave);
    let mut output = Vec::new();
    // What was written arrives in pieces; a terminal whose last user has gone then reads as EIO (pty(7)).
    let hung_up = master.read_to_end(&mut output).unwrap_err();
    assert_eq!(hung_up.raw_os_error(), Some(libc::EIO));
    let output = String::from_utf8_lossy(&output);
    for part in ["/dev/pts/0\r", "/dev/console", "33 99", "to tty"] {
        assert!(output.contains(part), "{part}: {output}");
    }
}
