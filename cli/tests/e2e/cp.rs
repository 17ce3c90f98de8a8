//! `cp`: files between containers and the host. What becomes of each kind of source and destination was measured with docker.

use crate::{as_root_and_user, wait_for, with_busybox};
use std::{
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, symlink},
    process::{Command, Stdio},
};

/// In the container and on the host alike: an empty directory, a file, links to both and one to nothing.
const PLACES: &str = "rm -rf /t; mkdir -p /t/dir; echo old > /t/file; ln -s dir /t/dlink; ln -s file /t/flink; ln -s gone /t/dead";

/// Source, destination, and what is in the destination then, or how it fails.
const CASES: &[(&str, &str, Result<&str, &str>)] = &[
    ("one", "/t/new", Ok("new")),
    ("one", "/t/new/", Err("no such directory")),
    ("one", "/t/file", Ok("")),
    ("one", "/t/file/", Err("no such directory")),
    ("one", "/t/dir", Ok("dir/one")),
    ("one", "/t/dir/new", Ok("dir/new")),
    ("one", "/t/no/new", Err("Could not find the file")),
    ("one", "/t/dlink", Ok("dir/one")),
    ("one", "/t/dlink/x", Ok("dir/x")),
    ("one", "/t/flink", Ok("")),
    ("one", "/t/dead", Ok("gone")),
    ("one/", "/t/new", Err("not a directory")),
    ("d", "/t/new", Ok("new new/ln new/one new/sub new/sub/two")),
    ("d", "/t/new/", Ok("new new/ln new/one new/sub new/sub/two")),
    ("d", "/t/file", Err("cannot copy directory")),
    ("d", "/t/dir", Ok("dir/d dir/d/ln dir/d/one dir/d/sub dir/d/sub/two")),
    ("d/", "/t/dir", Ok("dir/d dir/d/ln dir/d/one dir/d/sub dir/d/sub/two")),
    ("d/.", "/t/dir", Ok("dir/ln dir/one dir/sub dir/sub/two")),
    ("d/.", "/t/new", Ok("new new/ln new/one new/sub new/sub/two")),
    ("d/.", "/t/dlink", Ok("dir/ln dir/one dir/sub dir/sub/two")),
    ("d", "/t/no/new", Err("Could not find the file")),
    ("dl/", "/t/new", Ok("new new/ln new/one new/sub new/sub/two")),
    ("dl", "/t/new", Ok("new")),
    ("broken", "/t/new", Ok("new")),
    ("nosuch", "/t/new", Err("Could not find the file")),
];

fn sources(top: &std::path::Path) {
    fs::create_dir_all(top.join("d/sub")).unwrap();
    for (path, text) in [("one", "one"), ("d/one", "1"), ("d/sub/two", "2")] {
        fs::write(top.join(path), text).unwrap();
    }
    for (target, link) in [("one", "d/ln"), ("d", "dl"), ("nowhere", "broken")] {
        symlink(target, top.join(link)).unwrap();
    }
}

/// What is in `/t` of the container beside what was there.
fn added(listing: &str) -> String {
    let first = ["", "dead", "dir", "dlink", "file", "flink"];
    listing
        .lines()
        .map(|line| line.trim_start_matches('/'))
        .filter(|name| !first.contains(name))
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn what_is_copied_goes_where_docker_puts_it() {
    as_root_and_user("what_is_copied_goes_where_docker_puts_it", |here| {
        here.ok(["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
        sources(here.path());
        for (source, destination, expected) in CASES {
            here.ok(["exec", "box", "sh", "-c", PLACES]);
            let ran = here.run(["cp", source, &format!("box:{destination}")]);
            let listing = here.ok(["exec", "box", "sh", "-c", "cd /t; find . | sed 's/^.//' | sort"]);
            match expected {
                Ok(expected) => {
                    assert!(ran.code == 0 && ran.stderr.is_empty(), "{source} {destination} {ran:#?}");
                    assert_eq!(added(&listing), *expected, "{source} {destination}");
                }
                Err(said) => {
                    assert!(ran.code == 1 && ran.stderr.contains(said), "{source} {destination} {ran:#?}");
                    assert_eq!(added(&listing), "", "{source} {destination}");
                }
            }
        }
        here.ok(["rm", "-f", "box"]);
    });
}

#[test]
fn what_is_copied_out_goes_where_docker_puts_it() {
    as_root_and_user("what_is_copied_out_goes_where_docker_puts_it", |here| {
        here.ok(["create", "--name", "box", "busybox", "true"]);
        let from = here.path().join("from");
        fs::create_dir(&from).unwrap();
        sources(&from);
        here.ok(["cp", "from/.", "box:/s"]);
        let top = here.path().join("t");
        for (source, destination, expected) in CASES {
            fs::remove_dir_all(&top).ok();
            // made by the user who copies
            let places = format!("t={}; {}", top.display(), PLACES.replace("/t", "$t"));
            let mut shell = Command::new("sh");
            assert!(shell.args(["-c", &places]).status().unwrap().success());
            let owner = fs::metadata(here.path()).unwrap();
            for path in [top.clone(), top.join("dir"), top.join("file")] {
                std::os::unix::fs::chown(path, Some(owner.uid()), Some(owner.gid())).unwrap();
            }
            let destination = destination.trim_start_matches('/');
            let ran = here.run(["cp", &format!("box:/s/{source}"), destination]);
            let found = Command::new("sh")
                .args(["-c", "cd $0; find . | sed 's/^.//' | LC_ALL=C sort"])
                .arg(&top)
                .output()
                .unwrap();
            let listing = String::from_utf8(found.stdout).unwrap();
            match expected {
                Ok(expected) => {
                    assert!(ran.code == 0 && ran.stderr.is_empty(), "{source} {destination} {ran:#?}");
                    assert_eq!(added(&listing), *expected, "{source} {destination}");
                }
                Err(said) => {
                    assert!(ran.code == 1 && ran.stderr.contains(said), "{source} {destination} {ran:#?}");
                    assert_eq!(added(&listing), "", "{source} {destination}");
                }
            }
        }
        assert_eq!(here.ok(["start", "-a", "box"]), "");
        here.ok(["rm", "box"]);
    });
}

#[test]
fn links_owners_modes_and_tars_are_copied() {
    let Some(here) = with_busybox("links_owners_modes_and_tars_are_copied") else { return };
    here.ok(["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    sources(here.path());
    let file = here.path().join("one");
    std::os::unix::fs::chown(&file, Some(1000), Some(1001)).unwrap();
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o4751)).unwrap();
    here.ok(["cp", "one", "box:/one"]);
    assert_eq!(here.ok(["exec", "box", "stat", "-c", "%u:%g %a", "/one"]), "1000:1001 4751\n");
    here.ok(["cp", "-L", "dl", "box:/followed"]);
    here.ok(["cp", "dl", "box:/kept"]);
    assert_eq!(here.ok(["exec", "box", "sh", "-c", "readlink /kept; cat /followed/one"]), "d\n1");
    here.ok(["cp", "box:/one", "back"]);
    let back = fs::metadata(here.path().join("back")).unwrap();
    assert_eq!(
        (back.uid(), back.mode() & 0o7777, back.mtime()),
        (0, 0o4751, fs::metadata(&file).unwrap().mtime())
    );
    // a tar out, and in again, also compressed
    let tar = here.command(["cp", "box:/followed", "-"]).output().unwrap().stdout;
    let names = |tar: &[u8]| {
        fs::write(here.path().join("tar"), tar).unwrap();
        let listed = Command::new("tar").args(["tf", "tar"]).current_dir(here.path()).output().unwrap();
        String::from_utf8(listed.stdout).unwrap().trim_end().replace('\n', " ")
    };
    assert_eq!(names(&tar), "followed/ followed/ln followed/one followed/sub/ followed/sub/two");
    let content = here.command(["cp", "box:/followed/.", "-"]).output().unwrap().stdout;
    assert_eq!(names(&content), "./ ./ln ./one ./sub/ ./sub/two");
    let feed = |bytes: &[u8], to: &str| {
        let mut cp = here.command(["cp", "-", to]);
        let mut cp = cp.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let _ = cp.stdin.take().unwrap().write_all(bytes);
        rbuild_testkit::Ran::of(cp.wait_with_output().unwrap())
    };
    here.ok(["exec", "box", "mkdir", "/in"]);
    assert_eq!(feed(&tar, "box:/in").code, 0);
    assert_eq!(here.ok(["exec", "box", "cat", "/in/followed/sub/two"]), "2");
    assert!(feed(&tar, "box:/one").stderr.contains("must be a directory"));
    assert!(feed(b"garbage", "box:/in").stderr.contains("cannot read the archive"));
    assert!(feed(&tar[..1000], "box:/in").code != 0);
    // a link to itself is one to a file that was there, or none
    let knot = rbuild_testkit::Tar::new().hard_link("knot", "knot").finish();
    let said = feed(&knot, "box:/in").stderr;
    assert!(said.contains("knot") && said.contains("is a hard link to a file that is not there"), "{said}");
    here.ok(["exec", "box", "sh", "-c", "echo tied > /in/knot"]);
    assert_eq!(feed(&knot, "box:/in").code, 0);
    assert_eq!(here.ok(["exec", "box", "cat", "/in/knot"]), "tied\n");
    // neither a file nor a directory takes the place of the other
    here.ok(["exec", "box", "sh", "-c", "mkdir -p /in/one; rm -rf /in/followed; echo > /in/followed"]);
    assert!(here.fails(["cp", "one", "box:/in"]).stderr.contains("cannot overwrite directory"));
    assert!(feed(&tar, "box:/in").stderr.contains("cannot overwrite non-directory"));
    for (words, said) in [
        (["cp", "box:/one", "box:/two"], "copying between containers is not supported"),
        (["cp", "one", "two"], "must specify at least one container source"),
        (["cp", "nobody:/one", "two"], "No such container: nobody"),
    ] {
        assert!(here.fails(words).stderr.contains(said), "{words:?}");
    }
    here.ok(["rm", "-f", "box"]);
}

/// No link of a container leads a copy out of it, whatever it does meanwhile.
#[test]
fn links_of_a_container_stay_in_it() {
    as_root_and_user("links_of_a_container_stay_in_it", |here| {
        let secret = here.write("host/secret", "of the host");
        let host = here.path().join("host").to_str().unwrap().to_owned();
        let script = format!(
            "ln -s /../../../../{host} /out; ln -s /proc/1/root/{host} /magic; mkdir /flips; mkdir /real; \
             while :; do mv /flips /d; ln -s /../../..{host} /flips; rm /flips; mv /d /flips; done"
        );
        here.ok(["run", "-d", "--name", "box", "busybox", "sh", "-c", &script]);
        fs::write(here.path().join("mine"), "new").unwrap();
        for path in ["/out/secret", "/magic/secret", "/out", "/proc/self/root/out/secret"] {
            let ran = here.run(["cp", "-L", &format!("box:{path}"), "taken"]);
            assert!(ran.code != 0, "{path} {ran:#?}");
            assert_ne!(here.run(["cp", "mine", &format!("box:{path}/secret")]).code, 0, "{path}");
        }
        for _ in 0..100 {
            here.run(["cp", "mine", "box:/flips/secret"]);
            here.run(["cp", "box:/flips/secret", "taken"]);
            if let Ok(taken) = fs::read_to_string(here.path().join("taken")) {
                assert_eq!(taken, "new");
            }
        }
        assert_eq!(fs::read_to_string(secret).unwrap(), "of the host");
        assert_eq!(fs::read_dir(&host).unwrap().count(), 1);
        here.ok(["rm", "-f", "box"]);
    });
}

/// What is mounted in a container stays mounted.
#[test]
fn a_file_that_is_mounted_in_a_container_is_not_replaced() {
    as_root_and_user("a_file_that_is_mounted_in_a_container_is_not_replaced", |here| {
        let mounted = here.write("mounted", "of the host");
        let flag = format!("{}:/conf:ro", mounted.display());
        let script = "ln -s /dev/null /null; echo up; sleep 1000";
        here.ok(["run", "-d", "--name", "box", "-v", &flag, "busybox", "sh", "-c", script]);
        wait_for(|| here.ok(["logs", "box"]) == "up\n");
        fs::write(here.path().join("mine"), "new").unwrap();
        for path in ["/conf", "/etc/hosts", "/null"] {
            let refused = here.fails(["cp", "mine", &format!("box:{path}")]);
            assert!(refused.stderr.contains("which is mounted in the container"), "{path} {refused:#?}");
        }
        assert_eq!(here.ok(["exec", "box", "cat", "/conf"]), "of the host");
        here.ok(["exec", "box", "sh", "-c", "test -c /dev/null"]);
        here.ok(["rm", "-f", "box"]);
    });
}

/// A container that does not run shows its own changes and its mounts.
#[test]
fn a_stopped_container_is_copied_to_and_from() {
    as_root_and_user("a_stopped_container_is_copied_to_and_from", |here| {
        let volume = here.path().join("volume");
        fs::create_dir(&volume).unwrap();
        let owner = fs::metadata(here.path()).unwrap();
        std::os::unix::fs::chown(&volume, Some(owner.uid()), Some(owner.gid())).unwrap();
        let flag = format!("{}:/data", volume.display());
        let cat = "cat /etc/motd /data/in; echo ran > /result";
        here.ok(["create", "--name", "box", "-v", &flag, "busybox", "sh", "-c", cat]);
        fs::write(here.path().join("hello"), "hello ").unwrap();
        here.ok(["cp", "hello", "box:/etc/motd"]);
        here.ok(["cp", "hello", "box:/data/in"]);
        assert_eq!(fs::read_to_string(volume.join("in")).unwrap(), "hello ");
        assert_eq!(here.ok(["start", "-a", "box"]), "hello hello ");
        here.ok(["cp", "box:/result", "result"]);
        assert_eq!(fs::read_to_string(here.path().join("result")).unwrap(), "ran\n");
        here.ok(["cp", "box:/data/in", "in"]);
        here.ok(["commit", "box", "made"]);
        assert_eq!(here.ok(["run", "--rm", "made", "cat", "/etc/motd"]), "hello ");
        here.ok(["rm", "box"]);
    });
}
