//! `cache mount`, and `build --cache-mount`: caches that outlive a machine.

use crate::{as_root_and_user, marked_output, with_busybox};
use rbuild_testkit::Workspace;
use std::{fs, os::unix::fs::MetadataExt, process::Stdio};

/// Carries out a RUN and returns what it wrote in lines that begin with `> `.
fn run(here: &Workspace, step: &str, arguments: &[&str]) -> (Vec<String>, String) {
    let context = here.context("c", &format!("FROM busybox\nRUN {step}\n"), &[]);
    let mut all = vec!["build", "--no-cache", "--progress=plain"];
    all.extend(arguments);
    all.push(context.to_str().unwrap());
    let ran = here.run(all);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    (marked_output(&ran.stderr), ran.stderr)
}

const OWNED: &str = "--mount=type=cache,id=warm,target=/m,uid=7,mode=0750";

#[test]
fn a_cache_mount_moves_to_another_store_with_its_owner_and_its_links() {
    as_root_and_user("a_cache_mount_moves_to_another_store_with_its_owner_and_its_links", |here| {
        run(
            here,
            &format!("{OWNED} mkdir -p /m/d && echo data > /m/d/f && ln /m/d/f /m/hard && ln -s d/f /m/soft"),
            &[],
        );
        let listed = here.ok(["cache", "mount", "ls", "--format", "{{.ID}} {{.Owner}} {{.Mode}} {{.InUse}}"]);
        assert_eq!(listed, "warm 7:0 0750 false\n");
        let archive = here.path().join("warm.tar");
        here.ok(["cache", "mount", "export", "-o", archive.to_str().unwrap(), "warm"]);
        let freed = here.ok(["cache", "mount", "rm", "warm"]);
        assert!(freed.starts_with("warm: ") && here.ok(["cache", "mount", "ls", "-q"]).is_empty(), "{freed}");
        let show = format!(
            "{OWNED} echo \"> $(cat /m/soft) $(stat -c %h:%u /m/hard) $(ls -A /m | wc -l) $(stat -c %a:%u /m)\""
        );
        assert_eq!(run(here, &show, &[]).0, ["  0 750:7"], "another one begins empty");
        assert_eq!(here.ok(["cache", "mount", "import", "-i", archive.to_str().unwrap()]), "warm\n");
        assert_eq!(run(here, &show, &[]).0, ["data 2:0 3 750:7"]);
        let plain = here
            .command(["cache", "mount", "import", "other"])
            .stdin(Stdio::from(fs::File::open(&archive).unwrap()))
            .output()
            .unwrap();
        assert!(plain.status.success(), "{plain:?}");
        assert_eq!(here.ok(["cache", "mount", "ls", "-q"]).lines().collect::<Vec<_>>(), ["other", "warm"]);
    });
}

#[test]
fn a_build_begins_with_a_warm_directory_where_there_is_none() {
    as_root_and_user("a_build_begins_with_a_warm_directory_where_there_is_none", |here| {
        here.write("warm/a/b", "from the host");
        let warm = format!("--cache-mount=id=m,src={}", here.path().join("warm").display());
        let show = "--mount=type=cache,id=m,target=/m echo \"> $(cat /m/a/b) $(stat -c %u /m/a/b)\"; echo changed > /m/a/b";
        assert_eq!(run(here, show, &[&warm]).0, ["from the host 0"]);
        assert_eq!(run(here, show, &[&warm]).0, ["changed 0"], "what the store has counts");
        assert_eq!(fs::read_to_string(here.path().join("warm/a/b")).unwrap(), "from the host");
        let missing = run(
            here,
            "--mount=type=cache,id=n,target=/m echo \"> $(ls -A /m | wc -l)\"",
            &["--cache-mount=id=n,src=/not/there"],
        );
        assert_eq!(missing.0, ["0"]);
        assert!(missing.1.contains("/not/there is not there, so it begins empty"), "{}", missing.1);
        let archive = here.path().join("m.tar");
        here.ok(["cache", "mount", "export", "-o", archive.to_str().unwrap(), "m"]);
        here.ok(["cache", "mount", "rm", "m"]);
        let from_archive = format!("--cache-mount=id=m,src={}", archive.display());
        assert_eq!(run(here, show, &[&from_archive]).0, ["changed 0"]);
    });
}

#[test]
fn a_cache_mount_that_becomes_too_large_is_emptied_and_mistakes_are_named() {
    let Some(here) = with_busybox("a_cache_mount_that_becomes_too_large_is_emptied_and_mistakes_are_named")
    else {
        return;
    };
    let write = "--mount=type=cache,id=m,target=/m echo \"> $(ls -A /m | wc -l)\"; head -c 600000 /dev/zero > /m/$RANDOM";
    let limit = "--cache-mount=id=m,max-size=1m";
    let rounds: Vec<_> = (0..4).map(|_| run(&here, write, &[limit])).collect();
    assert_eq!(rounds.iter().map(|round| round.0[0].as_str()).collect::<Vec<_>>(), ["0", "1", "0", "1"]);
    assert!(
        rounds[1].1.contains("cache mount m had 1.2") && rounds[1].1.contains("it was emptied"),
        "{}",
        rounds[1].1
    );
    here.write("config/rbuild/config.toml", "[gc]\nmountMaxSize = \"100kB\"\n");
    let context = here.context("c", &format!("FROM busybox\nRUN {}\n", write.replace("id=m", "id=n")), &[]);
    let built = here
        .command(["build", "-q", context.to_str().unwrap()])
        .env("XDG_CONFIG_HOME", here.path().join("config"))
        .output()
        .unwrap();
    assert!(built.status.success(), "{built:?}");
    assert_eq!(here.ok(["cache", "mount", "ls", "-q"]), "", "both were too large in the end");

    for (words, problem) in [
        (&["cache", "mount", "export", "-o", "x.tar", "nothing"][..], "No such cache mount: nothing"),
        (&["cache", "mount", "rm", "nothing"], "No such cache mount: nothing"),
        (&["cache", "mount", "import", "-i", "/dev/null"], ""),
        (&["build", "--cache-mount", "src=x", "."], "id is missing"),
    ] {
        let ran = here.fails(words);
        assert!(ran.stderr.contains(problem), "{ran:#?}");
    }
    assert!(here.ok(["cache", "mount", "ls", "-q"]).is_empty());
}

#[test]
fn an_archive_of_a_stranger_stays_inside_the_mount() {
    let Some(here) = with_busybox("an_archive_of_a_stranger_stays_inside_the_mount") else { return };
    let tree = here.path().join("evil");
    fs::create_dir_all(&tree).unwrap();
    std::os::unix::fs::symlink("/", tree.join("out")).unwrap();
    let tar = |arguments: &[&str]| {
        let archive = here.path().join("evil.tar");
        let mut command = std::process::Command::new("tar");
        command.arg("-cPf").arg(&archive).args(arguments);
        assert!(command.status().unwrap().success());
        archive
    };
    let link = tree.join("out");
    here.write("payload", "evil");
    let payload = here.path().join("payload");
    let (transform, base) = ("--transform=s,.*payload,out/etc/evil-mark,", here.path().to_str().unwrap());
    let archive =
        tar(&["-C", tree.to_str().unwrap(), "out", "-C", base, transform, payload.to_str().unwrap()]);
    assert!(link.exists());
    let imported = here.run(["cache", "mount", "import", "-i", archive.to_str().unwrap(), "evil"]);
    assert!(!fs::exists("/etc/evil-mark").unwrap(), "{imported:#?}");
    let archive = tar(&["--transform=s,.*payload,../../evil-mark,", payload.to_str().unwrap()]);
    here.run(["cache", "mount", "import", "-i", archive.to_str().unwrap(), "evil"]);
    assert!(!fs::exists(here.store().join("evil-mark")).unwrap());
    assert!(!fs::exists(here.store().join("mounts/evil-mark")).unwrap());
}

#[test]
fn mounts_that_a_killed_build_did_not_make_are_removed_and_no_others() {
    as_root_and_user("mounts_that_a_killed_build_did_not_make_are_removed_and_no_others", |here| {
        run(here, "--mount=type=cache,target=/c echo kept > /c/file", &[]);
        // as a build leaves them that is killed at this moment
        let mounts = here.store().join("mounts");
        let left = [mounts.join("0".repeat(32)), mounts.join("1".repeat(32)).join("0.new")];
        for place in &left {
            fs::create_dir_all(place).unwrap();
            for place in place.ancestors().take_while(|place| **place != mounts) {
                let owner = fs::metadata(&mounts).unwrap();
                std::os::unix::fs::chown(place, Some(owner.uid()), Some(owner.gid())).unwrap();
            }
        }
        here.ok(["prune", "-f"]);
        assert_eq!(fs::read_dir(&mounts).unwrap().count(), 1);
        let (said, _) = run(here, "--mount=type=cache,target=/c sed 's/^/> /' /c/file", &[]);
        assert!(said.iter().any(|line| line.contains("kept")), "{said:?}");
    });
}
