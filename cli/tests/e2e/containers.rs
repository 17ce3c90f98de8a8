//! `run`, `ps`, `rm`, `commit`.

use crate::with_busybox;
use rbuild_testkit::Ran;
use std::{
    io::{Read, Write},
    os::unix::fs::PermissionsExt,
    process::Stdio,
    time::Duration,
};

#[test]
fn exit_codes_and_streams_are_the_program_s() {
    let Some(here) = with_busybox("exit_codes_and_streams") else { return };
    let ran = here.run(["run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str(), ran.code), ("out\n", "err\n", 7));
    assert_eq!(here.run(["run", "--rm", "busybox", "sh", "-c", "sh -c 'kill -9 $$'; exit $?"]).code, 137);
    let mut cat = here.command(["run", "-i", "--rm", "busybox", "cat"]);
    let mut cat = cat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    cat.stdin.take().unwrap().write_all(b"through\n").unwrap();
    assert_eq!(cat.wait_with_output().unwrap().stdout, b"through\n");
}

/// More than a pipe holds on both streams, and a reader that begins with the second.
#[test]
fn a_stream_that_is_not_read_does_not_hold_up_the_other() {
    const BYTES: usize = 300_000;
    let Some(here) = with_busybox("a_stream_that_is_not_read_does_not_hold_up_the_other") else { return };
    let script = format!("head -c {BYTES} /dev/zero & head -c {BYTES} /dev/zero >&2; wait");
    let mut command = here.command(["run", "--rm", "busybox", "sh", "-c", &script]);
    let mut running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut stdout, mut stderr) = (running.stdout.take().unwrap(), running.stderr.take().unwrap());
    stderr.read_exact(&mut vec![1; BYTES]).unwrap();
    assert_eq!(here.ok(["ps", "-q"]).lines().count(), 1, "it waits for its other stream");
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).unwrap();
    assert!(rest.len() == BYTES && running.wait().unwrap().success());
}

#[test]
fn a_container_gets_no_descriptor_of_the_caller() {
    let Some(here) = with_busybox("a_container_gets_no_descriptor_of_the_caller") else { return };
    let (input, output) = (here.write("input", "typed\n"), here.path().join("output"));
    let directory = std::fs::File::open(here.path()).unwrap();
    let script = "chmod 4777 /dev/fd/0 /dev/fd/1 /dev/fd/2; ls /dev/fd/0/ 2>/dev/null; cat; truncate -s 0 /dev/fd/1; echo end";
    let status = here
        .command(["run", "-i", "--rm", "busybox", "sh", "-c", script])
        .stdin(std::fs::File::open(&input).unwrap())
        .stdout(std::fs::File::create(&output).unwrap())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(std::fs::read_to_string(&output).unwrap(), "typed\nend\n");
    for file in [input, output] {
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o7777, 0o644);
    }
    // a directory as standard input would be a way into the host
    let mut list = here.command(["run", "-i", "--rm", "busybox", "ls", "/dev/fd/0/"]);
    let listed = list.stdin(directory).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&listed.stdout), "");
}

#[test]
fn a_container_is_what_was_asked_for() {
    let Some(here) = with_busybox("a_container_is_what_was_asked_for") else { return };
    here.write("shared/file", "from the host\n");
    let volume = format!("{}:/mnt", here.path().join("shared").display());
    let script = "echo $A $(pwd) $(id -u):$(id -g) $(hostname); cat /mnt/file; echo back > /mnt/back";
    let run =
        ["run", "--name", "box", "-e", "A=b", "-w", "/tmp", "-u", "0:5", "--hostname", "here", "-v", &volume];
    let out = here.ok(run.into_iter().chain(["busybox", "sh", "-c", script]));
    assert_eq!(out, "b /tmp 0:5 here\nfrom the host\n");
    assert_eq!(std::fs::read_to_string(here.path().join("shared/back")).unwrap(), "back\n");
    let ran = here.fails(["run", "--name", "box", "busybox", "true"]);
    assert!(ran.code == 125 && ran.stderr.contains("already in use"), "{ran:#?}");
    assert_eq!(here.ok(["ps", "-q"]), "", "it has ended");
    assert_eq!(here.ok(["ps", "-a", "-q"]).lines().count(), 1);
    assert_eq!(here.ok(["rm", "box"]), "box\n");
    assert_eq!(here.ok(["ps", "-a", "-q"]), "");
}

/// As with docker: they are no part of the image, nor of what `commit` takes, and the image's own are not shown through.
#[test]
fn a_container_has_files_of_its_own_over_the_image_s() {
    let Some(here) = with_busybox("a_container_has_files_of_its_own_over_the_image_s") else { return };
    let dockerfile = "FROM busybox\nRUN for f in mtab hostname; do echo theirs > /etc/$f; done; echo theirs > /.dockerenv\n";
    here.build("x", &here.context("c", dockerfile, &[]));
    let script = "cat /etc/hostname; readlink /etc/mtab; stat -c '%n %F %a' /.dockerenv; echo 10.0.0.1 a >> /etc/hosts && tail -n 1 /etc/hosts; touch /new";
    let expected = "box\n/proc/mounts\n/.dockerenv regular empty file 755\n10.0.0.1 a\n";
    for image in ["x", "busybox"] {
        let out = here.ok([
            "run",
            "--name",
            &format!("of-{image}"),
            "--hostname",
            "box",
            image,
            "sh",
            "-c",
            script,
        ]);
        assert_eq!(out, expected, "{image}");
        here.ok(["commit", &format!("of-{image}"), &format!("{image}-committed")]);
    }
    let look = "RUN for f in /etc/mtab /etc/hostname /.dockerenv /etc/hosts; do ls -d $f && cat $f; done; ls -d /new; true\n";
    let seen = |image: &str| here.build("y", &here.context(image, &format!("FROM {image}\n{look}"), &[]));
    let kept = seen("x-committed");
    for file in ["/etc/mtab", "/etc/hostname", "/.dockerenv"] {
        assert!(kept.contains(&format!(" {file}\n")), "{kept}");
    }
    assert_eq!(kept.matches(" theirs\n").count(), 3, "{kept}");
    let none = seen("busybox-committed");
    assert!(none.contains(" /new\n") && none.matches("No such file").count() == 3, "{none}");
}

#[test]
fn a_terminal_is_a_terminal() {
    let Some(here) = with_busybox("a_terminal_is_a_terminal") else { return };
    if !rbuild_testkit::has_program("script", "a_terminal_is_a_terminal") {
        return;
    }
    let run = here.command([
        "run",
        "-it",
        "--rm",
        "busybox",
        "sh",
        "-c",
        "tty; test -t 0 && test -t 1 && echo yes; exit 3",
    ]);
    let line = std::iter::once(run.get_program())
        .chain(run.get_args())
        .map(|word| format!("'{}'", word.to_str().unwrap()));
    let line = line.collect::<Vec<_>>().join(" ");
    let mut script = std::process::Command::new("script");
    script.args(["-qec", &line, "/dev/null"]).env("RBUILD_ROOT", here.store()).stdin(Stdio::null());
    let output = script.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.contains("/dev/") && text.contains("yes") && output.status.code() == Some(3),
        "{text} {output:?}"
    );
}

#[test]
fn nothing_is_left_of_a_container_that_was_killed_at_any_moment() {
    let Some(here) = with_busybox("nothing_is_left_of_a_container_that_was_killed") else { return };
    let held = || std::fs::read_dir(here.store().join("containers")).map_or(0, Iterator::count);
    for round in 0..40 {
        let mut running = here.command(["run", "--rm", "busybox", "true"]);
        let mut running = running.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(round * 700));
        running.kill().unwrap();
        running.wait().unwrap();
        assert_eq!(here.ok(["ps", "-aq"]), "", "it is listed");
    }
    // the next one clears up
    here.ok(["run", "--rm", "busybox", "true"]);
    assert_eq!(held(), 0);
}

#[test]
fn of_eight_containers_of_one_name_one_is_made() {
    let Some(here) = with_busybox("of_eight_containers_of_one_name_one_is_made") else { return };
    let run = || here.run(["run", "--name", "same", "busybox", "true"]);
    let ran: Vec<Ran> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..8).map(|_| scope.spawn(run)).collect();
        running.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(ran.iter().filter(|ran| ran.code == 0).count(), 1, "{ran:#?}");
    assert!(ran.iter().all(|ran| ran.code == 0 || ran.stderr.contains("same")), "{ran:#?}");
    assert_eq!(here.ok(["ps", "-aq"]).lines().count(), 1);
}

#[test]
fn a_program_that_cannot_be_started_is_told_in_docker_s_words() {
    let Some(here) = with_busybox("a_program_that_cannot_be_started") else { return };
    for (program, code, words) in [
        ("nope", 127, "exec: \"nope\": executable file not found in $PATH"),
        ("", 127, "exec: \"\": executable file not found in $PATH"),
        ("/nope/x", 127, "exec: \"/nope/x\": no such file or directory"),
        ("/etc/passwd", 126, "exec: \"/etc/passwd\": permission denied"),
        ("/etc", 126, "exec: \"/etc\": permission denied"),
    ] {
        let ran = here.run(["run", "--rm", "busybox", program]);
        assert_eq!((ran.code, ran.stderr.trim_end()), (code, &*format!("Error: {words}")), "{program:?}");
    }
}

#[test]
fn what_is_no_host_name_is_refused() {
    let Some(here) = with_busybox("what_is_no_host_name_is_refused") else { return };
    let context = here.context("c", "FROM busybox\nRUN hostname\n", &[]);
    let context = context.to_str().unwrap();
    for name in ["../x", "a\n127.0.0.1 b", &"x".repeat(65)] {
        let ran = here.run(["run", "--rm", "--hostname", name, "busybox", "hostname"]);
        assert!(ran.code == 125 && ran.stderr.contains("is no host name"), "{ran:#?}");
        let argument = format!("BUILDKIT_SANDBOX_HOSTNAME={name}");
        assert!(here.fails(["build", "--build-arg", &argument, context]).stderr.contains("is no host name"));
    }
    assert_eq!(here.ok(["run", "--rm", "--hostname", "a_b.c-d", "busybox", "hostname"]), "a_b.c-d\n");
}

#[test]
fn the_environment_is_in_docker_s_order() {
    let Some(here) = with_busybox("the_environment_is_in_docker_s_order") else { return };
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    for (flags, expected) in [
        (&["-e", "A=1"][..], format!("{path}\nHOSTNAME=box\nA=1\nHOME=/root\n")),
        (&["-e", "A=1", "-e", "HOSTNAME=z"], format!("{path}\nHOSTNAME=z\nA=1\nHOME=/root\n")),
        (&["-e", "B=1", "-e", "PATH=/bin"], "PATH=/bin\nHOSTNAME=box\nB=1\nHOME=/root\n".to_owned()),
    ] {
        let run = [&["run", "--rm", "--hostname", "box"], flags, &["busybox", "env"]].concat();
        assert_eq!(here.ok(run), expected);
    }
}
