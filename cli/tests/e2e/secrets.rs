//! `RUN --mount=type=secret`: what the step sees, and that nothing of it is left anywhere.

use crate::{RBUILD, as_root_and_user, step_output, with_busybox};
use rbuild_testkit::{Ran, Workspace};
use std::{fs, path::Path};

const SECRET: &str = "open-sesame-91735";

fn build(here: &Workspace, arguments: &[&str], context: &Path) -> Ran {
    let mut command = here.command(["build", "--progress=plain", "--no-cache", "-t", "x"]);
    Ran::of(command.args(arguments).arg(context).env("V", "from the variable").output().unwrap())
}

/// True if a file below `directory` holds `bytes`, or a file's name does.
fn holds(directory: &Path, bytes: &[u8]) -> bool {
    fs::read_dir(directory).unwrap().map(Result::unwrap).any(|entry| {
        let kind = entry.file_type().unwrap();
        let path = entry.path();
        let in_it = if kind.is_dir() {
            holds(&path, bytes)
        } else {
            kind.is_file() && fs::read(&path).unwrap().windows(bytes.len()).any(|window| window == bytes)
        };
        in_it || path.as_os_str().as_encoded_bytes().windows(bytes.len()).any(|window| window == bytes)
    })
}

#[test]
fn a_step_sees_its_secret_and_nothing_else_does() {
    as_root_and_user("a_step_sees_its_secret_and_nothing_else_does", |here| {
        let file = here.write("secret", format!("{SECRET}\n"));
        let context = here.context(
            "c",
            "FROM busybox\nWORKDIR /w\n\
             RUN --mount=type=secret,id=a stat -c '%a %u:%g %s' /run/secrets/a; grep -c sesame /run/secrets/a; cat /run/secrets/a; ! echo >> /run/secrets/a\n\
             RUN --mount=type=secret,id=a mount | grep secrets | sed 's/,[a-z0-9_]*id=[0-9]*//g; s/,size=[0-9a-z]*//; s/,inode64//'\n\
             RUN --mount=type=secret,id=a,target=t,mode=0440,uid=7,gid=8 stat -c '%a %u:%g %n' /w/t && ls -A /w\n\
             RUN --mount=type=secret,id=a,env=A test \"$(echo $A)\" = \"$(printf 'open-sesame-%d' 91735)\" && test ! -e /run/secrets && echo \"A is $A\"\n\
             ENV A=own\n\
             RUN --mount=type=secret,id=a,env=A,target=/both env | grep -c ^A= && test \"$(echo $A)\" = \"$(cat /both)\" && echo both\n\
             RUN --mount=type=secret,id=none,env=N test ! -e /run/secrets && env | grep ^N=\n\
             RUN --mount=type=secret,id=v cat /run/secrets/v\n\
             RUN ls -A /w && ! test -e /run/secrets && env\n",
            &[],
        );
        let secret = format!("id=a,src={}", file.display());
        let ran = build(here, &["--secret", &secret, "--secret", "id=v,env=V"], &context);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let printed = step_output(&ran.stderr);
        assert_eq!(
            printed[..4],
            ["400 0:0 18", "1", "****", "/bin/sh: can't create /run/secrets/a: Read-only file system"]
        );
        assert_eq!(printed[4], "tmpfs on /run/secrets/a type tmpfs (ro,nosuid,nodev,noexec,relatime)");
        assert_eq!(printed[5..8], ["440 7:8 /w/t", "t", "A is ****"], "{printed:?}");
        assert_eq!(printed[8..13], ["", "1", "both", "N=", "****"], "{printed:?}");
        assert!(!ran.stderr.contains(SECRET) && !ran.stderr.contains("from the variable"), "{}", ran.stderr);
        here.ok(["save", "-o", "x.tar", "x"]);
        for bytes in [SECRET, "from the variable"] {
            assert!(!holds(here.store(), bytes.as_bytes()), "{bytes} is in the store");
            let saved = fs::read(here.path().join("x.tar")).unwrap();
            assert!(!saved.windows(bytes.len()).any(|window| window == bytes.as_bytes()));
        }
    });
}

#[test]
fn a_secret_is_not_in_the_key_and_a_missing_one_is_said_before_any_work() {
    let test = "a_secret_is_not_in_the_key_and_a_missing_one_is_said_before_any_work";
    let Some(here) = with_busybox(test) else { return };
    let context = here.context(
        "c",
        "FROM busybox\nRUN echo worked > /first\nRUN --mount=type=secret,id=a,required true\n",
        &[],
    );
    let arguments = ["build", "--progress=plain", "--secret", "id=a,env=V", context.to_str().unwrap()];
    let missing = here.fails(["build", "--progress=plain", context.to_str().unwrap()]);
    assert!(
        missing.stderr.contains("secret a: not found: give it with --secret id=a,src=FILE")
            && missing.stderr.contains("RUN --mount=type=secret"),
        "{}",
        missing.stderr
    );
    assert!(
        missing.code == 1 && !missing.stderr.contains("[2/3] RUN echo worked > /first\n"),
        "{}",
        missing.stderr
    );
    let with = |value: &str| Ran::of(here.command(arguments).env("V", value).output().unwrap());
    assert_eq!(with("one").stderr.matches("CACHED").count(), 0);
    assert_eq!(with("two").stderr.matches("CACHED").count(), 2, "the value is not in the key");
    // what is cached needs no secret
    here.ok(["build", context.to_str().unwrap()]);
}

/// A command that prints its secret, in pieces or on the way to a failure, does not show it.
#[test]
fn a_secret_is_masked_wherever_output_is_shown() {
    let Some(here) = with_busybox("a_secret_is_masked_wherever_output_is_shown") else { return };
    let context = here.context(
        "c",
        "FROM busybox\nRUN --mount=type=secret,id=a,env=A for c in $(echo $A | sed 's/./& /g'); do printf $c; sleep 0.02; done; echo; echo \"the end: $A\"; exit 3\n",
        &[],
    );
    let ran = Ran::of(
        here.command(["build", "--secret", "id=a,env=S", context.to_str().unwrap()])
            .env("S", SECRET)
            .output()
            .unwrap(),
    );
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("the end: ****") && !ran.stderr.contains(SECRET), "{}", ran.stderr);
    let log = here.ok(["builds", "logs", "^0"]);
    assert!(log.contains("the end: ****") && !log.contains(SECRET), "{log}");
}

#[test]
fn a_secret_that_cannot_be_read_costs_no_build() {
    let here = Workspace::new(RBUILD);
    let context = here.context("c", "FROM scratch\nCOPY f /\n", &[("f", "")]);
    for (secret, code, message) in [
        ("id=a,src=/nope", 1, "failed to read secret a: /nope: no such file or directory"),
        ("id=a,src=/", 1, "failed to read secret a: /: is a directory"),
        ("id=a,src=/dev/zero", 1, "secret a too big. max size 500KiB"),
        ("id=a,what=1", 2, "unexpected key 'what' in 'what=1'"),
    ] {
        let ran = here.run(["build", "--secret", secret, context.to_str().unwrap()]);
        assert_eq!(ran.code, code, "{}", ran.stderr);
        assert!(ran.stderr.contains(message), "{}", ran.stderr);
    }
}
