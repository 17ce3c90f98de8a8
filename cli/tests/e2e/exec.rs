//! `exec`: further programs in containers that run.

use crate::{as_root_and_user, wait_for, with_busybox};
use rbuild_testkit::{Workspace, has_program};
use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

fn start(here: &Workspace, flags: &[&str]) {
    let words = [&["run", "-d", "--name", "box"], flags, &["busybox", "sleep", "1000"]].concat();
    here.ok(words);
}

#[test]
fn a_further_program_is_where_the_first_one_is() {
    as_root_and_user("a_further_program_is_where_the_first_one_is", |here| {
        start(here, &["-e", "A=b", "-w", "/work", "--hostname", "host", "--ulimit", "nofile=99:99"]);
        let script = "ps | grep -c '[s]leep 1000'; pwd; echo $A $HOME $PATH $HOSTNAME ${TERM-none}; hostname; ulimit -n";
        let seen = here.ok(["exec", "box", "sh", "-c", script]);
        let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        assert_eq!(seen, format!("1\n/work\nb /root {path} host none\nhost\n99\n"));
        let links = "cd /proc/1/ns; for n in *; do readlink $n /proc/self/ns/$n; done | sort | uniq -u";
        assert_eq!(here.ok(["exec", "box", "sh", "-c", links]), "", "the same namespaces");
        for same in ["Cap", "NoNewPrivs", "Seccomp:", "Groups"] {
            let script = format!("grep ^{same} /proc/1/status; echo; grep ^{same} /proc/self/status");
            let seen = here.ok(["exec", "box", "sh", "-c", &script]);
            let (first, further) = seen.split_once("\n\n").unwrap();
            assert_eq!(first.trim_end(), further.trim_end());
        }
        here.ok(["exec", "box", "sh", "-c", "echo kept > /file"]);
        assert_eq!(here.ok(["exec", "box", "cat", "/file"]), "kept\n");
        here.ok(["rm", "-f", "box"]);
    });
}

#[test]
fn users_variables_directories_and_codes_are_as_asked_for() {
    as_root_and_user("users_variables_directories_and_codes_are_as_asked_for", |here| {
        start(here, &["-e", "A=b"]);
        let users =
            "echo 'me:x:12:34::/home/me:/bin/sh' > /etc/passwd; echo 'more:x:56:me' > /etc/group; mkdir /w";
        here.ok(["exec", "box", "sh", "-c", users]);
        let whoami = "echo $(id -u) $(id -g) $(id -G) $HOME $A $B $C $(pwd)";
        fs::write(here.path().join("env"), "B=file\nC=file\n").unwrap();
        let file = here.path().join("env").to_str().unwrap().to_owned();
        let flags = ["-u", "me", "-e", "A=c", "--env-file", &file, "-e", "C=flag", "-w", "/w"];
        let words = [&["exec"], &flags[..], &["box", "sh", "-c", whoami]].concat();
        assert_eq!(here.ok(words), "12 34 34 56 /home/me c file flag /w\n");
        assert_eq!(here.ok(["exec", "-u", "7:8", "box", "sh", "-c", "echo $(id -u) $(id -G)"]), "7 8\n");
        here.ok(["exec", "box", "sh", "-c", "mv /etc/passwd /etc/kept; ln -s passwd /etc/passwd"]);
        assert_eq!(here.ok(["exec", "box", "sh", "-c", "echo $(id -u)"]), "0\n", "it is kept out by nothing");
        here.ok(["exec", "box", "sh", "-c", "rm /etc/passwd; mv /etc/kept /etc/passwd"]);
        for (words, code, said) in [
            (&["-u", "nobody2", "box", "true"][..], 1, "unable to find user nobody2"),
            (&["box", "no-such-program"], 127, "executable file not found in $PATH"),
            (&["box", "/no/such"], 127, "no such file"),
            (&["box", "/etc"], 126, "permission denied"),
            (&["-w", "/nowhere", "box", "true"], 127, "/nowhere"),
            (&["-w", "/proc/1/cwd", "box", "true"], 126, "/proc/1/cwd"),
            (&["box", "sh", "-c", "exit 7"], 7, ""),
            (&["box", "sh", "-c", "kill -9 $$"], 137, ""),
            (&["nobody", "true"], 1, "No such container: nobody"),
        ] {
            let ran = here.run([&["exec"], words].concat());
            assert!(ran.code == code && ran.stderr.contains(said), "{words:?} {ran:#?}");
        }
        here.ok(["stop", "-t", "0", "box"]);
        let ran = here.fails(["exec", "box", "true"]);
        assert!(ran.code == 1 && ran.stderr.contains("container box is not running"), "{ran:#?}");
        here.ok(["rm", "box"]);
    });
}

#[test]
fn input_and_output_are_the_caller_s_and_nothing_else_is() {
    as_root_and_user("input_and_output_are_the_caller_s_and_nothing_else_is", |here| {
        start(here, &[]);
        let mut cat = here.command(["exec", "-i", "box", "cat"]);
        let mut cat = cat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        cat.stdin.take().unwrap().write_all(b"typed\n").unwrap();
        assert_eq!(cat.wait_with_output().unwrap().stdout, b"typed\n");
        assert_eq!(here.ok(["exec", "box", "cat"]), "", "no -i, no input");
        let both = here.run(["exec", "box", "sh", "-c", "echo out; echo err >&2"]);
        assert_eq!((both.stdout.as_str(), both.stderr.as_str()), ("out\n", "err\n"));
        // a file of the host: its mode can be changed through a descriptor, but there is none
        let file = fs::File::create(here.path().join("out")).unwrap();
        let mode = |file: &fs::File| {
            std::os::unix::fs::PermissionsExt::mode(&file.metadata().unwrap().permissions())
        };
        let before = mode(&file);
        let script = "ls /proc/self/fd | wc -l; readlink /proc/self/exe; chmod 4777 /proc/self/fd/1; true";
        let mut exec = here.command(["exec", "box", "sh", "-c", script]);
        assert!(exec.stdout(file.try_clone().unwrap()).stderr(Stdio::null()).status().unwrap().success());
        assert_eq!(mode(&file), before);
        // 0 to 2, and the one that lists
        let expected = "4\n/bin/busybox\n";
        assert_eq!(fs::read_to_string(here.path().join("out")).unwrap(), expected);
        here.ok(["exec", "-d", "box", "sh", "-c", "ls -l /proc/self/fd > /fds; chmod 0 /proc/self/fd/1"]);
        let listed = || here.run(["exec", "box", "cat", "/fds"]).stdout;
        wait_for(|| listed().matches("-> /dev/null").count() == 2);
        assert_eq!(mode(&fs::File::open("/dev/null").unwrap()) & 0o777, 0o666, "the container has its own");
        here.ok(["rm", "-f", "box"]);
    });
}

/// A program that was left goes on, and ends with its container.
#[test]
fn a_program_ends_with_its_container_and_not_with_its_caller() {
    as_root_and_user("a_program_ends_with_its_container_and_not_with_its_caller", |here| {
        start(here, &[]);
        assert_eq!(here.ok(["exec", "-d", "box", "sleep", "2001"]), "");
        let mut killed =
            here.command(["exec", "box", "sleep", "2002"]).stdout(Stdio::null()).spawn().unwrap();
        wait_for(|| here.ok(["exec", "box", "ps"]).contains("sleep 2002"));
        killed.kill().unwrap();
        killed.wait().unwrap();
        let mut watched = here.command(["exec", "box", "sleep", "2003"]).spawn().unwrap();
        wait_for(|| here.ok(["exec", "box", "ps"]).contains("sleep 2003"));
        let seen = here.ok(["exec", "box", "ps"]);
        assert!(
            ["2001", "2002", "2003"].iter().all(|number| seen.contains(&format!("sleep {number}"))),
            "{seen}"
        );
        here.ok(["rm", "-f", "box"]);
        assert_eq!(watched.wait().unwrap().code(), Some(137));
        let running = || {
            let lines = fs::read_dir("/proc").unwrap().flatten();
            let lines = lines.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
            lines.filter(|line| line.starts_with(b"sleep\x00200")).count()
        };
        wait_for(|| running() == 0);
    });
}

/// The terminal is the container's, has the person's size, and is left by keys with the program going on.
#[test]
fn a_terminal_in_a_container_is_left_by_keys() {
    as_root_and_user("a_terminal_in_a_container_is_left_by_keys", |here| {
        if !has_program("script", "a_terminal_in_a_container_is_left_by_keys") {
            return;
        }
        start(here, &[]);
        let inside = "tty; stty size; echo $TERM; exit 3";
        let rbuild = here.command(["exec", "-it"]);
        let words = std::iter::once(rbuild.get_program()).chain(rbuild.get_args());
        let rbuild = words.map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ");
        let typed = |line: String, keys: &[&str]| {
            let mut person = Command::new("script");
            person.args(["-qec", &line, "/dev/null"]).env("RBUILD_ROOT", here.store());
            let mut person = person.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            for keys in keys {
                thread::sleep(Duration::from_millis(700));
                person.stdin.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
            }
            String::from_utf8_lossy(&person.wait_with_output().unwrap().stdout).into_owned()
        };
        let seen = typed(format!("stty rows 33 cols 99; {rbuild} box sh -c '{inside}'; echo code=$?"), &[]);
        assert!(["/dev/pts/0", "33 99", "xterm", "code=3"].iter().all(|part| seen.contains(part)), "{seen}");
        let loops = "while sleep 0.1; do echo more; done";
        let seen = typed(
            format!("{rbuild} --detach-keys ctrl-a,x box sh -c '{loops}'; echo left=$?"),
            &["\x01", "x"],
        );
        assert!(seen.contains("read escape sequence\r\nleft=1"), "{seen}");
        thread::sleep(Duration::from_secs(1));
        assert!(here.ok(["exec", "box", "ps"]).contains("while sleep"), "it goes on");
        let ran = here.fails(["exec", "-it", "box", "true"]);
        assert!(ran.stderr.contains("the input device is not a TTY"), "{ran:#?}");
        here.ok(["rm", "-f", "box"]);
    });
}

/// A process of the container tries to trace what enters it, and to look into its descriptors, while it may still share
/// memory with rbuild.
#[test]
fn what_enters_a_container_cannot_be_looked_into() {
    as_root_and_user("what_enters_a_container_cannot_be_looked_into", |here| {
        // it starts nothing itself, so the next process to come has the next number; reading its memory's map takes the right to
        // trace it. A program that is being executed has only a stack for a moment, which has no name yet, so only names count.
        let watch = "n=$$; echo up; while :; do n=$((n+1)); while [ ! -d /proc/$n ] && [ ! -d /proc/$((n+1)) ]; do :; done; \
            while [ -d /proc/$n ]; do l=; read l < /proc/$n/maps; case \"$l\" in *memfd:*|*busybox*) ;; */*) echo \"$l\" >> /caught;; esac; \
            done 2> /dev/null; done";
        here.ok(["run", "-d", "--name", "box", "busybox", "sh", "-c", watch]);
        for _ in 0..60 {
            here.ok(["exec", "box", "true"]);
        }
        let caught = here.run(["exec", "box", "cat", "/caught"]);
        assert_eq!(
            caught.stdout, "",
            "the container read the map of a process that had not become its program yet"
        );
        here.ok(["rm", "-f", "box"]);
    });
}

#[test]
fn a_container_does_not_see_the_command_line_of_what_enters_it() {
    as_root_and_user("a_container_does_not_see_the_command_line_of_what_enters_it", |here| {
        // what it reads of all others is in its log
        let watch = "read own < /proc/self/mountinfo; while :; do for p in /proc/[0-9]*; do [ $p != /proc/1 ] || continue; \
            l=; read l < $p/cmdline; [ -z \"$l\" ] || echo \"$l\"; \
            l=; read l < $p/mountinfo; [ -z \"$l\" ] || [ \"$l\" = \"$own\" ] || echo \"mounts $l\"; \
            l=; { read h; read l; } < $p/net/route; [ -z \"$l\" ] || echo \"network $l\"; done 2> /dev/null; done";
        let check = ["--health-cmd=exec true", "--health-interval=100ms"];
        let run = [
            &["run", "-d", "--network=none", "--name", "box", "-u", "65534"],
            &check[..],
            &["busybox", "sh", "-c", watch],
        ];
        here.ok(run.concat());
        for _ in 0..30 {
            here.ok(["exec", "-u", "0", "-e", "TOKEN=hunter2", "box", "sleep", "0.02"]);
        }
        let log = here.run(["logs", "box"]).stdout;
        assert!(log.contains("sleep"), "it has seen what entered: {log}");
        for hidden in ["hunter2", "monitor", "mounts", "network"] {
            assert!(!log.contains(hidden), "{hidden}: {log}");
        }
        here.ok(["rm", "-f", "box"]);
    });
}

#[test]
fn a_container_of_the_foreground_is_entered_too() {
    let Some(here) = with_busybox("a_container_of_the_foreground_is_entered_too") else { return };
    let mut run = here.command(["run", "--rm", "--name", "box", "busybox", "sleep", "1000"]).spawn().unwrap();
    wait_for(|| here.run(["exec", "box", "true"]).code == 0);
    here.ok(["kill", "box"]);
    assert_eq!(run.wait().unwrap().code(), Some(137));
}
