//! Device nodes that an image or a command makes (with the default capabilities it may) and that must not open.

use super::{MOUNTS, Who, attack, dockerfile};
use std::{fs, os::unix::fs::MetadataExt};

/// A node that would show what the memory or the disk of the host holds, were it to open.
fn nodes(arena: &super::Arena) -> Vec<(String, String)> {
    let disk = fs::metadata(arena.here.path()).unwrap().dev();
    let (major, minor) = (disk >> 8 & 0xfff, disk & 0xff | disk >> 12 & 0xfff00);
    let node = |kind: &str, major: u64, minor: u64| {
        (format!("{kind} {major} {minor}"), format!("{kind}{major}-{minor}"))
    };
    // the disk of the workspace, the first loop device, memory, kernel messages, and one whose reading harms nobody
    vec![
        node("b", major, minor),
        node("b", 7, 0),
        node("c", 1, 1),
        node("c", 1, 11),
        node("c", 1, 5),
        node("c", 10, 237),
    ]
}

#[test]
fn a_device_node_made_by_a_command_does_not_open() {
    attack("a_device_node_made_by_a_command_does_not_open", |arena| {
        for mount in MOUNTS {
            let mut script = String::new();
            for (node, name) in nodes(arena) {
                for place in ["/", "/tmp/", "/m/", "/dev/", "/dev/shm/", "/dev/pts/", "/dev/mqueue/", "/run/"]
                {
                    script.push_str(&format!(
                        "mknod {place}{name} {node} 2>/dev/null && {{ echo made {place}{name}; \
                         {{ true < {place}{name}; }} 2>/dev/null && echo opened {place}{name}; \
                         head -c1 {place}{name} >/dev/null 2>&1 && echo read {place}{name}; rm {place}{name}; }}; "
                    ));
                }
            }
            let said = arena.builds(&dockerfile(mount, &format!("RUN MOUNT mkdir -p /run; {script}true")));
            let results = said.lines().filter(|line| !line.contains("RUN "));
            let (mut made, mut opened) = (false, Vec::new());
            for line in results {
                made |= line.contains(" made /b");
                opened.extend((line.contains(" opened /") || line.contains(" read /")).then_some(line));
            }
            assert_eq!(opened, Vec::<&str>::new(), "{:?} {mount}", arena.who);
            // root's images hold nodes, as docker's do; a user namespace makes none
            assert_eq!(made, arena.who == Who::Root, "{:?} {mount}: {said}", arena.who);
        }
    });
}

#[test]
fn a_device_node_of_an_image_or_archive_does_not_open() {
    attack("a_device_node_of_an_image_or_archive_does_not_open", |arena| {
        let root = arena.here.path().join("nodes");
        fs::create_dir_all(root.join("n")).unwrap();
        for (node, name) in nodes(arena) {
            let words: Vec<&str> = node.split(' ').collect();
            let made = std::process::Command::new("mknod")
                .args(["-m", "666"])
                .arg(root.join("n").join(name))
                .args(words)
                .status();
            assert!(made.unwrap().success());
        }
        let archive = arena.here.path().join("c/nodes.tar");
        fs::create_dir_all(archive.parent().unwrap()).unwrap();
        let tar =
            std::process::Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&archive).arg("n").status();
        assert!(tar.unwrap().success());
        fs::remove_dir_all(&root).unwrap();
        let open = "for f in /n/* /m/n/*; do if test -e $f; then echo there $f; \
             { true < $f; } 2>/dev/null && echo opened $f; fi; done; true";
        let mut texts: Vec<String> = MOUNTS
            .iter()
            .map(|mount| dockerfile(mount, &format!("ADD nodes.tar /\nRUN MOUNT {open}")))
            .collect();
        texts.push(format!("FROM busybox AS n\nADD nodes.tar /\nFROM busybox\nRUN --mount=type=bind,from=n,target=/m,rw {open}\n"));
        texts.push(format!(
            "FROM busybox AS n\nADD nodes.tar /\nFROM busybox\nCOPY --from=n /n /n\nRUN {open}\n"
        ));
        for text in texts {
            let ran = arena.build(&text);
            let opened = ran.stderr.lines().any(|line| !line.contains("RUN ") && line.contains(" opened /"));
            assert!(!opened, "{:?}: {ran:#?}", arena.who);
            if arena.who == Who::Root {
                assert!(ran.code == 0 && ran.stderr.contains("there /"), "{ran:#?}");
            }
        }
        // the same as a base image
        let words = ["import", archive.to_str().unwrap(), "nodes:1"];
        if arena.here.run(words).code == 0 {
            arena.build(&format!("FROM nodes:1\nCOPY --from=busybox / /\nRUN {open}\n"));
            let ran = arena.run(&["run", "--rm", "x", "sh", "-c", open]);
            assert!(!ran.stdout.contains("opened"), "{:?}: {ran:#?}", arena.who);
        }
    });
}

#[test]
fn the_host_s_device_nodes_stay_as_they_are() {
    attack("the_host_s_device_nodes_stay_as_they_are", |arena| {
        let look = || {
            ["null", "zero", "full", "random", "urandom", "tty", "ptmx"].map(|name| {
                let node = fs::metadata(format!("/dev/{name}")).unwrap();
                (node.mode(), node.uid(), node.gid(), node.ino())
            })
        };
        let before = look();
        for mount in MOUNTS {
            arena.build(&dockerfile(
                mount,
                "RUN MOUNT for d in null zero full random urandom tty ptmx stdin fd/0; do chmod 600 /dev/$d; \
                 chown 7:7 /dev/$d; rm -f /dev/$d; mv /dev/$d /dev/x; done; true",
            ));
            assert_eq!(look(), before, "{:?}", arena.who);
        }
        arena.run(&[
            "run",
            "--rm",
            "busybox",
            "sh",
            "-c",
            "chmod 0 /dev/*; chown 9 /dev/*; rm -rf /dev/*; true",
        ]);
        assert_eq!(look(), before, "{:?}", arena.who);
    });
}
