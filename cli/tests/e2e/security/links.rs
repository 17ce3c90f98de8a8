//! Links and exchanges: paths of an image or context that change or lead elsewhere between two looks.

use super::{Arena, SECRET, Who, attack, dockerfile};
use crate::with_busybox;
use std::{
    fs,
    os::unix::fs::symlink,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

#[test]
fn a_mount_source_that_is_a_link_is_the_image_s() {
    // CVE-2024-1753: the link was followed on the host
    attack("a_mount_source_that_is_a_link_is_the_image_s", |arena| {
        let bait = arena.bait().display().to_string();
        for target in
            ["/", "../../../../../../../..", &bait, "/proc/self/root", "/proc/self/cwd", "/proc/1/root"]
        {
            for rw in ["", ",rw"] {
                let look = format!(
                    "cat /m/secret /m{bait}/secret /m/bait/secret; touch /m/reached /m{bait}/reached; ls /m; true"
                );
                arena.build(&format!(
                    "FROM busybox AS evil\nRUN ln -s {target} /l && mkdir -p /d && ln -s {target} /d/l\n\
                     FROM busybox\nRUN --mount=type=bind,from=evil,source=/l,target=/m{rw} {look}\n"
                ));
                let copies = format!(
                    "COPY --from=evil /l /m\nCOPY --from=evil /d/l/ /m2\nCOPY --from=evil /l/{bait} /m3\n"
                );
                arena.build(&format!("FROM busybox AS evil\nRUN ln -s {target} /l && mkdir -p /d && ln -s {target} /d/l\nFROM busybox\n{copies}RUN {look}\n"));
            }
        }
    });
}

#[test]
fn a_link_in_a_cache_is_not_followed() {
    attack("a_link_in_a_cache_is_not_followed", |arena| {
        let bait = arena.bait().display().to_string();
        for target in [bait.as_str(), "/", "../../../../../../..", "/proc/self/cwd"] {
            arena.builds(&dockerfile(
                "",
                &format!("RUN --mount=type=cache,id=k,target=/c rm -rf /c/l; ln -sfn {target} /c/l"),
            ));
            for (source, look) in [("/l", "/m"), ("/l/bait", "/m"), ("/l/..", "/m")] {
                let look = format!(
                    "cat {look}/secret {look}/bait/secret {look}{bait}/secret; touch {look}/reached; true"
                );
                arena.build(&dockerfile(
                    "",
                    &format!("RUN --mount=type=cache,id=k,source={source},target=/m {look}"),
                ));
            }
        }
        for id in ["../../../../bait", "/", "..", bait.as_str(), "a/../../b"] {
            arena.build(&dockerfile(
                "",
                &format!(
                    "RUN --mount=type=cache,id={id},target=/m cat /m/secret; touch /m/reached; ls /m; true"
                ),
            ));
        }
    });
}

#[test]
fn a_cache_that_is_exchanged_meanwhile_leads_nowhere() {
    // CVE-2024-23651: two steps share a cache, one of them exchanges a directory of it for a link
    attack("a_cache_that_is_exchanged_meanwhile_leads_nowhere", |arena| {
        let bait = arena.bait().display().to_string();
        let swap = format!(
            "mkdir -p /c/a /c/k; ln -s {bait} /c/k/l; n=0; while test $n -lt 1500; do mv /c/a /c/b; mv /c/k/l /c/a; mv /c/a /c/k/l; mv /c/b /c/a; n=$((n+1)); done 2>/dev/null; true"
        );
        let look = "cat /m/secret; touch /m/reached; ls /m >/dev/null; true";
        let steps: String = (0..20)
            .map(|n| format!("FROM busybox AS s{n}\nRUN sleep 0.0{n}\nRUN --mount=type=cache,id=k,source=/a,target=/m {look}\n"))
            .collect();
        let all: String = (0..20).map(|n| format!("COPY --from=s{n} /etc/passwd /p{n}\n")).collect();
        let text = format!(
            "FROM busybox AS swap\nRUN --mount=type=cache,id=k,target=/c {swap}\n{steps}FROM busybox\nCOPY --from=swap /etc/passwd /p\n{all}"
        );
        for _ in 0..3 {
            let ran = arena.build(&text);
            assert!(ran.code == 0 || ran.stderr.contains("ERROR: "), "{:?}: {ran:#?}", arena.who);
        }
        // a directory that is moved out of the part another step has mounted takes nobody along
        let text = format!(
            "FROM busybox AS mover\nRUN --mount=type=cache,id=q,target=/c mkdir -p /c/part/x/y; sleep 0.3; mv /c/part/x /c/out; sleep 0.5\n\
             FROM busybox AS inside\nRUN --mount=type=cache,id=q,source=/part,target=/m mkdir -p /m/x/y; cd /m/x/y; sleep 0.7; ls ..; \
             {}\nFROM busybox\nCOPY --from=mover /etc/passwd /a\nCOPY --from=inside /etc/passwd /b\n",
            super::search(arena)
        );
        arena.build(&text);
    });
}

#[test]
fn mount_points_are_cleaned_up_in_the_image_only() {
    // CVE-2024-23652: the cleaner of mount points removed a file of the host
    attack("mount_points_are_cleaned_up_in_the_image_only", |arena| {
        let bait = arena.bait().display().to_string();
        for exchange in [
            format!("mv /x /y; ln -s {bait} /x"),
            format!("mv /x /y; ln -s {bait}/.. /x"),
            format!("mv /x /y; mkdir /x; ln -s {bait}/empty /x/empty; ln -s {bait}/empty-file /x/empty-file"),
            "mv /x /y; ln -s /proc/self/cwd /x".to_owned(),
        ] {
            let text = format!(
                "RUN --mount=type=tmpfs,target=/x/empty --mount=type=bind,source=file,target=/x/empty-file \
                 --mount=type=cache,target=/x/bait/empty {exchange}"
            );
            arena.build(&dockerfile("", &text));
            // the same at the place where the bait lies on the host
            let text = format!(
                "RUN --mount=type=tmpfs,target={bait}/empty --mount=type=bind,source=file,target={bait}/empty-file mv {bait} /y; ln -s {bait} /z"
            );
            arena.build(&dockerfile("", &text));
        }
    });
}

#[test]
fn a_context_that_is_exchanged_meanwhile_is_not_left() {
    attack("a_context_that_is_exchanged_meanwhile_is_not_left", |arena| {
        let context = arena.here.context("c", "FROM busybox\nCOPY . /all\nCOPY d /d\nCOPY d/secret /s\nRUN cat /all/*/secret /d/secret /s; true\n", &[("d/secret", "mine\n")]);
        let (one, two) = (context.join("d"), context.join("e"));
        symlink(arena.bait(), &two).unwrap();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let spare = context.join("spare");
                while !stop.load(Ordering::Relaxed) {
                    for (from, to) in [(&one, &spare), (&two, &one), (&one, &two), (&spare, &one)] {
                        fs::rename(from, to).unwrap();
                    }
                }
            });
            for _ in 0..30 {
                arena.build_context(&[], &context, "exchanged while it is copied");
            }
            stop.store(true, Ordering::Relaxed);
        });
    });
}

#[test]
fn an_image_whose_directories_are_links_writes_into_itself() {
    attack("an_image_whose_directories_are_links_writes_into_itself", |arena| {
        let bait = arena.bait().display().to_string();
        let up = "../".repeat(20);
        for target in [
            bait.clone(),
            format!("{up}{}", &bait[1..]),
            "/proc/self/root".to_owned(),
            format!("/proc/self/root{bait}"),
        ] {
            for lines in [
                "COPY file /l/reached",
                "COPY file /l/",
                "COPY . /l",
                "ADD file /f",
                "COPY file /f/",
                "COPY --link file /l/reached",
                "COPY --chown=7:7 --chmod=777 file /l/secret",
                "WORKDIR /l/reached/deep\nCOPY file .",
                "WORKDIR /f",
                "COPY <<reached /l/\ntext\nreached",
                "RUN --mount=type=cache,target=/l/reached/deep touch /l/reached/deep/f",
            ] {
                arena.build(&format!(
                    "FROM busybox\nRUN ln -s {target} /l; ln -s {target}/reached /f\n{lines}\nRUN cat /l/secret; touch /l/reached; true\n"
                ));
            }
            let ran = arena.run(&["run", "--rm", "-w", "/l/reached", "x", "true"]);
            assert!(ran.code >= 0, "{ran:#?}");
        }
    });
}

#[test]
fn files_of_users_are_read_in_the_image_only() {
    // CVE-2022-23648, CVE-2019-14271: what the builder looks up is the image's, and executed it is not at all
    attack("files_of_users_are_read_in_the_image_only", |arena| {
        let bait = arena.bait().display().to_string();
        for file in ["passwd", "group", "hosts", "resolv.conf", "nsswitch.conf"] {
            for target in [
                format!("{bait}/secret"),
                "/proc/self/fd/0".to_owned(),
                "/dev/zero".to_owned(),
                "/proc/kcore".to_owned(),
            ] {
                let text = format!(
                    "FROM busybox\nRUN rm -f /etc/{file}; ln -s {target} /etc/{file}\nUSER nobody:nogroup\nRUN cat /etc/{file} | head -c 99; true\nCOPY --chown=u:g file /f\n"
                );
                let begun = std::time::Instant::now();
                arena.build(&text);
                assert!(begun.elapsed().as_secs() < 20, "{file} -> {target}");
            }
        }
        let ran =
            arena.build(&dockerfile("", "RUN rm -f /etc/passwd; mkfifo /etc/passwd\nUSER nobody\nRUN true"));
        assert!(ran.code == 0 || ran.stderr.contains("ERROR: "), "{ran:#?}");
        let text =
            "RUN dd if=/dev/zero of=/etc/passwd bs=1M seek=4000 count=0 2>/dev/null\nUSER nobody\nRUN true";
        arena.build(&dockerfile("", text));
    });
}

#[test]
fn volumes_show_what_was_asked_for_and_nothing_above() {
    attack("volumes_show_what_was_asked_for_and_nothing_above", |arena: &Arena| {
        arena.here.write("volume/file", "of the volume\n");
        let volume = arena.here.path().join("volume");
        let root = fs::metadata(arena.here.path()).unwrap();
        std::os::unix::fs::chown(&volume, Some(std::os::unix::fs::MetadataExt::uid(&root)), None).unwrap();
        arena.builds(&dockerfile(
            "",
            &format!(
                "RUN mkdir /d && ln -s {} /l && ln -s ../../../../.. /d/up && ln -s /proc/self/cwd /w",
                arena.bait().display()
            ),
        ));
        let search = super::search(arena);
        for target in ["/l/new", "/d/up/new", "/w/new", "/dev/new", "/l"] {
            let option = format!("{}:{target}", volume.display());
            arena.run(&["run", "--rm", "-v", &option, "x", "sh", "-c", &format!("cd {target}; {search}")]);
        }
        // a link that a container leaves in a volume is not followed when a later one is mounted below it
        let option = format!("{}:/v", volume.display());
        arena.run(&["run", "--rm", "-v", &option, "x", "ln", "-s", arena.bait().to_str().unwrap(), "/v/l"]);
        let inner = format!("{}:/v/l/reached", volume.display());
        arena.run(&["run", "--rm", "-v", &option, "-v", &inner, "x", "true"]);
        assert!(arena.who == Who::User || !fs::read_to_string(volume.join("file")).unwrap().contains(SECRET));
    });
}

/// A layout that somebody else has prepared gets nothing written through its links.
#[test]
fn a_layout_whose_directories_are_links_is_refused() {
    let Some(here) = with_busybox("a_layout_whose_directories_are_links_is_refused") else { return };
    let context = here.context("c", "FROM busybox\n", &[]);
    for (made, link) in [("one", "blobs"), ("two/blobs", "sha256")] {
        fs::create_dir_all(here.path().join(made)).unwrap();
        fs::create_dir_all(here.path().join("elsewhere/sha256")).unwrap();
        symlink(here.path().join("elsewhere"), here.path().join(made).join(link)).unwrap();
        let output = format!("type=oci,tar=false,dest={}", made.split('/').next().unwrap());
        let refused = here.fails(["build", "-o", &output, context.to_str().unwrap()]);
        assert!(refused.stderr.contains("cannot enter"), "{}", refused.stderr);
        assert_eq!(fs::read_dir(here.path().join("elsewhere/sha256")).unwrap().count(), 0);
        assert_eq!(fs::read_dir(here.path().join("elsewhere")).unwrap().count(), 1);
    }
}
