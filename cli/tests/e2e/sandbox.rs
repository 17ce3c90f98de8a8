//! What a RUN sees, and what it cannot do.

use crate::with_busybox;

#[test]
fn a_run_sees_its_own_world() {
    let Some(here) = with_busybox("a_run_sees_its_own_world") else { return };
    let dockerfile = "FROM busybox\nRUN --network=none { grep Cap[BE] /proc/self/status; hostname; echo $$; umask; cat /etc/hosts; ls /dev | tr '\\n' ' '; \
        echo; ls /proc | grep -c '^[0-9]'; env | sort; } > /seen\n\
        RUN ! mount -t tmpfs none /tmp && ! touch /sys/x && ! cat /proc/kcore 2>/dev/null | head -c1 | grep -q . && ! unshare -U true\n";
    here.build("x", &here.context("c", dockerfile, &[]));
    let seen = here.ok(["run", "--rm", "x", "cat", "/seen"]);
    for part in [
        "CapEff:\t00000000a80425fb",
        "CapBnd:\t00000000a80425fb",
        "\nbuildkitsandbox\n1\n0022\n127.0.0.1\tlocalhost buildkitsandbox\n",
        "HOME=/root\n",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n",
    ] {
        assert!(seen.contains(part), "{part:?} is missing in {seen}");
    }
    for device in ["null", "zero", "full", "random", "urandom", "tty", "fd", "stdin", "pts", "ptmx", "shm"] {
        assert!(seen.contains(&format!("{device} ")), "/dev/{device} is missing in {seen}");
    }
    assert!(!seen.contains("RBUILD") && !seen.contains("TERM="), "{seen}");
}

#[test]
fn a_run_gets_the_memory_docker_gives() {
    let Some(here) = with_busybox("a_run_gets_the_memory_docker_gives") else { return };
    let dockerfile = "FROM busybox\nRUN --mount=type=tmpfs,target=/t,size=1m grep -E ' (/t|/dev/shm) ' /proc/mounts > /seen\n\
        RUN --mount=type=tmpfs,target=/dev/shm grep -c /dev/shm /proc/mounts >> /seen\n\
        RUN cp /bin/busybox /dev/shm/echo && /dev/shm/echo executed >> /seen || echo refused >> /seen\n";
    let context = here.context("c", dockerfile, &[]);
    let seen = |flags: &[&str]| {
        let context = context.to_str().unwrap();
        here.ok(["build", "-t", "x"].into_iter().chain(flags.iter().copied()).chain([context]));
        here.ok(["run", "--rm", "x", "cat", "/seen"])
    };
    let tmpfs = "tmpfs /t tmpfs rw,nosuid,nodev,relatime,size=1024k 0 0\n";
    let usual =
        format!("{tmpfs}shm /dev/shm tmpfs rw,nosuid,nodev,noexec,relatime,size=65536k 0 0\n1\nrefused\n");
    assert_eq!(seen(&[]), usual);
    assert_eq!(seen(&["--shm-size=0", "--no-cache"]), usual);
    let sized = "tmpfs /dev/shm tmpfs rw,nosuid,nodev,relatime,size=2048k 0 0\n";
    assert_eq!(seen(&["--shm-size=2m"]), format!("{tmpfs}{sized}1\nexecuted\n"));
}

#[test]
fn deletions_and_replacements_reach_the_image() {
    let Some(here) = with_busybox("deletions_and_replacements_reach_the_image") else { return };
    let dockerfile = "FROM busybox\nRUN mkdir -p /d/sub && echo 1 > /d/a && echo 1 > /d/sub/b && echo 1 > /f\n\
        RUN rm -r /d && mkdir /d && echo 2 > /d/new && rm /f && mkdir /f\n";
    here.build("x", &here.context("c", dockerfile, &[]));
    let check = |workspace: &rbuild_testkit::Workspace| {
        assert_eq!(workspace.ok(["run", "--rm", "x", "find", "/d", "/f"]), "/d\n/d/new\n/f\n");
    };
    check(&here);
    here.ok(["save", "-o", "x.tar", "x"]);
    let there = rbuild_testkit::Workspace::new(crate::RBUILD);
    there.ok(["load".as_ref(), "-i".as_ref(), here.path().join("x.tar").as_os_str()]);
    check(&there);
}

#[test]
fn a_run_without_network_has_loopback_only() {
    let Some(here) = with_busybox("a_run_without_network") else { return };
    // kernels with tunnel drivers put devices of those, which are down, into every new network namespace
    let dockerfile = "FROM busybox\nRUN --network=none for n in /sys/class/net/*; do read f < $n/flags; \
        test $((f & 1)) = 0 || echo ${n##*/} >> /up; done\n";
    here.build("x", &here.context("c", dockerfile, &[]));
    assert_eq!(here.ok(["run", "--rm", "x", "cat", "/up"]), "lo\n");
}

#[test]
fn a_hundred_and_fifty_layers_stack() {
    let Some(here) = with_busybox("a_hundred_and_fifty_layers_stack") else { return };
    let steps: String = (0..150).map(|n| format!("RUN echo {n} > /f{n}\n")).collect();
    here.build("x", &here.context("c", &format!("FROM busybox\n{steps}"), &[]));
    assert_eq!(
        here.ok(["run", "--rm", "x", "sh", "-c", "cat /f0 /f149; ls / | grep -c ^f"]),
        "0\n149\n150\n"
    );
}
