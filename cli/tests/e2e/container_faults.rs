//! What goes wrong with containers: a clear error, a true state, nothing lost.

use crate::{RBUILD, as_root_and_user, detached::monitor_of, faults::Mounted, with_busybox};
use rbuild_testkit::{Base, Ran, Workspace};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

#[test]
fn a_name_that_is_taken_or_not_there_is_told() {
    as_root_and_user("a_name_that_is_taken_or_not_there_is_told", |here| {
        let id = here.ok(["create", "--name", "server", "busybox", "true"]);
        for words in
            [&["run", "--name", "server", "busybox"][..], &["run", "-d", "--name", "server", "busybox"]]
        {
            let ran = here.fails(words);
            let said =
                format!("the container name \"server\" is already in use by container {}", id.trim_end());
            assert!(ran.code == 125 && ran.stderr.contains(&said), "{ran:#?}");
        }
        assert_eq!(here.ok(["ps", "-aq"]).lines().count(), 1, "nothing is left of them");
        for words in [
            &["start", "srever"][..],
            &["stop", "srever"],
            &["exec", "srever", "true"],
            &["logs", "srever"],
            &["rm", "srever"],
            &["cp", "srever:/etc", "."],
            &["commit", "srever"],
            &["inspect", "srever"],
            &["run", "--volumes-from", "srever", "busybox"],
        ] {
            let ran = here.fails(words);
            assert!(ran.stderr.contains(": srever (did you mean server?)"), "{words:?} {ran:#?}");
        }
        here.ok(["volume", "create", "records"]);
        here.ok(["tag", "busybox", "team/app:1"]);
        for (words, hint) in [
            (&["rmi", "busybxo"][..], "No such image: busybxo (did you mean busybox?)"),
            (&["tag", "team/ap:1", "b"], "(did you mean team/app:1?)"),
            (&["inspect", "busybxo"], "No such object: busybxo (did you mean busybox?)"),
            (&["volume", "rm", "record"], "get record: no such volume (did you mean records?)"),
            (&["stop", "db"], "No such container: db\n"),
            (&["rm", "ab"], "No such container: ab\n"),
        ] {
            let ran = here.fails(words);
            assert!(ran.stderr.contains(hint), "{words:?} {ran:#?}");
        }
        let listed = here.fails(["ps", "-f", "status=foo"]);
        assert!(
            listed.stderr.contains("'status=foo': it is created, running, paused, exited"),
            "{listed:#?}"
        );
        let ran = here.fails(["start", "nothing-near"]);
        assert!(ran.stderr.ends_with("No such container: nothing-near\n"), "{ran:#?}");
        here.ok(["rm", "server"]);
    });
}

#[test]
fn an_image_without_a_command_makes_no_container() {
    let Some(here) = with_busybox("an_image_without_a_command_makes_no_container") else { return };
    here.build("bare", &here.context("c", "FROM scratch\nCOPY f /f\n", &[("f", "")]));
    for words in [&["run", "bare"][..], &["run", "-d", "bare"], &["run", "--entrypoint=", "busybox"]] {
        let ran = here.fails(words);
        assert!(ran.code == 125 && ran.stderr.contains("no command specified"), "{words:?} {ran:#?}");
    }
    assert_eq!(here.fails(["create", "bare"]).code, 1);
    assert_eq!(here.ok(["ps", "-aq"]), "");
}

#[test]
fn a_read_only_container_writes_where_something_is_mounted_and_nowhere_else() {
    as_root_and_user("a_read_only_container_writes_where_something_is_mounted", |here| {
        let look =
            "touch /bin/x; touch /x; echo x >> /etc/hosts; touch /data/x /tmp/x /dev/shm/x && echo mounted";
        let flags = ["--read-only", "-v", "vol:/data", "--tmpfs", "/tmp"];
        for detached in [&["--rm"][..], &["--name", "box"]] {
            let words = [&["run"], detached, &flags[..], &["busybox", "sh", "-c", look]].concat();
            let ran = here.run(words);
            assert_eq!((ran.code, ran.stdout.as_str()), (0, "mounted\n"), "{ran:#?}");
            assert_eq!(ran.stderr.matches("Read-only file system").count(), 3, "{ran:#?}");
        }
        assert_eq!(here.ok(["inspect", "-f", "{{.HostConfig.ReadonlyRootfs}}", "box"]), "true\n");
        assert_eq!(here.ok(["diff", "box"]).replace("A /data\n", "").replace("A /tmp\n", ""), "");
        here.write("file", "x");
        let ran = here.fails(["cp", "file", "box:/file"]);
        assert!(ran.stderr.contains("container rootfs is marked read-only"), "{ran:#?}");
        here.ok(["cp", "file", "box:/data/file"]);
        here.ok(["rm", "box"]);
    });
}

/// Its files are its own: only what its image said of itself is gone.
#[test]
fn a_container_whose_image_is_gone_runs_on_and_keeps_its_files() {
    let Some(here) = with_busybox("a_container_whose_image_is_gone_runs_on_and_keeps_its_files") else {
        return;
    };
    here.build("base", &here.context("c", "FROM busybox\nRUN echo base > /base\n", &[]));
    here.ok(["run", "-d", "--name", "box", "base", "sh", "-c", "echo own > /own; exec sleep 1000"]);
    wait_for(|| here.run(["exec", "box", "cat", "/own"]).stdout == "own\n");
    let ran = here.fails(["rmi", "base"]);
    assert!(ran.stderr.contains("remove the container first"), "{ran:#?}");
    let image = here.ok(["inspect", "-f", "{{.Image}}", "box"]);
    let ran = here.fails(["rmi", "-f", image.trim_end()]);
    assert!(ran.code == 1 && ran.stderr.contains("uses it and runs): stop it with"), "{ran:#?}");
    // the name can be taken away by force, and the image stays
    assert_eq!(here.ok(["rmi", "-f", "base"]), "Untagged: base:latest\n");
    here.ok(["prune", "-a", "-f"]);
    here.ok(["commit", "box", "kept"]);
    here.ok(["rmi", "kept"]);
    assert!(here.fails(["rmi", "-f", image.trim_end()]).stderr.contains("uses it and runs"));
    here.ok(["stop", "-t", "0", "box"]);
    here.ok(["rmi", "-f", image.trim_end()]);
    here.ok(["start", "box"]);
    here.ok(["prune", "-a", "-f"]);
    let ran = here.fails(["commit", "box", "made"]);
    assert!(ran.code == 1 && ran.stderr.contains("No such image: sha256:"), "{ran:#?}");
    assert_eq!(here.ok(["exec", "box", "cat", "/base", "/own"]), "base\nown\n");
    assert_eq!(here.ok(["exec", "box", "cat", "/base"]), "base\n");
    here.ok(["export", "-o", "box.tar", "box"]);
    here.ok(["import", "box.tar", "made"]);
    here.ok(["rm", "-f", "box"]);
    assert_eq!(here.ok(["run", "--rm", "made", "cat", "/base", "/own"]), "base\nown\n");
}

/// A `run` at a terminal or without `--rm` is a client of its container.
#[test]
fn who_kills_rbuild_kills_no_container() {
    as_root_and_user("who_kills_rbuild_kills_no_container", |here| {
        let script = "echo up; while :; do sleep 0.1; done";
        let run = ["run", "--name", "box", "busybox", "sh", "-c", script];
        let mut run = here.command(run).stdout(Stdio::null()).spawn().unwrap();
        wait_for(|| here.run(["logs", "box"]).stdout == "up\n");
        run.kill().unwrap();
        run.wait().unwrap();
        assert_eq!(here.ok(["inspect", "-f", "{{.State.Status}}", "box"]), "running\n");
        assert_eq!(here.ok(["exec", "box", "echo", "fine"]), "fine\n");
        let pid = here.ok(["inspect", "-f", "{{.State.Pid}}", "box"]);
        assert!(Command::new("kill").args(["-9", &monitor_of(here, "box")]).status().unwrap().success());
        wait_for(|| here.ok(["inspect", "-f", "{{.State.Status}}", "box"]) == "exited\n");
        wait_for(|| !fs::exists(format!("/proc/{}", pid.trim_end())).unwrap());
        assert_eq!(here.ok(["logs", "box"]), "up\n", "what it wrote is there");
        assert!(here.fails(["exec", "box", "true"]).stderr.contains("is not running"));
        here.ok(["rm", "box"]);
    });
}

/// Between the end of a program and its record, which is its monitor's, a container is no longer running.
#[test]
fn a_container_whose_program_was_killed_is_started_again() {
    as_root_and_user("a_container_whose_program_was_killed_is_started_again", |here| {
        here.ok(["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
        let send = |signal: &str, pid: &str| {
            assert!(Command::new("kill").args([signal, pid.trim_end()]).status().unwrap().success());
        };
        let pid = || here.ok(["inspect", "-f", "{{.State.Pid}}", "box"]);
        let (first, monitor) = (pid(), monitor_of(here, "box"));
        send("-STOP", &monitor);
        send("-KILL", &first);
        let is_dead = || {
            let stat = fs::read_to_string(format!("/proc/{}/stat", first.trim_end()));
            stat.is_ok_and(|stat| stat.contains(") Z "))
        };
        wait_for(is_dead);
        let ran = here.fails(["exec", "box", "true"]);
        assert!(ran.stderr.contains("is not running"), "{ran:#?}");
        // nothing writes its end down
        let ran = here.fails(["start", "box"]);
        assert!(ran.stderr.contains(&format!("kill -CONT {monitor}")), "{ran:#?}");
        send("-CONT", &monitor);
        for _ in 0..3 {
            here.ok(["start", "box"]);
            assert_eq!(here.ok(["exec", "box", "echo", "runs"]), "runs\n");
            send("-KILL", &pid());
        }
        here.ok(["start", "box"]);
        assert_ne!(pid(), first);
        here.ok(["rm", "-f", "box"]);
    });
}

#[test]
fn a_full_disk_ends_a_commit_and_no_container() {
    let test = "a_full_disk_ends_a_commit_and_no_container";
    if !rbuild_testkit::is_root(test) {
        return;
    }
    let here = Workspace::new(RBUILD);
    let Some(_store) = Mounted::new(here.store().to_owned(), "size=28m") else { return };
    here.import(Base::Busybox);
    let script = "head -c 9000000 /dev/urandom > /big; echo ready; while sleep 0.1; do :; done";
    here.ok(["run", "-d", "--name", "box", "busybox", "sh", "-c", script]);
    wait_for(|| here.ok(["logs", "box"]) == "ready\n");
    here.ok(["commit", "box", "fits"]);
    let ran = here.fails(["commit", "box", "other"]);
    assert!(ran.code == 3 && ran.stderr.contains("no space left on the store at"), "{ran:#?}");
    assert!(ran.stderr.contains("'rbuild df -v' says what takes how much"), "{ran:#?}");
    assert_eq!(here.ok(["images", "-q", "other"]), "");
    assert_eq!(here.ok(["inspect", "-f", "{{.State.Status}} {{.State.Paused}}", "box"]), "running false\n");
    // one that writes more than there is room for ends as it would, and what could not be kept is told
    let talks = "yes 123456789012345678901234567890 | head -c 40000000; echo end; exit 3";
    here.ok(["run", "-d", "--name", "talks", "busybox", "sh", "-c", talks]);
    assert_eq!(here.ok(["wait", "talks"]), "3\n");
    assert_eq!(here.ok(["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "talks"]), "exited 3\n");
    let log = here.run(["logs", "talks"]);
    assert!(log.code == 0 && log.stdout.starts_with("1234567890"), "{:.200}", log.stdout);
    assert!(log.stderr.contains("could not be written here"), "{:.200}", log.stderr);
    here.ok(["rm", "talks"]);
    here.ok(["rmi", "fits"]);
    here.ok(["prune", "-f"]);
    here.ok(["commit", "box", "other"]);
    assert_eq!(here.ok(["run", "--rm", "other", "sh", "-c", "wc -c < /big"]), "9000000\n");
    here.ok(["rm", "-f", "box"]);
}

/// Wherever the disk becomes full, a commit leaves nothing that takes room.
#[test]
fn a_commit_that_fails_leaves_no_layer() {
    let test = "a_commit_that_fails_leaves_no_layer";
    if !rbuild_testkit::is_root(test) {
        return;
    }
    const PAGE: usize = 4096;
    const OWN: usize = 100;
    let here = Workspace::new(RBUILD);
    let Some(_store) = Mounted::new(here.store().to_owned(), "size=24m") else { return };
    here.import(Base::Busybox);
    let script = format!("head -c {} /dev/urandom > /big", OWN * PAGE);
    here.ok(["run", "--name", "box", "busybox", "sh", "-c", &script]);
    let layers = || fs::read_dir(here.store().join("layers")).unwrap().count();
    let (before, filler) = (layers(), here.store().join("filler"));
    let mut failed = 0;
    for more in 0..24 {
        let free = rustix::fs::statvfs(here.store()).unwrap().f_bfree as usize;
        // not written by this process: what another test's thread starts meanwhile would have the file open for a moment, and its
        // pages would outlive its name
        let fill = format!("head -c {} /dev/zero > {}", (free - OWN - more) * PAGE, filler.display());
        assert!(Command::new("sh").args(["-c", &fill]).status().unwrap().success());
        let ran = here.run(["commit", "box"]);
        fs::remove_file(&filler).unwrap();
        if ran.code == 0 {
            break;
        }
        failed += 1;
        assert!(ran.code == 3 && ran.stderr.contains("no space left"), "{more} {ran:#?}");
        assert_eq!(layers(), before, "{more}: {ran:#?}");
    }
    assert!((3..24).contains(&failed), "{failed}");
    let before = layers();
    here.ok(["commit", "--squash", "box", "one"]);
    assert_eq!(layers(), before + 1, "only the one that has all");
}

#[test]
fn flags_that_cannot_be_met_are_refused_before_anything_is_made() {
    let Some(here) = with_busybox("flags_that_cannot_be_met_are_refused_before_anything_is_made") else {
        return;
    };
    here.write("env", "A=b\n# remark\n  B = c\n");
    here.write("nameless", "=c\n");
    here.write("bytes", b"A=b\nB=\xff\n");
    for (words, code, said) in [
        (
            &["run", "--restart", "always", "busybox"][..],
            125,
            "--restart always is not supported: nothing runs",
        ),
        (
            &["create", "--restart=on-failure:3", "busybox"],
            1,
            "let a service of the machine run 'rbuild start -a NAME'",
        ),
        (&["create", "--restart=often", "busybox"], 1, "unknown policy 'often'"),
        (&["rm", "-l", "a/b"], 2, "there are no links between containers"),
        (
            &["run", "--cidfile", "nowhere/id", "busybox", "true"],
            125,
            "nowhere/id: no such file or directory",
        ),
        (
            &["run", "--env-file", "env", "busybox"],
            125,
            "invalid env file (env): variable 'B ' contains whitespaces",
        ),
        (&["run", "--env-file", "nameless", "busybox"], 125, "no variable name on line '=c'"),
        (
            &["run", "--label-file", "nameless", "busybox"],
            125,
            "invalid label file (nameless): no variable name",
        ),
        (&["run", "--env-file", "bytes", "busybox"], 125, "invalid utf8 bytes at line 2"),
        (&["run", "--env-file", "nothing", "busybox"], 125, "open nothing: no such file or directory"),
    ] {
        let ran = here.fails(words);
        assert!(ran.code == code && ran.stderr.contains(said), "{words:?} {ran:#?}");
    }
    assert_eq!(here.ok(["ps", "-aq"]), "");
    here.ok(["create", "--restart=no", "busybox"]);
}

#[test]
fn files_of_variables_and_labels_are_read_as_docker_s() {
    let Some(here) = with_busybox("files_of_variables_and_labels_are_read_as_docker_s") else { return };
    here.write("env", "\u{feff}A= b \n\n\t# remark\n  C=d=e\nHOME\nNOWHERE\nE=\r\n");
    here.write("labels", "a=b c\n#x\nalone\nd=\n");
    let words =
        ["create", "--name", "box", "--env-file", "env", "-e", "C=over", "--label-file", "labels", "-l", "e"];
    here.ok([&words[..], &["busybox"]].concat());
    let home = here.path().display().to_string();
    let seen = here.ok(["inspect", "-f", "{{json .Config.Env}} {{json .Config.Labels}}", "box"]);
    let env = format!("[\"A= b \",\"C=over\",\"HOME={home}\",\"E=\"]");
    assert_eq!(seen, format!("{env} {{\"a\":\"b c\",\"d\":\"\",\"e\":\"\"}}\n"));
}

#[test]
fn inspect_says_what_a_container_was_given() {
    let Some(here) = with_busybox("inspect_says_what_a_container_was_given") else { return };
    let flags = "--memory 64m --cpus 0.5 --pids-limit 50 --ulimit nofile=99:100 --read-only --init --shm-size 1m \
        --log-opt max-size=1m --rm -v vol:/vol:ro --tmpfs /tmp:size=1m --mount type=tmpfs,dst=/mem -t -i \
        --hostname host --stop-signal USR1 --stop-timeout 4";
    here.ok(["create", "--name", "box"].into_iter().chain(flags.split_whitespace()).chain(["busybox"]));
    let host = "{{with .HostConfig}}{{json .Binds}} {{json .Mounts}} {{json .Tmpfs}} {{.Memory}} {{.MemorySwap}} {{.NanoCpus}} {{.CpuQuota}} \
        {{.PidsLimit}} {{json .Ulimits}} {{.ReadonlyRootfs}} {{.Init}} {{.AutoRemove}} {{json .LogConfig}} {{.ShmSize}} {{.RestartPolicy.Name}}{{end}}";
    let seen = here.ok(["inspect", "-f", host, "box"]);
    let expected = r#"["vol:/vol:ro"] [{"Type":"tmpfs","Target":"/mem"}] {"/tmp":"size=1m"} 67108864 134217728 500000000 0 50 "#.to_owned()
        + r#"[{"Name":"nofile","Hard":100,"Soft":99}] true true true {"Type":"json-file","Config":{"max-size":"1048576"}} 1048576 no"#;
    assert_eq!(seen.trim_end(), expected);
    let config =
        "{{with .Config}}{{.Hostname}} {{.Tty}} {{.OpenStdin}} {{.StopSignal}} {{.StopTimeout}}{{end}}";
    assert_eq!(here.ok(["inspect", "-f", config, "box"]), "host true true USR1 4\n");
}

fn wait_for(mut happens: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !happens() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not happen");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_host_name_that_is_none_leaves_no_container() {
    as_root_and_user("a_host_name_that_is_none_leaves_no_container", |here| {
        for command in [&["run", "-d"][..], &["run", "--rm"], &["create"]] {
            let refused = here.fails([command, &["-h", "a b", "busybox", "true"]].concat());
            assert!(refused.stderr.contains("\"a b\" is no host name"), "{refused:?}");
        }
        assert_eq!(here.ok(["ps", "-aq"]), "");
    });
}

#[test]
fn only_a_kernel_that_forbids_programs_in_memory_is_said_to_do_so() {
    as_root_and_user("only_a_kernel_that_forbids_programs_in_memory_is_said_to_do_so", |here| {
        let steps = format!("FROM busybox\nRUN : {}\n", format!("{}\\\n", "x".repeat(50_000)).repeat(4));
        let context = here.context("c", &steps, &[]);
        let refused = here.fails(["build", "--progress=plain", context.to_str().unwrap()]);
        assert!(!refused.stderr.contains("memfd_noexec"), "{:.300}", refused.stderr);
        assert!(refused.stderr.to_lowercase().contains("argument list too long"), "{:.300}", refused.stderr);
    });
}

#[test]
fn what_is_full_is_named() {
    let test = "what_is_full_is_named";
    let Some(here) = with_busybox(test) else { return };
    let place = here.path().join("full");
    fs::create_dir(&place).unwrap();
    let Some(_full) = Mounted::new(place.clone(), "size=64k") else { return };
    let script = "mkdir /d; head -c 200000 /dev/zero > /d/big; sleep 1000";
    here.ok(["run", "-d", "--name", "box", "--tmpfs", "/small:size=64k", "busybox", "sh", "-c", script]);
    wait_for(|| here.run(["exec", "box", "test", "-s", "/d/big"]).code == 0);
    let place = place.to_str().unwrap();
    let say = |words: &[&str]| here.fails(words).stderr;
    let full = |path: &str| format!("{place}/{path}: no space left on device");
    assert!(say(&["cp", "box:/d", &format!("{place}/out")]).contains(&full("out/big")));
    assert!(say(&["cp", "box:/d/.", &format!("{place}/out")]).contains(&full("out/big")));
    assert!(say(&["cp", "box:/d/big", place]).contains(&full("big")));
    let file = here.write("file", "x".repeat(200_000));
    let said = say(&["cp", file.to_str().unwrap(), "box:/small/new"]);
    assert!(said.contains("box:/small/new: no space left on device"), "{said}");
    let archive = format!("{place}/a.tar");
    assert!(say(&["export", "-o", &archive, "box"]).contains(&full("a.tar")));
    assert!(say(&["save", "-o", &archive, "busybox"]).contains(&full("a.tar")));
    here.ok(["rm", "-f", "box"]);
}

/// As Ctrl-Z does to a `run` in the foreground, which stays with its container itself.
#[test]
fn a_container_whose_monitor_is_stopped_is_named_and_can_be_removed() {
    as_root_and_user("a_container_whose_monitor_is_stopped_is_named_and_can_be_removed", |here| {
        here.ok(["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
        let monitor = monitor_of(here, "box");
        let kill = |signal: &str| Command::new("kill").args([signal, monitor.as_str()]).status().unwrap();
        assert!(kill("-STOP").success());
        let hint = format!(
            "container box hangs on process {monitor}, which is stopped: continue that with 'kill -CONT {monitor}'"
        );
        for words in
            [&["stop", "-t", "0", "box"][..], &["kill", "box"], &["update", "--pids-limit", "9", "box"]]
        {
            let ran = here.fails(words);
            assert!(ran.stderr.contains(&hint), "{words:?} {ran:#?}");
        }
        assert!(kill("-CONT").success());
        assert_eq!(here.ok(["wait", "box"]), "137\n", "what it was asked meanwhile it does");
        here.ok(["start", "box"]);
        let monitor = monitor_of(here, "box");
        assert!(Command::new("kill").args(["-STOP", &monitor]).status().unwrap().success());
        let pid = here.ok(["inspect", "-f", "{{.State.Pid}}", "box"]);
        here.ok(["rm", "-f", "box"]);
        wait_for(|| !fs::exists(format!("/proc/{}", pid.trim_end())).unwrap());
        assert_eq!(here.ok(["ps", "-aq"]), "");
    });
}

#[test]
fn a_health_that_cannot_be_noted_keeps_no_container_from_starting() {
    let test = "a_health_that_cannot_be_noted_keeps_no_container_from_starting";
    let Some(here) = with_busybox(test) else { return };
    let id = here.ok(["create", "--name", "box", "--health-cmd", "true", "busybox", "sleep", "1000"]);
    fs::create_dir(here.store().join("containers").join(id.trim_end()).join("health")).unwrap();
    let ran = here.run(["start", "box"]);
    let warning = "the health of the container is not shown, because it is noted nowhere: ";
    assert!(ran.code == 0 && ran.stderr.contains(warning), "{ran:#?}");
    assert!(here.ok(["ps", "--format", "{{.Status}}"]).ends_with(" (health: starting)\n"));
    here.ok(["rm", "-f", "box"]);
}

#[test]
fn a_damaged_lock_of_containers_is_told_whoever_meets_it() {
    let Some(here) = with_busybox("a_damaged_lock_of_containers_is_told_whoever_meets_it") else { return };
    here.ok(["create", "--name", "box", "busybox", "true"]);
    let lock = here.store().join("locks/containers");
    fs::remove_file(&lock).unwrap();
    fs::create_dir(&lock).unwrap();
    for words in [
        &["run", "--rm", "busybox", "true"][..],
        &["run", "-d", "busybox", "true"],
        &["create", "busybox"],
        &["rename", "box", "other"],
    ] {
        let ran = here.fails(words);
        assert!(
            ran.code != 255 && ran.stderr.contains("locks/containers: is a directory"),
            "{words:?} {ran:#?}"
        );
    }
}

#[test]
fn a_pasta_that_fails_leaves_the_host_s_network_or_an_error() {
    let Some(here) = with_busybox("a_pasta_that_fails_leaves_the_host_s_network_or_an_error") else { return };
    let directory = here.path().join("bin");
    fs::create_dir(&directory).unwrap();
    here.write("bin/pasta", "#!/bin/sh\necho 'it does not want to' >&2\n");
    let everybody = fs::Permissions::from_mode(0o755);
    fs::set_permissions(directory.join("pasta"), everybody).unwrap();
    let run = |words: &[&str]| {
        let mut run = here.command(words);
        let path = format!("{}:/bin:/usr/bin", directory.display());
        Ran::of(run.env("PATH", path).stdin(Stdio::null()).output().unwrap())
    };
    let look = "echo started; grep -c . /etc/hosts";
    let ran = run(&["run", "--rm", "busybox", "sh", "-c", look]);
    let note = "pasta: it does not want to: the network of the container is the host's";
    assert!(ran.stdout.starts_with("started\n") && ran.stderr.matches(note).count() == 1, "{ran:#?}");
    let ran = run(&["run", "--name", "kept", "busybox", "sh", "-c", look]);
    assert!(ran.stdout.starts_with("started\n") && ran.stderr.matches(note).count() == 1, "{ran:#?}");
    let ran = run(&["run", "--rm", "-p", "80", "busybox", "true"]);
    assert!(ran.code == 125 && ran.stderr.contains("pasta: it does not want to"), "{ran:#?}");
    here.ok(["rm", "kept"]);
}
