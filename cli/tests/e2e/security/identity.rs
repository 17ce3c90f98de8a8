//! Who a container's process is: groups, capabilities, environment, limits (CVE-2022-24769, CVE-2022-29162, CVE-2022-2989,
//! CVE-2023-25173, CVE-2024-29018).

use super::{MOUNTS, attack, dockerfile};

#[test]
fn groups_are_those_of_the_image_and_never_the_caller_s() {
    attack("groups_are_those_of_the_image_and_never_the_caller_s", |arena| {
        for mount in MOUNTS {
            for (user, expected) in [
                ("0", "uid=0(root) gid=0(root) groups=0(root)"),
                ("1000", "uid=1000 gid=0(root) groups=0(root)"),
                ("1000:2000", "uid=1000 gid=2000 groups=2000"),
                ("1000:0", "uid=1000 gid=0(root) groups=0(root)"),
            ] {
                let said = arena.builds(&dockerfile(mount, &format!("USER {user}\nRUN MOUNT id")));
                assert!(said.contains(expected), "{:?}: {user}: {said}", arena.who);
            }
        }
    });
}

#[test]
fn impossible_users_are_refused() {
    // a number that overflows must not become root
    attack("impossible_users_are_refused", |arena| {
        for user in [
            "4294967295",
            "1000:4294967295",
            "4294967296",
            "18446744073709551616",
            "-1",
            "2147483648",
            "1000:4294967296",
            "1000:-1",
            "1e3",
            "0x0",
            " 0x1",
        ] {
            let ran = arena.build(&dockerfile("", &format!("USER {user}\nRUN echo as $(id -u):$(id -g)")));
            let as_root = if user.contains(':') { ":0" } else { " as 0:0" };
            let root = ran.stderr.lines().any(|line| line.contains(" as ") && line.ends_with(as_root));
            assert!(!root, "{:?}: {user}: {ran:#?}", arena.who);
        }
    });
}

#[test]
fn nothing_of_the_caller_s_world_is_seen() {
    attack("nothing_of_the_caller_s_world_is_seen", |arena| {
        let look = "env; cat /proc/self/environ /proc/1/environ | tr '\\0' '\\n'; cat /proc/self/mountinfo | cut -d' ' -f5-; \
            cat /proc/self/cgroup; ls -l /proc/self/ns | cut -c40-";
        for mount in MOUNTS {
            let context = arena.here.context("c", &dockerfile(mount, &format!("RUN MOUNT {look}")), &[]);
            let mut build = arena.here.command(["build", "--no-cache", context.to_str().unwrap()]);
            let ran =
                rbuild_testkit::Ran::of(build.env("SECRET_OF_THE_HOST", super::SECRET).output().unwrap());
            arena.assert_safe(&ran, look);
            assert_eq!(ran.code, 0, "{ran:#?}");
            for word in ["RBUILD_ROOT", "SUDO_", "SSH_"] {
                assert!(!ran.stderr.contains(word), "{:?}: {word}: {ran:#?}", arena.who);
            }
        }
    });
}
