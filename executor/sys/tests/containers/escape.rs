//! Known ways out of a container, each tried against a real one. Needs root and busybox-static.

use crate::world::{Options, World, bind, can_mount};
use rbuild_sys::{SandboxError, sandbox::Mount};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
};

/// Descriptors that a builder may have open.
const DESCRIPTORS: std::ops::Range<i32> = 3..48;

#[test]
fn a_working_directory_cannot_be_a_descriptor() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    let host = world.directory.path().join("host");
    fs::create_dir(&host).unwrap();
    // directories of the host that a builder holds, as it holds a context
    let _held: Vec<_> = (0..20).map(|_| fs::File::open(&host).unwrap()).collect();
    for mounts in [vec![], vec![Mount { source: bind(&host), target: "/context".into() }]] {
        for number in DESCRIPTORS {
            for shape in
                ["/proc/self/fd/{}", "/proc/1/fd/{}", "/proc/self/fd/{}/..", "/proc/self/task/1/fd/{}"]
            {
                let directory = shape.replace("{}", &number.to_string());
                let options = Options { mounts: &mounts, directory: &directory, ..Options::default() };
                let error = world.run(&["touch", "reached"], &options).unwrap_err();
                assert!(matches!(error, SandboxError::Spawn(_)), "{directory}: {error}");
            }
        }
    }
    assert_eq!(fs::read_dir(&host).unwrap().count(), 0, "the host was written to");
}

#[test]
fn a_working_directory_in_proc_is_a_directory_like_any_other() {
    if !can_mount() {
        return;
    }
    let options = Options { directory: "/proc/self/net", ..Options::default() };
    assert_eq!(World::new().shell("test -e dev && echo here", &options), "here\n");
}

#[test]
fn a_mount_target_cannot_lead_through_a_descriptor() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    let host = world.directory.path().join("host");
    fs::create_dir_all(host.join("deep")).unwrap();
    let _held: Vec<_> = (0..20).map(|_| fs::File::open(host.join("deep")).unwrap()).collect();
    for number in DESCRIPTORS {
        let link = world.base.join(format!("link{number}"));
        symlink(format!("/proc/self/fd/{number}/.."), link).unwrap();
    }
    for number in DESCRIPTORS {
        let mounts = [
            Mount { source: bind(&host.join("deep")), target: "/first".into() },
            Mount { source: bind(&host.join("deep")), target: format!("/link{number}/made").into() },
        ];
        let options = Options { mounts: &mounts, ..Options::default() };
        // it may work, with a directory that is made in the image's own /proc
        drop(world.run(&["true"], &options));
    }
    let names: Vec<_> = fs::read_dir(&host).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["deep"], "a directory was made on the host");
}

#[test]
fn nothing_is_mounted_on_proc() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    let host = world.directory.path().join("host");
    fs::create_dir_all(host.join("self/fd")).unwrap();
    for target in ["/proc", "/proc/self", "/proc/sys/kernel"] {
        let mounts = [Mount { source: bind(&host), target: target.into() }];
        let options = Options { mounts: &mounts, ..Options::default() };
        let error = world.run(&["true"], &options).unwrap_err();
        assert!(matches!(error, SandboxError::MountTarget { .. }), "{target}: {error}");
    }
    symlink("/proc", world.base.join("link")).unwrap();
    let mounts = [Mount { source: bind(&host), target: "/link".into() }];
    let options = Options { mounts: &mounts, ..Options::default() };
    assert_eq!(
        world.shell("cat /proc/1/comm; touch /proc/sys/x 2>/dev/null || echo no", &options),
        "sh\nno\n"
    );
}

#[test]
fn masks_are_not_the_callers_to_choose() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    let file = world.directory.path().join("file");
    fs::write(&file, "chosen").unwrap();
    let mounts = [Mount { source: bind(&file), target: "/dev/null".into() }];
    let options = Options { mounts: &mounts, ..Options::default() };
    assert_eq!(
        world.shell(
            "cat /dev/null /proc/keys; cat /proc/kcore /proc/timer_list 2>/dev/null || true",
            &options
        ),
        "chosen"
    );
}

#[test]
fn proc_and_sys_must_be_directories_of_the_image() {
    if !can_mount() {
        return;
    }
    for name in ["proc", "sys"] {
        let world = World::new();
        symlink("tmp", world.base.join(name)).unwrap();
        let error = world.run(&["true"], &Options::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("/{name} of the image is a symbolic link: a container needs a directory there")
        );
    }
}

#[test]
fn dev_may_be_a_link_inside_the_image() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    fs::create_dir(world.base.join("devices")).unwrap();
    symlink("/devices", world.base.join("dev")).unwrap();
    assert_eq!(world.shell("echo x > /dev/null; ls /devices/full", &Options::default()), "/devices/full\n");
}

#[test]
fn the_builder_is_no_file_of_the_container() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    let own = std::env::current_exe().unwrap();
    let before = fs::metadata(&own).unwrap();
    let script = world.base.join("bin/script");
    fs::write(&script, "#!/proc/self/exe\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    symlink("/proc/self/exe", world.base.join("bin/link")).unwrap();
    for command in ["/proc/self/exe", "/proc/1/exe", "/proc/thread-self/exe", "/bin/script", "link"] {
        // the small program in memory, which knows nothing to do with such arguments
        let outcome = world.run(&[command, "--list"], &Options::default()).unwrap();
        assert_eq!((outcome.code(), outcome.output.as_str()), (Some(127), ""), "{command}");
    }
    // a library that is loaded in its place sees no file of the host either
    let seen = world.shell("ls -l /proc/self/exe /proc/1/exe", &Options::default());
    assert!(!seen.contains(own.to_str().unwrap()) && seen.contains("/bin/busybox"), "{seen}");
    let after = fs::metadata(&own).unwrap();
    assert_eq!(before.permissions(), after.permissions());
}

#[test]
fn the_program_in_memory_takes_any_arguments() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    // arguments that mean something to it, given by the container: a command that is executed, a wait that ends
    // at once and writes to its own output
    for (name, arguments, expected) in [
        ("x", &["/bin/echo", "", "echo", "inside"][..], (Some(0), "inside\n")),
        ("x", &["/nothing", "", "echo"], (Some(127), "")),
        ("x", &[], (Some(127), "")),
        ("g", &[], (Some(127), "0")),
    ] {
        drop(symlink("/proc/self/exe", world.base.join(name)));
        let command: Vec<&str> = [name].into_iter().chain(arguments.iter().copied()).collect();
        let outcome = world.run(&command, &Options { path: "/", ..Options::default() }).unwrap();
        assert_eq!((outcome.code(), outcome.output.as_str()), expected, "{name} {arguments:?}");
    }
}

#[test]
fn devices_open_only_where_they_belong() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    let host = world.directory.path().join("host");
    fs::create_dir(&host).unwrap();
    let mounts = [Mount { source: bind(&host), target: "/context".into() }];
    let options = Options { mounts: &mounts, ..Options::default() };
    let script = "for place in / /tmp /dev /dev/shm; do
            mknod $place/null c 1 3 2>/dev/null || mknod $place/other c 1 3
            for node in $place/other $place/null; do
                test $node = /dev/null && continue
                test -e $node && cat $node 2>/dev/null && echo opened $node
            done
            mknod $place/disk b 7 0; cat $place/disk 2>/dev/null && echo opened $place/disk
        done; stat -c '%F %t:%T' /tmp/null /disk";
    let output = world.shell(&format!("set +e\n{script}"), &options);
    assert_eq!(output, "character special file 1:3\nblock special file 7:0\n");
}

#[test]
fn the_hosts_device_nodes_stay_as_they_are() {
    if !can_mount() {
        return;
    }
    let nodes = ["null", "zero", "full", "random", "urandom", "tty"].map(|name| Path::new("/dev").join(name));
    let state =
        || nodes.clone().map(|node| (node.metadata().unwrap().mode(), node.metadata().unwrap().uid()));
    let before = state();
    let script = "for n in /dev/fd/0 /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty; do
            chmod 640 $n; busybox chown 5:5 $n; done; stat -L -c %a:%u /dev/null /dev/fd/0";
    let output = World::new().shell(script, &Options::default());
    let after = state();
    for (node, (mode, owner)) in nodes.iter().zip(before) {
        // what a failing test has done must not stay
        fs::set_permissions(node, fs::Permissions::from_mode(mode & 0o7777)).unwrap();
        std::os::unix::fs::chown(node, Some(owner), None).unwrap();
    }
    assert_eq!(before, after);
    assert_eq!(output, "640:5\n640:5\n", "its own nodes are the container's to change");
}

#[test]
fn packets_cannot_be_forged_on_the_hosts_network() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    let script = "busybox arping -c 1 -I lo 127.0.0.1 2>&1 | grep -q 'not permitted' && echo refused";
    assert_eq!(world.shell(script, &Options::default()), "refused\n");
}

#[test]
fn each_container_is_the_root_of_its_own_control_group() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    if !world.cgroups.are_made() {
        rbuild_testkit::skip("no control group can be made here");
        return;
    }
    let inside = world.shell("cut -d: -f2,3 /proc/self/cgroup", &Options::default());
    assert!(
        inside.lines().all(|line| !line.contains("rbuild-")),
        "seen from inside it is the root:\n{inside}"
    );
    let null = fs::File::create("/dev/null").unwrap();
    let (mut running, _) = world.start(&["sleep", "1000"], &Options::default(), &null).unwrap();
    let groups = fs::read_to_string(format!("/proc/{}/cgroup", running.child.pid().unwrap())).unwrap();
    let prefix = format!("/rbuild-{}-", std::process::id());
    let group = groups.lines().find_map(|line| line.split_once(&prefix).map(|(_, rest)| rest));
    let group = group.unwrap_or_else(|| panic!("it is in no group of its own:\n{groups}"));
    let places = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/devices"];
    let paths: Vec<_> = places.map(|place| format!("{place}{prefix}{group}")).into_iter().collect();
    assert!(paths.iter().any(|path| Path::new(path).exists()), "{paths:?}");
    running.child.kill().unwrap();
    running.child.wait().unwrap();
    drop(running);
    let (mut next, _) = world.start(&["true"], &Options::default(), &null).unwrap();
    next.child.wait().unwrap();
    drop((next, world));
    assert!(paths.iter().all(|path| !Path::new(path).exists()), "a group stayed: {paths:?}");
}
