//! `debug` and `build --debug-on-failure`: a way into the step that failed.

use crate::{as_root_and_user, with_busybox};
use rbuild_testkit::{Ran, Workspace};
use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

const WAY_IN: &str = "To look into the failed step: rbuild debug\n";
const SECRET: &str = "open-sesame-91735";

/// A build that fails.
fn fails(here: &Workspace, arguments: &[&str], context: &Path) -> Ran {
    let mut command = here.command(["build", "--progress=plain"]);
    let ran = Ran::of(command.args(arguments).arg(context).output().unwrap());
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    ran
}

fn debug(here: &Workspace, arguments: &[&str]) -> Ran {
    Ran::of(here.command(["debug"]).args(arguments).stdin(Stdio::null()).output().unwrap())
}

/// The command on a terminal on which `typed` is typed; what it showed, and its exit code.
fn on_terminal(here: &Workspace, arguments: &[&str], typed: &str) -> Ran {
    let command = here.command(arguments);
    let words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| format!("'{}'", word.to_str().unwrap()))
        .collect();
    let script = here.write("on-terminal", format!("#!/bin/sh\nexec {}\n", words.join(" ")));
    let mut terminal = Command::new("script");
    terminal
        .args(["-qec", &format!("sh {}", script.display()), "/dev/null"])
        .env_clear()
        .current_dir(here.path());
    terminal.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("TERM", "xterm");
    terminal.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut running = terminal.spawn().unwrap();
    running.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    Ran::of(running.wait_with_output().unwrap())
}

/// True if a file below `directory` holds `bytes`.
fn holds(directory: &Path, bytes: &[u8]) -> bool {
    fs::read_dir(directory).unwrap().map(Result::unwrap).any(|entry| {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        match (kind.is_dir(), kind.is_file()) {
            (true, _) => holds(&path, bytes),
            (_, true) => fs::read(&path).unwrap().windows(bytes.len()).any(|window| window == bytes),
            _ => fs::read_link(&path).is_ok_and(|to| to.to_str().unwrap().as_bytes() == bytes),
        }
    })
}

#[test]
fn a_command_sees_what_the_failed_one_saw_and_left() {
    as_root_and_user("a_command_sees_what_the_failed_one_saw_and_left", |here| {
        let secret = format!("id=s,src={}", here.write("secret", SECRET).display());
        let context = here.context(
            "c",
            "FROM busybox AS other\nRUN mkdir /o && echo of the stage > /o/f\n\
             FROM busybox\nARG A=argued\nENV E=is-set\nRUN echo u:x:1000:1000::/: >> /etc/passwd && mkdir /w && chown 1000 /w && echo > /w/old && chown 1000 /w/old\nWORKDIR /w\nUSER u\n\
             RUN --network=none --mount=type=cache,target=/cache,uid=1000 --mount=type=tmpfs,target=/t --mount=target=/ctx,rw \
             --mount=from=other,source=/o,target=/o --mount=type=secret,id=s,uid=1000 \
             echo half > made; echo warm > /cache/f; echo gone > /t/f; rm -f /w/old; false\n",
            &[("f", "of the context")],
        );
        let failed = fails(here, &["--secret", &secret], &context);
        assert!(failed.stderr.ends_with(WAY_IN), "{}", failed.stderr);
        // the files of then, not those of now
        fs::write(context.join("f"), "changed").unwrap();
        let look = "id -u; pwd; cat made /cache/f /ctx/f /o/f; ls /t; test -e /w/old || echo removed; echo $E $A; \
             cat /run/secrets/s; echo; ls /sys/class/net; echo new > made; hostname; exit 9";
        for _ in 0..2 {
            let ran = debug(here, &["--secret", &secret, "--", "sh", "-c", look]);
            let expected = format!(
                "1000\n/w\nhalf\nwarm\nof the contextof the stage\nremoved\nis-set argued\n{SECRET}\nlo\nbuildkitsandbox\n"
            );
            assert_eq!((ran.stdout.as_str(), ran.code), (&*expected, 9), "{}", ran.stderr);
            assert_eq!(ran.stderr, "");
        }
        let without = debug(here, &["--", "sh", "-c", "ls /run/secrets"]);
        assert_eq!(
            without.stderr.lines().next().unwrap(),
            "WARNING: the step has secret s: give it with --secret id=s,src=FILE"
        );
        // the shell reads what it is given
        let mut shell = here.command(["debug"]);
        let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        shell.stdin.take().unwrap().write_all(b"cat made\n").unwrap();
        assert_eq!(Ran::of(shell.wait_with_output().unwrap()).stdout, "half\n");
    });
}

#[test]
fn a_terminal_gets_a_shell_at_once_or_later() {
    as_root_and_user("a_terminal_gets_a_shell_at_once_or_later", |here| {
        let dockerfile = "FROM busybox\nRUN echo half > /made; exit 3\n";
        let context = here.context("c", dockerfile, &[]);
        let path = context.to_str().unwrap();
        let at_once = on_terminal(
            here,
            &["build", "--progress=plain", "--debug-on-failure", path],
            "cat /made; tty; exit 5\n",
        );
        assert_eq!(at_once.code, 1, "it is the build that failed: {}", at_once.stdout);
        for part in ["exit code: 3", "Nothing that you change here is kept", "half\r\n", "/dev/pts/0"] {
            assert!(at_once.stdout.contains(part), "{part}: {}", at_once.stdout);
        }
        let later = on_terminal(here, &["debug"], "echo $TERM; cat /made; exit 5\n");
        assert_eq!(later.code, 5, "{}", later.stdout);
        assert!(later.stdout.contains("xterm\r\nhalf\r\n"), "{}", later.stdout);
        let none = fails(here, &["--debug-on-failure"], &context);
        assert!(none.stderr.ends_with(WAY_IN), "without a terminal it is as ever: {}", none.stderr);
    });
}

#[test]
fn a_prune_takes_what_it_announced_and_nothing_below_its_limit() {
    let Some(here) = with_busybox("a_prune_takes_what_it_announced") else { return };
    let context = here.context("c", "FROM busybox\nRUN echo half > /made; exit 3\n", &[]);
    fails(&here, &[], &context);
    let made = || debug(&here, &["--", "cat", "/made"]);
    let below = ["builder", "prune", "-f", "--keep-storage", "10g"];
    for flags in [&["--dry-run"][..], &[]] {
        assert!(!here.ok([&below, flags].concat()).contains("failed steps"));
    }
    assert_eq!(made().stdout, "half\n");
    let id = here.ok(["builds", "ls", "--no-trunc", "-q"]);
    let list = format!("Deleted failed steps:\n{}-1\n", id.trim_end());
    for command in [&["builder", "prune"][..], &["system", "prune"]] {
        assert!(here.ok([command, &["--dry-run"]].concat()).contains(&list), "{command:?} {list}");
    }
    assert_eq!(made().stdout, "half\n", "nothing is removed");
    let taken = here.ok(["builder", "prune", "-f", "--max-used-space", "1"]);
    assert!(taken.contains(&list), "{taken}");
    assert_eq!(made().code, 125);
}

#[test]
fn what_cannot_be_looked_into_is_said() {
    let Some(here) = with_busybox("what_cannot_be_looked_into_is_said") else { return };
    let here = &here;
    let said = |arguments: &[&str]| {
        let ran = debug(here, arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (125, ""), "{arguments:?}: {}", ran.stderr);
        ran.stderr
    };
    assert_eq!(said(&[]), "Error: no build has failed in a step: there is nothing to look into\n");
    let copy = here.context("copy", "FROM busybox\nRUN true\nRUN cp /bin/busybox /not/there\n", &[]);
    fails(here, &[], &copy);
    assert!(said(&["^0", "1"]).ends_with(" (RUN true) cannot be looked into: it did not fail\n"));
    assert!(said(&["7"]).ends_with(" has no step 7: it has steps 1 to 2\n"));
    assert!(said(&["^0", "x"]).contains("invalid step \"x\""));
    assert!(said(&["beef"]).contains("beef"));
    let missing = here.context("missing", "FROM busybox\nRUN [\"/not/there\"]\n", &[]);
    assert!(fails(here, &[], &missing).stderr.ends_with(WAY_IN));
    assert_eq!(debug(here, &["--", "ls", "/bin/busybox"]).stdout, "/bin/busybox\n");
    let add = here.context("add", "FROM busybox\nRUN echo > /g\nCOPY f /g/\n", &[("f", "")]);
    assert!(!fails(here, &[], &add).stderr.contains("rbuild debug"));
    assert!(said(&[]).ends_with("no command of it ran, so it left no files\n"));
    let bare = here.context("bare", "FROM scratch\nCOPY busybox /\nRUN [\"/busybox\", \"false\"]\n", &[]);
    fs::copy("/bin/busybox", bare.join("busybox")).unwrap();
    fails(here, &[], &bare);
    assert_eq!(
        said(&[]),
        "Error: the image of the step has no /bin/sh: name a program that it has, as in 'rbuild debug -- PROGRAM'\n"
    );
    assert_eq!(debug(here, &["--", "/busybox", "echo", "here"]).stdout, "here\n");
    assert_eq!(debug(here, &["--", "/nothing"]).code, 127);
}

/// The kernel says that a script is not there, and means its interpreter.
#[test]
fn a_script_that_cannot_be_started_says_why() {
    let Some(here) = with_busybox("a_script_that_cannot_be_started_says_why") else { return };
    let files = [("crlf", "#!/bin/sh\r\ntrue\r\n"), ("lost", "#! /no/such -e\n"), ("bare", "echo hi\n")];
    let windows = "the script has Windows line ends, so that its interpreter is \"/bin/sh\\r\": no such file";
    let lost = "the interpreter of the script, \"/no/such\", is not there: no such file";
    let bare =
        "the script has no first line that names its interpreter, such as #!/bin/sh: exec format error";
    for (command, code, said) in [
        ("/crlf", 127, format!("exec: \"/crlf\": {windows}")),
        ("crlf", 127, format!("exec: \"/scripts/crlf\": {windows}")),
        ("./lost", 127, format!("exec: \"./lost\": {lost}")),
        ("/bare", 126, format!("exec: \"/bare\": {bare}")),
    ] {
        let steps = "FROM busybox\nCOPY --chmod=755 crlf lost bare /\nCOPY --chmod=755 crlf /scripts/\nENV PATH=/scripts:/bin\n";
        let context = here.context("c", &format!("{steps}RUN [\"{command}\"]\n"), &files);
        let ran = fails(&here, &[], &context);
        assert!(ran.stderr.contains(&said) && ran.stderr.ends_with(WAY_IN), "{said}: {}", ran.stderr);
        assert_eq!(debug(&here, &["--", "sh", "-c", "ls /scripts"]).stdout, "crlf\n");
        here.build("scripts", &here.context("image", steps, &files));
        let run = here.run(["run", "--rm", "scripts", command]);
        assert!(run.code == code && run.stderr.contains(&said), "{said}: {run:#?}");
    }
}

#[test]
fn little_is_kept_and_a_prune_takes_it() {
    let Some(here) = with_busybox("little_is_kept_and_a_prune_takes_it") else { return };
    let here = &here;
    for name in ["a", "b", "c", "d"] {
        let dockerfile = format!("FROM busybox\nRUN head -c 100000 /dev/urandom > /{name}; false\n");
        fails(here, &[], &here.context(name, &dockerfile, &[]));
    }
    let kept = || fs::read_dir(here.store().join("failed")).map_or(0, Iterator::count);
    assert_eq!((kept(), debug(here, &["^2", "--", "ls", "/b"]).stdout.as_str()), (3, "/b\n"));
    let oldest = debug(here, &["^3", "--", "ls", "/a"]).stderr;
    assert!(oldest.contains("its files are not kept"), "{oldest}");
    here.write("home/.config/rbuild/config.toml", "[gc]\nfailedSteps = 2\nfailedStepsSize = 200000\n");
    let large = here.context("e", "FROM busybox\nRUN head -c 300000 /dev/zero > /e; false\n", &[]);
    let home = here.path().join("home");
    let limited = |context: &Path| {
        let mut command = here.command(["build", "--progress=plain"]);
        Ran::of(command.arg(context).env("HOME", &home).env_remove("XDG_CONFIG_HOME").output().unwrap())
            .stderr
    };
    let said = limited(&large);
    assert!(
        said.contains("are not kept: they take 3")
            && said.ends_with(" failedStepsSize of config.toml allows 200kB\n"),
        "{said}"
    );
    limited(&here.context("f", "FROM busybox\nRUN echo > /f; false\n", &[]));
    assert_eq!(kept(), 2);
    let size = here.ok(["df", "--format", "{{.Type}} {{.Reclaimable}}"]);
    assert!(size.lines().any(|line| line.starts_with("Build Cache 1")), "{size}");
    // one that is looked into stays
    let mut shell = here.command(["debug"]);
    let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut typed = shell.stdin.take().unwrap();
    typed.write_all(b"echo begun\n").unwrap();
    let mut begun = [0; 6];
    std::io::Read::read_exact(shell.stdout.as_mut().unwrap(), &mut begun).unwrap();
    here.ok(["builder", "prune", "-f"]);
    assert_eq!(kept(), 1);
    typed.write_all(b"ls /f\n").unwrap();
    drop(typed);
    assert_eq!(Ran::of(shell.wait_with_output().unwrap()).stdout, "/f\n");
    here.ok(["builder", "prune", "-f"]);
    assert_eq!(kept(), 0);
    assert!(debug(here, &[]).stderr.contains("its files are not kept"));
}

#[test]
fn files_with_a_secret_are_left_out() {
    as_root_and_user("files_with_a_secret_are_left_out", |here| {
        let secret = format!("id=s,env=V,src={}", here.write("secret", format!("{SECRET}\n")).display());
        let context = here.context(
            "c",
            "FROM busybox\nRUN --mount=type=secret,id=s --mount=target=/ctx,rw mkdir -p /d/e && s=$(cat /run/secrets/s) && \
             echo \"key=$s\" > /d/e/f && echo fine > /d/g && ln -s \"$s\" /d/link && mkdir \"/d/$s\" && echo $s > /ctx/f && \
             dd if=/dev/zero bs=262140 count=1 of=/d/far 2> /dev/null && echo $s >> /d/far && false\n",
            &[("f", ""), ("g", "kept")],
        );
        let mut command = here.command(["build", "--progress=plain", "--secret", &secret]);
        let ran = Ran::of(command.arg(&context).env("V", SECRET).output().unwrap());
        assert!(ran.stderr.ends_with(WAY_IN), "{}", ran.stderr);
        assert!(!holds(here.store(), SECRET.as_bytes()), "a secret is in the store");
        let left = debug(here, &["--", "sh", "-c", "ls -R /d /ctx"]);
        assert_eq!(left.stdout, "/ctx:\nc\ng\n\n/d:\ne\ng\n\n/d/e:\n".replace("c\n", "Dockerfile\n"));
        for path in ["/d/e/f", "/d/far", "/d/link", "/ctx/f"] {
            assert!(
                left.stderr.contains(&format!("{path} is not here, because a secret was in it")),
                "{}",
                left.stderr
            );
        }
    });
}
