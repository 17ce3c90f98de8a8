//! Many containers: all at once, and one after the other.

use crate::{as_root_and_user, with_busybox};
use rbuild_testkit::Workspace;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

const CROWD: usize = 20;

#[test]
fn twenty_containers_start_at_once() {
    as_root_and_user("twenty_containers_start_at_once", |here| {
        let names: Vec<String> = (0..CROWD).map(|number| format!("box{number}")).collect();
        let all_at_once = |words: &dyn Fn(&str) -> Vec<String>| {
            let start = |name: &String| {
                here.command(words(name)).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
            };
            let started: Vec<_> = names.iter().map(start).collect();
            for command in started {
                let output = command.wait_with_output().unwrap();
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            }
        };
        let words = |text: String| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        all_at_once(&|name| words(format!("run -d --name {name} busybox sleep 1000")));
        assert_eq!(here.ok(["ps", "-q"]).lines().count(), CROWD);
        all_at_once(&|name| words(format!("exec {name} true")));
        all_at_once(&|name| words(format!("rm -f {name}")));
        assert_eq!(here.ok(["ps", "-aq"]), "");
    });
}

/// What rbuild could leave: files of the store, control groups, mounts, processes of this workspace.
fn left(here: &Workspace) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut todo = vec![here.store().to_owned(), PathBuf::from("/sys/fs/cgroup")];
    while let Some(directory) = todo.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let name = entry.path().display().to_string();
            let is_group = directory.starts_with("/sys/fs/cgroup");
            if is_directory {
                todo.push(entry.path());
            } else if !is_group {
                found.insert(name.clone());
            }
        }
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let store = here.store().display().to_string();
    found.extend(mounts.lines().filter(|line| line.contains(&store)).map(str::to_owned));
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&line).contains(&store) {
            found.insert(entry.path().display().to_string());
        }
    }
    found
}

#[test]
fn containers_that_were_removed_leave_nothing() {
    let Some(here) = with_busybox("containers_that_were_removed_leave_nothing") else { return };
    let round = || {
        here.ok(["run", "--rm", "busybox", "true"]);
        here.ok(["run", "--name", "box", "busybox", "true"]);
        here.ok(["rm", "box"]);
        here.ok(["run", "-d", "--name", "box", "--pids-limit", "50", "busybox", "sleep", "1000"]);
        // the group of a container is the monitor's to remove
        let pid = here.ok(["inspect", "-f", "{{.State.Pid}}", "box"]);
        let groups = fs::read_to_string(Path::new("/proc").join(pid.trim()).join("cgroup")).unwrap();
        let groups: Vec<PathBuf> = groups
            .lines()
            .filter_map(|line| line.splitn(3, ':').nth(2).filter(|group| group.contains("rbuild-")))
            .map(|group| PathBuf::from(group.trim_start_matches('/')))
            .collect();
        here.ok(["exec", "box", "true"]);
        here.ok(["rm", "-f", "box"]);
        groups
    };
    round();
    let before = left(&here);
    for _ in 0..10 {
        for group in round() {
            for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
                wait_until_gone(&hierarchy.path().join(&group));
            }
        }
    }
    assert_eq!(left(&here), before);
}

fn wait_until_gone(path: &Path) {
    let begun = std::time::Instant::now();
    while path.exists() {
        assert!(begun.elapsed().as_secs() < 10, "{} stays", path.display());
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// The log is in files of a size, and those who follow it see everything that is still there when they read.
#[test]
fn a_log_is_kept_in_files_of_a_size() {
    let Some(here) = with_busybox("a_log_is_kept_in_files_of_a_size") else { return };
    let counts = "i=0; while [ $i -lt 400 ]; do echo line $i; i=$((i+1)); usleep 2000; done";
    let limits = ["--log-opt", "max-size=4k", "--log-opt", "max-file=3"];
    let words = [&["run", "-d", "--name", "box"], &limits[..], &["busybox", "sh", "-c", counts]].concat();
    let id = here.ok(&words);
    let followed = here.ok(["logs", "-f", "box"]);
    let expected: String = (0..400).map(|number| format!("line {number}\n")).collect();
    assert_eq!(followed, expected, "over all rotations");
    let directory = here.store().join("containers").join(id.trim());
    let sizes: Vec<u64> = ["log.2", "log.1", "log"]
        .iter()
        .map(|name| fs::metadata(directory.join(name)).unwrap().len())
        .collect();
    assert!(sizes.iter().all(|size| *size <= 4096) && !directory.join("log.3").exists(), "{sizes:?}");
    let kept = here.ok(["logs", "box"]);
    assert!(expected.ends_with(&kept) && kept.lines().count() > 100, "{kept}");
    let last = here.ok(["logs", "-n", "150", "box"]);
    assert!(last.lines().count() == 150 && kept.ends_with(&last), "{last}");
    here.ok(["rm", "box"]);
    here.ok(["run", "-d", "--name", "quiet", "--log-driver", "none", "busybox", "echo", "x"]);
    here.ok(["wait", "quiet"]);
    let said = here.fails(["logs", "quiet"]).stderr;
    assert!(said.contains("configured logging driver does not support reading"), "{said}");
    let first = here.ok(["ps", "-aq", "--no-trunc", "--filter", "name=^quiet$"]);
    here.ok(["create", "--name", "quiet2", "busybox"]);
    let names = |filter: &str| here.ok(["ps", "-a", "--filter", filter, "--format", "{{.Names}}"]);
    assert_eq!(names("name=^/quiet$"), "quiet\n");
    assert_eq!(
        (names("since=quiet"), names(&format!("before={}", first.trim()))),
        ("quiet2\n".into(), "".into())
    );
    assert_eq!(names("before=quiet2"), "quiet\n");
}
