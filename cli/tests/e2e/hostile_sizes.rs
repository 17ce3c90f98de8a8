//! Archives and servers that know no measure: bombs of every compression, contents that become no file, more entries than memory
//! could hold, bodies without end or without speed. One error each, in bounded time and memory, and nothing of them is kept.

use crate::{as_root_and_user, with_busybox};
use rbuild_testkit::{HttpBody, HttpReply, HttpServer, Ran, Tar, Workspace, has_program};
use std::{
    fs::{self, File},
    net::TcpListener,
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

/// `script`'s output in the file `name`, from `header` on its standard input.
fn packed(here: &Workspace, name: &str, (header, script): (&[u8], &str)) -> PathBuf {
    let (header, path) = (here.write("header", header), here.path().join(name));
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(File::open(header).unwrap()).stdout(File::create(&path).unwrap());
    assert!(command.status().unwrap().success(), "{script}");
    path
}

/// Builds with the archive as its context, and with it in an ADD.
fn as_context_and_add(here: &Workspace, archive: &PathBuf) -> [Ran; 2] {
    let mut of_context = here.command(["build", "-t", "x", "-"]);
    let of_context = of_context.stdin(Stdio::from(File::open(archive).unwrap())).output().unwrap();
    let context = here.context("c", "FROM busybox\nADD a /all/\n", &[]);
    fs::copy(archive, context.join("a")).unwrap();
    let added = here.run(["build", "-t", "x", context.to_str().unwrap()]);
    fs::remove_file(context.join("a")).unwrap();
    [Ran::of(of_context), added]
}

fn assert_nothing_kept(here: &Workspace, of: &str) {
    let left = fs::read_dir(here.store().join("tmp")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "{of}: nothing half-made stays");
    let verified = here.run(["cache", "verify"]);
    assert_eq!(verified.code, 0, "{of}: {verified:#?}");
}

/// A header of a file called `name` with `gigabytes` of content, which do not follow it.
fn header(name: &str, gigabytes: u64) -> Vec<u8> {
    let size = format!("{:011o}\0", gigabytes << 30);
    Tar::new().changed(b'0', name.as_bytes(), &[(124, size.as_bytes())], b"").cut(512)
}

#[test]
fn an_archive_that_unpacks_to_more_than_the_disk_has_leaves_nothing() {
    const NAME: &str = "an_archive_that_unpacks_to_more_than_the_disk_has";
    let programs = ["gzip -1", "bzip2", "xz -0", "zstd -q"];
    let is_there = |program: &&str| has_program(program.split(' ').next().unwrap(), NAME);
    if !rbuild_testkit::is_root(NAME) || !programs.iter().all(is_there) {
        return;
    }
    let here = Workspace::new(crate::RBUILD);
    fs::create_dir_all(here.store()).unwrap();
    let mount = ["-t", "tmpfs", "-o", "size=40m", "tmpfs"];
    if !Command::new("mount").args(mount).arg(here.store()).status().is_ok_and(|status| status.success()) {
        rbuild_testkit::skip("no tmpfs can be mounted");
        return;
    }
    here.import(rbuild_testkit::Base::Busybox);
    let free = || nix::sys::statvfs::statvfs(here.store()).unwrap().blocks_available();
    for program in programs {
        let bomb = packed(
            &here,
            "bomb",
            (&header("zeros", 1), &format!("{{ cat; head -c 200M /dev/zero; }} | {program}")),
        );
        let before = free();
        for ran in as_context_and_add(&here, &bomb) {
            assert!(ran.stderr.to_lowercase().contains("no space left"), "{program}: {ran:#?}");
            assert_eq!(ran.stderr.matches("ERROR: failed").count(), 1, "{program}: {ran:#?}");
        }
        assert_nothing_kept(&here, program);
        // records of builds that failed are all that there is more
        assert!(before - free() < 128, "{program}: {} blocks", before - free());
    }
    let _ = Command::new("umount").arg("-l").arg(here.store()).status();
}

#[test]
fn what_becomes_no_file_is_bounded() {
    const NAME: &str = "what_becomes_no_file_is_bounded";
    let Some(here) = with_busybox(NAME).filter(|_| has_program("zstd", NAME)) else { return };
    let endless = "{ cat; head -c 1100M /dev/zero; } | zstd -q";
    let [of_context, added] =
        as_context_and_add(&here, &packed(&here, "unnamed", (&header(".", 8), endless)));
    for ran in [&of_context, &added] {
        assert!(ran.code == 1 && ran.stderr.contains("bytes of it become no file"), "{ran:#?}");
    }
    assert!(added.stderr.contains("Dockerfile:2"), "{added:#?}");
    // an ADD does not look at what comes after the last entry
    let whole = Tar::new().file("file", "x").finish();
    let [of_context, added] = as_context_and_add(&here, &packed(&here, "padded", (&whole, endless)));
    assert!(
        of_context.code == 1 && of_context.stderr.contains("bytes of it become no file"),
        "{of_context:#?}"
    );
    assert_eq!(added.code, 0, "{added:#?}");
    assert_nothing_kept(&here, "what becomes no file");
}

#[test]
fn entries_cost_no_memory() {
    const NAME: &str = "entries_cost_no_memory";
    let Some(here) = with_busybox(NAME).filter(|_| has_program("zstd", NAME)) else { return };
    let (two, place) =
        (Tar::new().directory("d/").directory("e/").cut(1024), here.path().display().to_string());
    let peak_with = |times: u32| {
        let script = format!(
            "cd '{place}'; cat > two; for _ in $(seq 512); do cat two; done > more; \
             for _ in $(seq {times}); do cat more; done | zstd -q"
        );
        let many = packed(&here, "many", (&two, &script));
        let context = here.context("c", "FROM scratch\nADD a /all/\n", &[]);
        fs::copy(many, context.join("a")).unwrap();
        peak(here.command(["build", "-q", "--no-cache", context.to_str().unwrap()]))
    };
    let (few, many) = (peak_with(1), peak_with(256));
    assert!(few > 0 && many < few + (12 << 10), "{few} kB with 2^10 entries, {many} kB with 2^18");
}

/// The most memory that a command takes, in kB.
fn peak(mut command: Command) -> u64 {
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    let status = PathBuf::from(format!("/proc/{}/status", child.id()));
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let found = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = found.and_then(|found| found.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(peak);
        thread::sleep(Duration::from_millis(1));
    }
    assert!(child.wait().unwrap().success());
    peak
}

#[test]
fn devices_of_archives_are_left_out_of_contexts_and_told_of_by_add() {
    as_root_and_user("devices of archives", |here| {
        let archive = here.write(
            "devices",
            Tar::new().device("null", (1, 3)).file("Dockerfile", "FROM busybox\nCOPY . /all/\n").finish(),
        );
        let [of_context, added] = as_context_and_add(here, &archive);
        assert_eq!(of_context.code, 0, "{of_context:#?}");
        if added.code == 0 {
            assert_eq!(
                here.ok(["run", "--rm", "x", "stat", "-c", "%F %t:%T", "/all/null"]).trim(),
                "character special file 1:3"
            );
        } else {
            let said = "cannot extract a: entry \"null\" is a device, which only root can make";
            assert!(added.stderr.contains(said) && added.stderr.contains("Dockerfile:2"), "{added:#?}");
            assert_eq!(added.code, 3, "{added:#?}");
        }
        assert_nothing_kept(here, "devices");
    });
}

#[test]
fn a_body_without_end_is_no_dockerfile() {
    let Some(here) = with_busybox("bodies without end") else { return };
    let server = HttpServer::start(|_| HttpReply::with_body(HttpBody::Endless));
    let url = format!("http://{}/c", server.host());
    let context = here.context("c", "FROM busybox\n", &[]).display().to_string();
    for words in [vec!["build", &url], vec!["build", "-f", &url, &context]] {
        let ran = here.run(&words);
        assert!(ran.code == 1 && ran.stderr.contains("the most that a Dockerfile may have"), "{ran:#?}");
    }
    assert_nothing_kept(&here, "a body");
}

/// Takes connections, and says nothing.
fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    (listener, host)
}

#[test]
fn servers_that_send_next_to_nothing_are_given_up() {
    let Some(here) = with_busybox("slow servers") else { return };
    let slow = HttpServer::start(|_| HttpReply::with_body(HttpBody::Trickle));
    let (_listener, still) = silent();
    let add = here.context("add", &format!("FROM busybox\nADD http://{}/f /\n", slow.host()), &[]);
    let cases = [
        (add.display().to_string(), "is too slow"),
        (format!("http://{}/c.tar", slow.host()), "is too slow"),
        (format!("http://{}/a.git", slow.host()), "too slow"),
        (format!("http://{still}/a.git"), "too slow"),
        (format!("git://{still}/a.git"), "sent nothing for 60 seconds"),
    ];
    thread::scope(|scope| {
        for (context, expected) in &cases {
            let here = &here;
            scope.spawn(move || {
                let ran = here.run(["build", context]);
                assert!(ran.code != 0 && ran.stderr.contains(expected), "{context}: {ran:#?}");
                assert_eq!(ran.stderr.matches("ERROR: failed").count(), 1, "{context}: {ran:#?}");
                let is_add = context.ends_with("/add");
                assert!(!is_add || ran.stderr.contains("Dockerfile:2"), "{context}: {ran:#?}");
            });
        }
    });
    assert_nothing_kept(&here, "slow servers");
}
