//! Devices that containers and steps are given: as root, and as an ordinary user, who is shown the machine's nodes.

use crate::{as_root_and_user, wait_for};
use rbuild_testkit::{Ran, Workspace};
use std::{fs, os::unix::fs::MetadataExt};

#[test]
fn a_container_is_given_devices_by_their_paths() {
    as_root_and_user("a_container_is_given_devices_by_their_paths", |here| {
        let look = "head -c 2 /dev/sub/zero | od -An -tx1; (: >> /dev/own) 2>/dev/null && echo written; (: < /dev/own) && echo read; \
                    touch /dev/x && rm /dev/x && mknod /made c 1 5 2>/dev/null && (: < /made) 2>/dev/null && echo opened";
        // one that containers have not and that opening does nothing to; an ordinary user has no rules for devices, so that what the
        // machine lets the user do may be done
        let root = fs::metadata(here.path()).unwrap().uid() == 0;
        let own = ["/dev/fuse", "/dev/net/tun", "/dev/loop-control"];
        let own = own.into_iter().find(|path| root && fs::exists(path).unwrap()).unwrap_or("/dev/zero");
        let given = format!("--device={own}:/dev/own:rm");
        let words = ["run", "--rm", "--name=given", &given, "--device", "/dev/zero:/dev/sub/zero"];
        let seen = here.run(words.into_iter().chain(["busybox", "sh", "-c", look])).stdout;
        let written = if own == "/dev/zero" { "written\n" } else { "" };
        assert_eq!(seen, format!(" 00 00\n{written}read\n"), "{own}");
        let none =
            here.ok(["run", "--rm", "busybox", "sh", "-c", "ls /dev/own /dev/sub 2>&1 | grep -c 'No such'"]);
        assert_eq!(none, "2\n");

        here.ok([
            "create",
            "--name=again",
            "--device=/dev/zero:/dev/own",
            "busybox",
            "head",
            "-c",
            "1",
            "/dev/own",
        ]);
        for _ in 0..2 {
            assert_eq!(here.run(["start", "-a", "again"]).stdout, "\0");
        }
        let mapped = here.ok(["inspect", "--format={{json .HostConfig.Devices}}", "again"]);
        assert_eq!(
            mapped,
            "[{\"PathOnHost\":\"/dev/zero\",\"PathInContainer\":\"/dev/own\",\"CgroupPermissions\":\"rwm\"}]\n"
        );

        // all of a directory, and what is no device
        here.write("file", "");
        let file = here.path().join("file");
        for (device, words) in [
            ("/dev/nothing-here", "custom device \"/dev/nothing-here\": no such file or directory"),
            (file.to_str().unwrap(), "not a device node"),
            ("/dev/zero:/own", "device \"/own\" is not below /dev"),
            (
                "/dev/zero:/dev/null",
                "no device can be put at /dev/null: every container has something else there",
            ),
            ("/dev/zero:/dev/pts/7", "no device can be put at /dev/pts/7"),
            ("/dev/zero:/dev/shm/../fd", "no device can be put at /dev/fd"),
            ("/dev/zero:/dev/own:x", "bad mode specified: x"),
            ("zero", "zero is not an absolute path"),
            ("example.com/thing=gone", "device \"example.com/thing=gone\" is not registered in "),
        ] {
            let specs = here.path().display().to_string();
            let ran =
                here.run(["run", "--rm", "--cdi-spec-dir", &specs, "--device", device, "busybox", "true"]);
            assert!(ran.code == 125 && ran.stderr.contains(words), "{device}: {ran:?}");
        }
        assert_eq!(here.ok(["ps", "-aq", "--filter=name=given"]), "");
    });
}

const DESCRIPTION: &str = r#"{
    "cdiVersion": "0.6.0",
    "kind": "example.com/thing",
    "containerEdits": {"env": ["THINGS=all"]},
    "devices": [
        {"name": "zero", "annotations": {"org.mobyproject.buildkit.device.class": "plain"}, "containerEdits": {
            "env": ["THING=zero", "HOME=/thing"],
            "deviceNodes": [{"path": "/dev/things/zero", "hostPath": "/dev/zero", "fileMode": 438}],
            "mounts": [{"hostPath": "DIR/shown", "containerPath": "/thing", "options": ["ro", "nosuid", "nodev", "noexec", "rbind", "rprivate"]}]}},
        {"name": "full", "containerEdits": {"deviceNodes": [{"path": "/dev/full", "permissions": "rw"}]}},
        {"name": "grouped", "containerEdits": {"additionalGids": [0, 44, 1234, 44]}},
        {"name": "lost", "containerEdits": {"additionalGids": [4294967295]}},
        {"name": "hooked", "containerEdits": {"hooks": [{"hookName": "createContainer", "path": "/bin/true"}]}}
    ]
}"#;

/// One that every build may use, one that says nothing of itself.
const YAML: &str = r#"---
cdiVersion: "0.6.0"
kind: example.com/other
devices:
- name: "0"
  annotations: {org.mobyproject.buildkit.device.autoallow: "true"}
  containerEdits:
    deviceNodes:
    - path: /dev/other/zero
      hostPath: /dev/zero
      fileMode: 0o600
- name: one
  containerEdits: {env: [OTHER=one]}
"#;

/// Describes devices in `specs`, and returns that directory.
fn describe(here: &Workspace) -> String {
    here.write("shown/file", "of the thing\n");
    let directory = here.path().display().to_string();
    here.write("specs/thing.json", DESCRIPTION.replace("DIR", &directory));
    here.write("specs/other.yaml", YAML);
    format!("{directory}/specs")
}

/// Builds `lines` behind a step that runs before them.
fn build(here: &Workspace, flags: &[&str], lines: &str) -> Ran {
    let context = here.context("c", &format!("FROM busybox\nRUN echo before\n{lines}\n"), &[]);
    let specs = here.path().join("specs").display().to_string();
    let mut words = vec!["build", "--progress=plain", "--cdi-spec-dir", &specs];
    words.extend(flags);
    words.push(context.to_str().unwrap());
    here.run(words)
}

#[test]
fn a_step_is_given_described_devices_if_that_is_allowed() {
    as_root_and_user("a_step_is_given_described_devices_if_that_is_allowed", |here| {
        let specs = describe(here);
        let look = "head -c 2 /dev/things/zero | od -An -tx1; cat /thing/file; echo $THING $THINGS $HOME; \
                    mount | grep -o ' /thing .*' | cut -d, -f1-4";
        let line = format!(
            "RUN --device=example.com/thing=zero,required {look}\nRUN test ! -e /dev/things -a ! -e /thing/file -a -z \"$THING\""
        );
        let refused = build(here, &[], &line);
        assert!(
            refused.code == 1
                && refused.stderr.contains("entitlement device=example.com/thing=zero is not allowed; --allow device=example.com/thing=zero allows it")
                && !refused.stderr.contains("echo before\n#"),
            "{refused:?}"
        );
        let given = build(here, &["--allow=device"], &line);
        assert_eq!(given.code, 0, "{given:?}");
        for part in [" 00 00\n", " of the thing\n", " zero all /thing\n", "ro,nosuid,nodev,noexec"] {
            assert!(given.stderr.contains(part), "{part}: {given:?}");
        }
        assert!(build(here, &["--allow=device"], &line).stderr.contains("CACHED"));
        // a shell in a step that failed has them too
        let failed = build(here, &["--allow=device"], "RUN --device=example.com/thing=zero false");
        assert_eq!(failed.code, 1, "{failed:?}");
        assert_eq!(here.ok(["debug", "--", "head", "-c", "1", "/dev/things/zero"]), "\0");
        let look = "cat /thing/file; echo $THING";
        let device = "--device=example.com/thing=zero";
        let seen = here.ok(["run", "--rm", "--cdi-spec-dir", &specs, device, "busybox", "sh", "-c", look]);
        assert_eq!(seen, "of the thing\nzero\n");
    });
}

#[test]
fn processes_are_in_the_groups_of_described_devices() {
    as_root_and_user("processes_are_in_the_groups_of_described_devices", |here| {
        let specs = describe(here);
        let lines = "RUN --device=example.com/thing=grouped test \"$(id -G)\" = '0 44 1234'\nRUN test \"$(id -G)\" = 0\n\
                    USER 5:1234\nRUN --device=example.com/thing=grouped test \"$(id -G)\" = '1234 44'";
        let ran = build(here, &["--allow=device"], lines);
        assert_eq!(ran.code, 0, "{ran:?}");
        let device = "--device=example.com/thing=grouped";
        let words = ["run", "-d", "--name=in", "--group-add=77", "-u=5:6", "--cdi-spec-dir", &specs, device];
        here.ok(words.into_iter().chain(["busybox", "sh", "-c", "id -G; exec sleep 1000"]));
        wait_for(|| here.ok(["logs", "in"]) == "6 44 77 1234\n");
        assert_eq!(here.ok(["exec", "in", "id", "-G"]), "6 44 77 1234\n");
        assert_eq!(here.ok(["exec", "-u", "8:9", "in", "id", "-G"]), "9 77\n");
        here.ok(["rm", "-f", "in"]);
    });
}

#[test]
fn described_devices_are_found_by_their_names_alone() {
    as_root_and_user("described_devices_are_found_by_their_names_alone", |here| {
        let specs = describe(here);
        let missing = "required device \"example.com/thing=gone\" is not registered in ";
        for (device, code, words) in [
            ("name=example.com/thing=plain,required=true", 0, " zero\n"),
            (
                "example.com/thing=*",
                1,
                "asks for hooks (programs of the machine that are to run), which is not supported",
            ),
            ("example.com/thing", 0, " none\n"),
            ("example.com/thing=lost", 1, "asks for the group 4294967295, which is not supported"),
            ("example.com/thing=gone", 0, " none\n"),
            ("example.com/thing=gone,required", 1, missing),
            ("example.com/other=one", 0, " none\n"),
            ("/dev/mem", 1, "invalid device \"/dev/mem\""),
            ("../specs/thing=zero", 1, "invalid device \"../specs/thing=zero\""),
        ] {
            let line = format!("RUN --device={device} echo \"${{THING:-none}}\"");
            let ran = build(here, &["--allow=device", "--no-cache"], &line);
            assert!(ran.code == code && ran.stderr.contains(words), "{device}: {ran:?}");
        }
        // of two descriptions in one directory none is to be preferred; one in a later directory is
        let text = fs::read_to_string(format!("{specs}/thing.json")).unwrap();
        here.write("specs/twice.json", &text);
        let ran = build(here, &["--allow=device"], "RUN --device=example.com/thing=zero true");
        assert!(ran.code == 1 && ran.stderr.contains("is described twice, in "), "{ran:?}");
        fs::remove_file(format!("{specs}/twice.json")).unwrap();
        here.write("later/thing.json", text.replace("THING=zero", "THING=later"));
        let later = format!("--cdi-spec-dir={}/later", here.path().display());
        let line = "RUN --device=example.com/thing=zero echo \"it is $THING\"";
        let ran = build(here, &["--allow=device", &later], line);
        assert!(ran.code == 0 && ran.stderr.contains(" it is later\n"), "{ran:?}");
    });
}

#[test]
fn a_build_is_allowed_single_devices_by_their_names() {
    as_root_and_user("a_build_is_allowed_single_devices_by_their_names", |here| {
        let specs = describe(here);
        for (allowed, device, refused) in [
            // a description may allow it
            ("network.host", "example.com/other=0", None),
            ("network.host", "example.com/other=one", Some("device=example.com/other=one")),
            ("device=example.com/other=one", "example.com/other=one", None),
            ("device=example.com/other=one", "example.com/other", None),
            ("device=example.com/other=*", "example.com/other=*", None),
            ("device=example.com/other=one", "example.com/thing=zero", Some("device=example.com/thing=zero")),
            ("device=example.com/thing=plain", "example.com/thing=zero", None),
            // what is not there and need not be is nothing to allow
            ("network.host", "example.com/other=gone", None),
        ] {
            let line = format!(
                "RUN --device={device} test ! -e /dev/other/zero || head -c 1 /dev/other/zero > /dev/null"
            );
            let ran = build(here, &["--allow", allowed, "--no-cache"], &line);
            match refused {
                None => assert_eq!(ran.code, 0, "{allowed} {device}: {ran:?}"),
                Some(right) => {
                    let words = format!("entitlement {right} is not allowed; --allow {right} allows it");
                    assert!(ran.code == 1 && ran.stderr.contains(&words), "{allowed} {device}: {ran:?}");
                }
            }
        }
        let ran = build(here, &["--allow=device=example.com/other=one,alias=x"], "RUN true");
        assert!(ran.code == 2 && ran.stderr.contains("--allow"), "{ran:?}");
        // what is no description is told, with its place
        // a pipe is not waited for
        let pipe = format!("{specs}/pipe.yaml");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let ran = build(here, &["--allow=device"], "RUN --device=example.com/other=one true");
        assert!(ran.code != 0 && ran.stderr.contains("it is no regular file"), "{ran:?}");
        std::fs::remove_file(&pipe).unwrap();
        here.write("specs/wrong.yaml", "cdiVersion: 0.6.0\nkind: [a\n");
        let ran = build(here, &["--allow=device"], "RUN --device=example.com/other=one true");
        let words = format!("cannot understand the device description {specs}/wrong.yaml");
        assert!(ran.code == 1 && ran.stderr.contains(&words) && ran.stderr.contains("line 3"), "{ran:?}");
    });
}
