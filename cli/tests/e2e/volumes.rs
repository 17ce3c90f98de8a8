//! Volumes: named and anonymous ones, those of other containers, directories of the host, memory.

use crate::as_root_and_user;
use rbuild_testkit::Workspace;
use std::{fs, os::unix::fs::symlink};

/// An image with a volume whose directory has files of several kinds and owners.
const IMAGE: &str = "FROM busybox\n\
    RUN mkdir -p /data/sub && echo first > /data/file && ln /data/file /data/hard && ln -s /etc/passwd /data/link \
    && touch -d '2020-01-02 03:04:05' /data/sub && chown 5:6 /data && chmod 1770 /data && ln -s / /way-out\n\
    VOLUME /data\n";

fn with_image(here: &Workspace) {
    here.build("img", &here.context("image", IMAGE, &[]));
}

/// The lines of an answer.
fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

#[test]
fn a_volume_begins_with_the_files_of_the_image_and_outlives_containers() {
    as_root_and_user("a_volume_begins_with_the_files_of_the_image_and_outlives_containers", |here| {
        with_image(here);
        let look = "stat -c '%n %u:%g %a %h' /data /data/file; stat -c %y /data/sub; readlink /data/link";
        let seen = here.ok(["run", "--rm", "-v", "kept:/data", "img", "sh", "-c", look]);
        assert!(seen.starts_with("/data 5:6 1770 3\n/data/file 0:0 644 2\n2020-01-02 03:04:05"), "{seen}");
        assert!(seen.ends_with("\n/etc/passwd\n"), "{seen}");
        here.ok([
            "run",
            "--rm",
            "-v",
            "kept:/data",
            "img",
            "sh",
            "-c",
            "rm /data/file; echo mine > /data/new",
        ]);
        assert_eq!(
            here.ok(["run", "--rm", "-v", "kept:/other", "busybox", "ls", "/other"]),
            "hard\nlink\nnew\nsub\n"
        );
        let ran = here.fails(["run", "--rm", "-v", "kept:/x:ro", "busybox", "touch", "/x/no"]);
        assert!(ran.stderr.contains("Read-only file system"), "{ran:#?}");
        assert_eq!(here.ok(["run", "--rm", "-v", "bare:/data:nocopy", "img", "ls", "/data"]), "");
        assert_eq!(
            here.ok([
                "run",
                "--rm",
                "--mount",
                "source=kept,target=/p,volume-subpath=sub",
                "img",
                "ls",
                "/p"
            ]),
            ""
        );
        let ran = here.fails(["run", "--rm", "-v", "fresh:/bin/busybox", "img", "true"]);
        assert!(
            ran.stderr.contains("cannot mount volume over existing file, file exists /bin/busybox"),
            "{ran:#?}"
        );
        assert_eq!(here.ok(["volume", "ls", "-q"]), "bare\nkept\n");
    });
}

#[test]
fn anonymous_volumes_go_with_their_container_when_asked() {
    as_root_and_user("anonymous_volumes_go_with_their_container_when_asked", |here| {
        with_image(here);
        here.ok(["run", "--rm", "-v", "/more", "img", "true"]);
        assert_eq!(here.ok(["volume", "ls", "-q"]), "");
        here.ok(["run", "--name", "one", "-v", "/more", "img", "touch", "/data/new", "/more/new"]);
        let names = here.ok(["volume", "ls", "-q", "-f", "dangling=false"]);
        assert_eq!(lines(&names).len(), 2, "{names}");
        assert!(lines(&names).iter().all(|name| name.len() == 64), "{names}");
        let ran = here.fails(["volume", "rm", lines(&names)[0]]);
        assert!(ran.stderr.contains("volume is in use - ["), "{ran:#?}");
        assert_eq!(here.ok(["volume", "prune", "-f"]), "Total reclaimed space: 0B\n");
        here.ok(["rm", "one"]);
        assert_eq!(here.ok(["volume", "ls", "-q", "-f", "dangling=true"]), names, "`rm` leaves them");
        here.ok(["volume", "create", "named"]);
        let pruned = here.ok(["volume", "prune", "-f"]);
        assert!(pruned.starts_with("Deleted Volumes:\n") && !pruned.contains("named"), "{pruned}");
        assert_eq!(here.ok(["volume", "ls", "-q"]), "named\n");
        here.ok(["run", "--name", "two", "-v", "/more", "-v", "named:/named", "img", "true"]);
        here.ok(["rm", "-v", "two"]);
        assert_eq!(here.ok(["volume", "ls", "-q"]), "named\n");
        assert!(here.ok(["volume", "prune", "-a", "-f"]).contains("named"));
    });
}

/// The story of data containers, typed as people type it.
#[test]
fn containers_share_the_volumes_of_a_third() {
    as_root_and_user("containers_share_the_volumes_of_a_third", |here| {
        here.ok(["run", "--name", "c3", "-d", "-v", "/data", "busybox", "sh", "-c", "echo c3 > /data/c3"]);
        here.ok(["wait", "c3"]);
        here.ok([
            "run",
            "--name",
            "c1",
            "-d",
            "--volumes-from",
            "c3",
            "busybox",
            "sh",
            "-c",
            "cat /data/c3 > /data/c1",
        ]);
        here.ok(["wait", "c1"]);
        let script = "cat /data/c1 && echo c2 > /data/c2";
        assert_eq!(
            here.ok(["run", "--name", "c2", "--volumes-from", "c3", "busybox", "sh", "-c", script]),
            "c3\n"
        );
        let seen = here.ok([
            "run",
            "--rm",
            "--volumes-from",
            "c1:ro",
            "busybox",
            "sh",
            "-c",
            "ls /data; echo x > /data/x || true",
        ]);
        assert_eq!(seen, "c1\nc2\nc3\n");
        let volume =
            here.ok(["inspect", "-f", "{{range .Mounts}}{{.Type}} {{.Name}} {{.Destination}}{{end}}", "c3"]);
        assert_eq!(
            here.ok(["inspect", "-f", "{{range .Mounts}}{{.Type}} {{.Name}} {{.Destination}}{{end}}", "c2"]),
            volume
        );
        let ran = here.fails(["run", "--rm", "--volumes-from", "nobody", "busybox", "true"]);
        assert!(ran.stderr.contains("No such container: nobody"), "{ran:#?}");
        let ids = here.ok(["ps", "-aq"]);
        here.ok(["rm"].into_iter().chain(lines(&ids)));
        let images = here.ok(["images", "-q"]);
        here.ok(["rmi"].into_iter().chain(lines(&images)));
        assert_eq!(here.ok(["ps", "-aq"]) + &here.ok(["images", "-q"]), "");
        assert_eq!(lines(&here.ok(["volume", "ls", "-q"])).len(), 1, "data outlives containers and images");
    });
}

#[test]
fn volumes_are_in_no_image_difference_or_archive() {
    as_root_and_user("volumes_are_in_no_image_difference_or_archive", |here| {
        with_image(here);
        here.ok([
            "run",
            "--name",
            "box",
            "-v",
            "vol:/mnt/v",
            "img",
            "sh",
            "-c",
            "echo x > /mnt/v/inside; echo y > /mnt/beside",
        ]);
        let changes = here.ok(["diff", "box"]);
        assert!(changes.contains("/mnt/beside") && changes.contains("A /mnt/v\n"), "{changes}");
        assert!(!changes.contains("inside") && !changes.contains("/data"), "{changes}");
        here.ok(["commit", "box", "made"]);
        let seen = here.ok(["run", "--rm", "made", "sh", "-c", "ls /mnt/v; ls /mnt"]);
        assert_eq!(seen, "beside\nv\n");
        let tar = here.path().join("box.tar");
        here.ok(["export", "-o", tar.to_str().unwrap(), "box"]);
        let bytes = fs::read(&tar).unwrap();
        let has = |text: &[u8]| bytes.windows(text.len()).any(|part| part == text);
        assert!(has(b"mnt/beside") && !has(b"mnt/v/inside"));
    });
}

#[test]
fn mounts_of_the_host_and_of_memory_are_as_asked() {
    as_root_and_user("mounts_of_the_host_and_of_memory_are_as_asked", |here| {
        let host = here.path().join("missing/dir");
        let volume = format!("{}:/mnt", host.display());
        here.ok(["run", "--rm", "-v", &volume, "busybox", "touch", "/mnt/made"]);
        assert!(host.join("made").exists());
        let mount = format!("type=bind,source={}/none,target=/mnt", host.display());
        let ran = here.fails(["run", "--rm", "--mount", &mount, "busybox", "true"]);
        assert_eq!(ran.code, 125);
        assert!(ran.stderr.contains("bind source path does not exist"), "{ran:#?}");
        let mount = format!("type=bind,source={},target=/mnt,readonly", host.display());
        let ran = here.fails(["run", "--rm", "--mount", &mount, "busybox", "touch", "/mnt/more"]);
        assert!(ran.stderr.contains("Read-only file system"), "{ran:#?}");
        let script = "grep -E ' /(run|t) ' /proc/mounts | cut -d' ' -f1-4; stat -c %a /run /t; cp /bin/busybox /run; /run/busybox true";
        let flags = ["--tmpfs", "/run:size=8m,mode=755", "--mount", "type=tmpfs,target=/t,tmpfs-size=1m"];
        let ran = here.fails(["run", "--rm"].into_iter().chain(flags).chain(["busybox", "sh", "-c", script]));
        assert!(ran.stdout.contains("tmpfs /run tmpfs rw,nosuid,nodev,noexec"), "{ran:#?}");
        assert!(ran.stdout.contains("size=1024k") && ran.stdout.ends_with("755\n1777\n"), "{ran:#?}");
        assert_eq!(ran.code, 126, "nothing in it can be executed");
        let twice = ["run", "--rm", "-v", "one:/x", "--mount", "source=two,target=/x", "busybox", "true"];
        assert!(here.fails(twice).stderr.contains("Duplicate mount point: /x"));
        assert_eq!(here.ok(["volume", "ls", "-q"]), "", "what was refused has made nothing");
    });
}

/// What a container leaves in a volume leads nobody out of it.
#[test]
fn links_in_volumes_and_images_lead_nowhere() {
    as_root_and_user("links_in_volumes_and_images_lead_nowhere", |here| {
        with_image(here);
        let kept = here.path().join("kept");
        fs::create_dir(&kept).unwrap();
        fs::write(kept.join("file"), "x").unwrap();
        let out = kept.to_str().unwrap();
        let script = format!(
            "ln -s {out} /v/out; ln -s / /v/root; mkdir /v/deep; ln -s ../../../../..{out} /v/deep/out"
        );
        here.ok(["run", "--rm", "-v", "evil:/v", "busybox", "sh", "-c", &script]);
        for part in ["out", "deep/out", "root", "../..", "deep/../../.."] {
            let mount = format!("source=evil,target=/x,volume-subpath={part}");
            let ran = here.run(["run", "--rm", "--mount", &mount, "busybox", "ls", "/x"]);
            assert!(!ran.stdout.contains("file") && !ran.stdout.contains("volume.json"), "{part}: {ran:#?}");
        }
        // the target is a link of the image to its root
        let target = "evil:/way-out/tmp/there";
        let seen = here.ok(["run", "--rm", "-v", target, "img", "sh", "-c", "ls /tmp/there"]);
        assert_eq!(seen, "deep\nout\nroot\n");
        here.ok(["df"]);
        here.ok(["volume", "rm", "evil"]);
        assert_eq!(fs::read_to_string(kept.join("file")).unwrap(), "x");
        // a volume that is a link in the store is none
        symlink(&kept, here.store().join("volumes/linked")).unwrap();
        here.fails(["volume", "inspect", "linked"]);
        assert!(kept.join("file").exists());
    });
}

#[test]
fn commands_for_volumes_are_docker_s() {
    as_root_and_user("commands_for_volumes_are_docker_s", |here| {
        assert_eq!(here.ok(["volume", "create", "--label", "a=b", "data"]), "data\n");
        assert_eq!(here.ok(["volume", "create", "data"]), "data\n", "it stays as it is");
        let shown =
            here.ok(["volume", "inspect", "-f", "{{.Name}} {{.Driver}} {{.Scope}} {{.Labels.a}}", "data"]);
        assert_eq!(shown, "data local local b\n");
        assert_eq!(here.ok(["inspect", "-f", "{{.Name}}", "data"]), "data\n");
        assert_eq!(here.ok(["volume", "ls", "-q", "-f", "label=a=b"]), "data\n");
        assert_eq!(here.ok(["volume", "ls", "-q", "-f", "label=a=c"]), "");
        assert_eq!(here.ok(["volume", "ls"]), "DRIVER    VOLUME NAME\nlocal     data\n");
        assert_eq!(here.ok(["volume", "create"]).trim_end().len(), 64);
        let ran = here.fails(["volume", "rm", "none"]);
        assert!(ran.stderr.contains("get none: no such volume"), "{ran:#?}");
        assert_eq!(here.ok(["volume", "rm", "-f", "none", "data"]), "none\ndata\n");
        let ran = here.fails(["volume", "create", "-o", "type=nfs", "x1"]);
        assert!(ran.stderr.contains("--opt type=nfs is not supported"), "{ran:#?}");
        assert!(here.ok(["df"]).contains("Local Volumes   1         0"));
        assert!(here.ok(["df", "-v"]).contains("VOLUME NAME"));
        assert!(here.ok(["system", "prune", "--volumes", "-f"]).contains("Total reclaimed space"));
        assert_eq!(here.ok(["volume", "ls", "-q"]), "");
    });
}

#[test]
fn what_the_host_mounts_later_is_seen_where_it_was_asked_for() {
    let test = "what_the_host_mounts_later_is_seen_where_it_was_asked_for";
    let Some(here) = crate::with_busybox(test) else { return };
    let shared = here.path().join("shared");
    fs::create_dir(&shared).unwrap();
    let mount = |words: &[&str], place: &std::path::Path| {
        let done = std::process::Command::new(words[0]).args(&words[1..]).arg(place).status();
        assert!(done.unwrap().success(), "{words:?}");
    };
    mount(&["mount", "-t", "tmpfs", "none"], &shared);
    mount(&["mount", "--make-shared"], &shared);
    fs::create_dir(shared.join("below")).unwrap();
    for (name, option) in [("follows", "rslave"), ("stays", "rprivate")] {
        let volume = format!("{}:/v:{option}", shared.display());
        here.ok(["run", "-d", "--name", name, "--privileged", "-v", &volume, "busybox", "sleep", "600"]);
    }
    mount(&["mount", "-t", "tmpfs", "none"], &shared.join("below"));
    fs::write(shared.join("below/later"), "").unwrap();
    // and what a container mounts there is its own
    here.ok([
        "exec",
        "follows",
        "sh",
        "-c",
        "mkdir /v/mine && mount -t tmpfs none /v/mine && touch /v/mine/file",
    ]);
    let seen = ["follows", "stays"].map(|name| here.ok(["exec", name, "ls", "/v/below"]));
    let mine = shared.join("mine/file").exists();
    here.ok(["rm", "-f", "follows", "stays"]);
    mount(&["umount"], &shared.join("below"));
    mount(&["umount"], &shared);
    assert_eq!((seen, mine), (["later\n".to_owned(), String::new()], false));
}
