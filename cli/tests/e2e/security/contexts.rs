//! What a hostile context or Dockerfile can name.

use super::{MOUNTS, attack, dockerfile};
use rbuild_testkit::Ran;
use std::{
    fs,
    os::unix::{fs::symlink, net::UnixListener},
    process::Command,
};

#[test]
fn links_of_a_context_do_not_lead_out() {
    attack("links_of_a_context_do_not_lead_out", |arena| {
        let bait = arena.bait();
        let up = std::path::PathBuf::from("../bait");
        for (number, target) in [bait.clone(), up.join("secret"), "..".into()].iter().enumerate() {
            let name = format!("c{number}");
            for lines in [
                "COPY l /m/",
                "COPY l/ /m/",
                "COPY l/secret /m/",
                "COPY l/bait/secret /m/",
                "COPY . /m/",
                "COPY l* /m/",
                "COPY */secret /m/",
                "ADD l /m/",
                "ADD l/secret /m/",
                "COPY --link l /m/",
                "COPY d/l/secret /m/",
                "COPY d /m/",
                "COPY l/../bait/secret /m/",
                "COPY ../bait/secret /m/",
                "COPY /../../bait/secret /m/",
                "COPY d/../../bait/secret /m/",
                "RUN --mount=type=bind,source=l,target=/m true",
                "RUN --mount=type=bind,source=l/secret,target=/m/secret true",
                "RUN --mount=type=bind,source=../bait,target=/m cat /m/secret",
                "RUN --mount=type=bind,target=/m cat /m/l /m/l/secret /m/d/l/secret; true",
                "RUN --mount=type=bind,source=l,target=/m,rw cat /m /m/secret; touch /m/reached; true",
            ] {
                let text = format!("FROM busybox\n{lines}\nRUN find /m -exec cat {{}} + ; true\n");
                let context = arena.here.context(&name, &text, &[("d/file", "mine\n")]);
                for link in [context.join("l"), context.join("d/l")] {
                    let _ = fs::remove_file(&link);
                    symlink(target, &link).unwrap();
                }
                arena.build_context(&[], &context, &format!("{} {lines}", target.display()));
            }
        }
    });
}

#[test]
fn a_dockerfile_or_ignore_file_that_leads_out_is_refused() {
    attack("a_dockerfile_or_ignore_file_that_leads_out_is_refused", |arena| {
        let bait = arena.bait().join("secret");
        for target in
            [bait.display().to_string(), "../bait/secret".to_owned(), "/proc/self/root/etc/passwd".to_owned()]
        {
            for (name, words) in [
                ("Dockerfile", &["build"][..]),
                ("dockerfile", &["build"]),
                ("other", &["build", "-f", "c/other"]),
                ("Dockerfile", &["build", "--check"]),
                (".dockerignore", &["build"]),
                ("Dockerfile.dockerignore", &["build"]),
            ] {
                let context =
                    arena.here.context("c", &dockerfile("", "COPY . /"), &[("other", "FROM scratch\n")]);
                let link = context.join(name);
                if name.eq_ignore_ascii_case("dockerfile") {
                    fs::remove_file(context.join("Dockerfile")).unwrap();
                }
                drop(fs::remove_file(&link));
                symlink(&target, &link).unwrap();
                let mut command = arena.here.command(words.iter().chain(&[context.to_str().unwrap()]));
                let ran = Ran::of(command.current_dir(arena.here.path()).output().unwrap());
                fs::remove_file(&link).unwrap();
                arena.assert_safe(&ran, &format!("{name} -> {target}"));
                assert!(
                    ran.code != 0 && ran.stderr.contains("is a symbolic link to"),
                    "{name} -> {target}: {ran:#?}"
                );
            }
        }
        // a link within the directory is followed
        let context = arena.here.context("c", "FROM scratch\n", &[("real", "FROM busybox\nRUN true\n")]);
        fs::remove_file(context.join("Dockerfile")).unwrap();
        symlink("real", context.join("Dockerfile")).unwrap();
        assert_eq!(arena.run(&["build", context.to_str().unwrap()]).code, 0);
    });
}

#[test]
fn what_a_step_writes_into_its_context_is_thrown_away() {
    // CVE-2025-4953
    attack("what_a_step_writes_into_its_context_is_thrown_away", |arena| {
        let write = "touch /m/made; echo changed > /m/file; chmod 777 /m/file; chown 7:7 /m/file; ln /m/file /m/link; rm -f /m/Dockerfile; true";
        for options in ["", ",rw", ",readwrite=true", ",source=file,rw"] {
            for from in ["", "from=other,"] {
                let text = format!(
                    "FROM busybox AS other\nCOPY . /\nFROM busybox\nRUN --mount=type=bind,{from}target=/m{options} {write}\n"
                );
                arena.build(&text);
                let context = arena.here.path().join("c");
                assert_eq!(
                    fs::read_to_string(context.join("file")).unwrap(),
                    "of the context\n",
                    "{:?} {options}",
                    arena.who
                );
                assert_eq!(fs::read_to_string(context.join("Dockerfile")).unwrap(), text);
                let mut names: Vec<_> =
                    fs::read_dir(&context).unwrap().map(|entry| entry.unwrap().file_name()).collect();
                names.sort();
                assert_eq!(names, ["Dockerfile", "empty", "file"], "{:?} {options}", arena.who);
                let mode = std::os::unix::fs::PermissionsExt::mode(
                    &fs::metadata(context.join("file")).unwrap().permissions(),
                );
                assert_eq!(mode & 0o7777, 0o644);
            }
        }
    });
}

#[test]
fn files_of_a_context_that_are_no_files_hang_nothing() {
    attack("files_of_a_context_that_are_no_files_hang_nothing", |arena| {
        let context = arena.here.context("c", "FROM busybox\nCOPY . /m/\nRUN ls -l /m\n", &[]);
        let made = Command::new("mkfifo").arg(context.join("fifo")).status().unwrap();
        assert!(made.success());
        let _socket = UnixListener::bind(context.join("socket")).unwrap();
        let made = Command::new("mknod").arg(context.join("zero")).args(["c", "1", "5"]).status().unwrap();
        assert!(made.success());
        for lines in [
            "COPY . /m/",
            "COPY fifo /m/",
            "ADD fifo /m/",
            "COPY zero /m/",
            "ADD zero /m/",
            "COPY socket /m/",
            "RUN --mount=type=bind,target=/m ls /m",
            "RUN --mount=type=bind,source=fifo,target=/m ls -l /m",
            "RUN --mount=type=bind,source=zero,target=/m ! head -c 1 /m | grep -q .",
        ] {
            fs::write(context.join("Dockerfile"), format!("FROM busybox\n{lines}\n")).unwrap();
            let begun = std::time::Instant::now();
            arena.build_context(&[], &context, lines);
            assert!(begun.elapsed().as_secs() < 20, "{lines}");
        }
    });
}

#[test]
fn options_that_would_widen_the_sandbox_are_refused() {
    // CVE-2024-9407, CVE-2024-23653, CVE-2026-33747: mount options passed on, entitlements not checked, foreign front ends
    attack("options_that_would_widen_the_sandbox_are_refused", |arena| {
        let bait = arena.bait().display().to_string();
        for line in [
            "RUN --security=insecure true".to_owned(),
            "RUN --device=/dev/mem true".to_owned(),
            "RUN --mount=type=bind,target=/m,bind-propagation=rshared true".to_owned(),
            format!("RUN --mount=type=bind,source=/,target=/m,bind-propagation=upperdir={bait} true"),
            format!("RUN --mount=type=bind,from={bait},target=/m cat /m/secret"),
            format!("RUN --mount=type=cache,from={bait},target=/m cat /m/secret"),
            "RUN --mount=type=proc,target=/m true".to_owned(),
            "RUN --mount=type=tmpfs,target=/m,size=-1 true".to_owned(),
            "RUN --mount=type=bind,target=/m,relabel=shared true".to_owned(),
            "RUN --network=container:1 true".to_owned(),
            "RUN --privileged true".to_owned(),
            format!("COPY --from={bait} /secret /"),
            format!("ADD file://{bait}/secret /"),
        ] {
            let ran = arena.build(&dockerfile("", &line));
            assert!(ran.code == 1 && ran.stderr.contains("ERROR: "), "{:?}: {line}: {ran:#?}", arena.who);
        }
        // the front end named is not fetched, let alone run
        arena.builds("# syntax=127.0.0.1:1/evil/frontend:1\nFROM busybox\nRUN true\n");
    });
}

#[test]
fn a_context_s_name_executes_nothing() {
    // CVE-2019-13139: options of git in a context's name
    attack("a_context_s_name_executes_nothing", |arena| {
        let reached = arena.bait().join("reached").display().to_string();
        for context in [
            format!("git@127.0.0.1:x#--upload-pack=touch {reached}"),
            format!("https://127.0.0.1:1/x.git#--upload-pack=touch {reached}:"),
            format!("ext::sh -c 'touch {reached}'"),
            format!("git://127.0.0.1:1/x#-oProxyCommand=touch {reached}"),
            format!("ssh://-oProxyCommand=touch {reached}/x.git"),
            "https://127.0.0.1:1/x.git#main:../../bait".to_owned(),
            format!("$(touch {reached})"),
        ] {
            let ran = arena.run(&["build", "--", &context]);
            assert_ne!(ran.code, 0, "{context}");
            let ran = arena.run(&["build", &context]);
            assert_ne!(ran.code, 0, "{context}");
            arena.build(&dockerfile("", &format!("ADD {context} /x")));
        }
    });
}

#[test]
fn a_script_s_name_leads_nowhere() {
    attack("a_script_s_name_leads_nowhere", |arena| {
        for name in ["../../../bait/reached", "/../../../../bait/reached", "a/../../bait/reached", "..", "."]
        {
            for mount in MOUNTS {
                arena.build(&dockerfile(
                    mount,
                    &format!("RUN MOUNT <<{name}\ntrue\n{name}\nCOPY <<{name} /d/\ntext\n{name}"),
                ));
            }
        }
    });
}
