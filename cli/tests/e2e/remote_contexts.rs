//! Contexts on the network: repositories from a real Git server, archives and Dockerfiles from a web server, as the main context
//! and as named ones; when the servers are asked, and what becomes of the files.

use crate::{as_root_and_user, with_busybox};
use rbuild_testkit::{GitRepository, GitServer, HttpReply, HttpServer, Ran, Tar, Workspace};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

const DOCKERFILE: &str = "FROM busybox\nCOPY . /all/\nRUN --mount=type=bind,target=/m cp /m/file /copied\n";

fn try_build(here: &Workspace, words: &[&str]) -> Ran {
    here.run(["build", "--progress=plain", "-t", "x"].iter().chain(words))
}

fn build(here: &Workspace, words: &[&str]) -> String {
    let ran = try_build(here, words);
    assert_eq!(ran.code, 0, "{words:?}: {ran:#?}");
    ran.stderr
}

fn fails(here: &Workspace, words: &[&str]) -> String {
    let ran = try_build(here, words);
    assert!(ran.code != 0 && ran.code != 101, "{words:?}: {ran:#?}");
    ran.stderr
}

fn with_stdin(here: &Workspace, words: &[&str], input: &str) -> Ran {
    let file = here.write("input", input);
    let mut command = here.command(["build", "--progress=plain", "-t", "x"].iter().chain(words));
    Ran::of(command.stdin(Stdio::from(fs::File::open(file).unwrap())).output().unwrap())
}

fn image_says(here: &Workspace, script: &str) -> String {
    here.ok(["run", "--rm", "x", "sh", "-c", script]).trim().to_owned()
}

/// A repository with a Dockerfile, an ignore file, and a directory that is a context of its own.
fn filled(server: &GitServer) -> (GitRepository, String) {
    let repository = server.repository("a.git");
    let commit = repository.commit(&[
        ("Dockerfile", DOCKERFILE),
        (".dockerignore", "ignored\n"),
        ("file", "one"),
        ("ignored", "taken all the same"),
        ("dir/dockerfile", "FROM busybox\nCOPY . /sub/\n"),
        ("dir/own", "own"),
        ("dir/Other", "FROM busybox\nCOPY own* *ir/own* /other/\n"),
    ]);
    repository.git(&["tag", "v1"]);
    repository.commit(&[("file", "two")]);
    (repository, commit)
}

#[test]
fn a_repository_is_a_context() {
    as_root_and_user("contexts in Git repositories", |here| {
        let server = GitServer::start();
        let (_repository, first) = filled(&server);
        let url = server.url("a.git");
        build(here, &[&url]);
        let listed = "cd /all; find . | sort | tr '\\n' ' '; cat /copied; stat -c ' %u:%g' file";
        assert_eq!(
            image_says(here, listed),
            ". ./.dockerignore ./Dockerfile ./dir ./dir/Other ./dir/dockerfile ./dir/own ./file ./ignored two 0:0"
        );
        build(here, &[&format!("{url}#v1")]);
        assert_eq!(image_says(here, "cat /copied"), "one");
        build(here, &[&format!("{url}?ref={first}&subdir=dir")]);
        assert_eq!(image_says(here, "ls /sub | tr '\\n' ' '"), "Other dockerfile own");
        build(here, &["-f", "dir/Other", &format!("{url}#main")]);
        build(here, &["-f", "Other", &format!("{url}#main:dir")]);
        assert_eq!(image_says(here, "cat /other/own"), "own");
        let ran = with_stdin(here, &["-f", "-", &url], "FROM busybox\nCOPY dir/own /stdin\n");
        assert_eq!((ran.code, image_says(here, "cat /stdin").as_str()), (0, "own"), "{ran:#?}");
        let local = here.write("Local", "FROM busybox\nCOPY dir/own /local\n");
        build(here, &["-f", local.to_str().unwrap(), &url]);
        assert_eq!(image_says(here, "cat /local"), "own");
        for keeping in [
            vec!["--build-arg", "BUILDKIT_CONTEXT_KEEP_GIT_DIR=1", url.as_str()],
            vec![&*format!("{url}?keep-git-dir=true")],
        ] {
            build(here, &keeping);
            assert_eq!(image_says(here, "cat /all/.git/HEAD").len(), 40, "{keeping:?}");
        }
    });
}

#[test]
fn an_epoch_is_the_time_of_a_context_on_the_network() {
    let Some(here) = with_busybox("SOURCE_DATE_EPOCH of contexts on the network") else { return };
    let server = GitServer::start();
    let (repository, first) = filled(&server);
    let time = |commit: &str| {
        let words = ["show", "--no-patch", "--format=%ct", commit];
        let output = Command::new("git").args(words).current_dir(&repository.work_tree).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let created = || here.ok(["inspect", "--format", "{{.Created}}", "x"]).trim().to_owned();
    let url = server.url("a.git");
    let of_context = ["--build-arg", "SOURCE_DATE_EPOCH=context"];
    let declared = here.write(
        "Dockerfile.seen",
        "FROM busybox\nARG SOURCE_DATE_EPOCH\nRUN echo $SOURCE_DATE_EPOCH > /seen\n",
    );
    let declared = declared.to_str().unwrap();
    for commit in [&*first, "HEAD"] {
        let place = if commit == "HEAD" { url.clone() } else { format!("{url}#{commit}") };
        build(&here, &["-f", declared, of_context[0], of_context[1], &place]);
        assert_eq!(image_says(&here, "cat /seen"), time(commit));
        build(
            &here,
            &["-f", declared, "--build-arg", &format!("SOURCE_DATE_EPOCH={}", time(commit)), &place],
        );
        let given = created();
        build(&here, &["-f", declared, of_context[0], of_context[1], &place]);
        assert_eq!(created(), given);
    }
    // a global ARG asks for it too, and a named context has a time of its own
    let global = format!("ARG SOURCE_DATE_EPOCH=code\n{}", fs::read_to_string(declared).unwrap());
    let context = here.context("global", &global, &[]);
    let named = format!("code={url}#{first}");
    build(&here, &["--build-context", &named, context.to_str().unwrap()]);
    assert_eq!(image_says(&here, "cat /seen"), time(&first));

    let text = fs::read_to_string(declared).unwrap().into_bytes();
    let dated = HttpServer::start(move |_| {
        HttpReply::new(200, text.clone()).header("Last-Modified", "Sun, 09 Sep 2001 01:46:40 GMT")
    });
    build(&here, &[of_context[0], of_context[1], &format!("http://{}/Dockerfile", dated.host())]);
    assert_eq!(
        (image_says(&here, "cat /seen"), created()),
        ("1000000000".to_owned(), "2001-09-09T01:46:40Z".to_owned())
    );
}

#[test]
fn an_epoch_is_the_time_of_a_remote_stage() {
    let Some(here) = with_busybox("SOURCE_DATE_EPOCH of remote stages") else { return };
    let git = GitServer::start();
    let (repository, _) = filled(&git);
    let output =
        Command::new("git").args(["show", "-s", "--format=%ct"]).current_dir(&repository.work_tree).output();
    let of_commit = String::from_utf8(output.unwrap().stdout).unwrap().trim().to_owned();
    let archive = Tar::new().changed(b'0', b"f", &[(136, b"07346545000\0")], b"x").finish();
    let web = HttpServer::start(move |request| match request.target.as_str() {
        "/dated" => HttpReply::new(200, "d").header("Last-Modified", "Sun, 09 Sep 2001 01:46:40 GMT"),
        "/archive" => HttpReply::new(200, archive.clone()),
        "/bare" => HttpReply::new(200, "b"),
        _ => HttpReply::new(404, "gone"),
    });
    let url = |path: &str| format!("http://{}/{path}", web.host());
    let dockerfile = |source: &str| {
        format!(
            "ARG V\nFROM scratch AS Source\nARG V\nADD {source} /\nFROM busybox\nARG SOURCE_DATE_EPOCH\nRUN echo \"<$SOURCE_DATE_EPOCH>\" > /seen\n"
        )
    };
    let argument = ["--build-arg", "SOURCE_DATE_EPOCH=source", "--build-arg", "V=dated"];
    for (source, expected) in [
        (git.url("a.git"), of_commit.as_str()),
        (url("$V"), "1000000000"),
        (url("archive"), "1000000000"),
        (url("bare"), ""),
    ] {
        let context = here.context("epoch", &dockerfile(&source), &[]).display().to_string();
        let words = [&argument[..], &[&context]].concat();
        build(&here, &words);
        assert_eq!(image_says(&here, "cat /seen"), format!("<{expected}>"), "{source}");
        let created = here.ok(["inspect", "--format", "{{.Created}}", "x"]);
        assert_eq!(
            created.starts_with("2001-09-09T01:46:40Z"),
            expected == "1000000000",
            "{source}: {created}"
        );
        // a plan knows as much as nobody has to be asked for
        let asked = (web.requests().len(), git.requests().len());
        let plan = here.ok([&["plan"], &words[..]].concat());
        assert_eq!(plan.contains(" 1 cached"), !source.contains("a.git"), "{source}: {plan}");
        assert_eq!((web.requests().len(), git.requests().len()), asked, "{source}");
        // the stage is not part of the target, and is locked all the same
        assert_eq!(try_build(&here, &[&["--lock"], &words[..]].concat()).code, 0);
        assert!(fs::read_to_string(here.path().join("epoch/rbuild.lock")).unwrap().contains("sources"));
        let locked = try_build(&here, &[&["--locked"], &words[..]].concat());
        assert_eq!(locked.code, 0, "{locked:#?}");
        fs::remove_file(here.path().join("epoch/rbuild.lock")).unwrap();
    }
    let context = here.context("epoch", &dockerfile(&url("none")), &[]).display().to_string();
    let said = fails(&here, &[&argument[..], &[&context]].concat());
    assert!(said.contains("answered 404") && said.contains("Dockerfile:4"), "{said}");
}

#[test]
fn a_commit_that_is_known_needs_no_server_and_no_files() {
    let Some(here) = with_busybox("cached contexts in Git repositories") else { return };
    let server = GitServer::start();
    let (repository, first) = filled(&server);
    let (pinned, branch) = (server.url(&format!("a.git#{first}")), server.url("a.git#main"));
    build(&here, &[&pinned]);
    let asked = || server.requests().len();
    let before = asked();
    // nothing of the repository is needed but what is known of it
    let sources = here.store().join("sources");
    fs::rename(sources.join("git"), sources.join("elsewhere")).unwrap();
    let log = build(&here, &[&pinned]);
    assert_eq!(log.matches("CACHED").count(), 3, "the source, COPY and RUN: {log}");
    assert_eq!(asked(), before);
    fs::rename(sources.join("elsewhere"), sources.join("git")).unwrap();
    // a step that is not in the cache gets its files from what is here
    build(&here, &["--no-cache", &pinned]);
    assert_eq!((image_says(&here, "cat /copied /all/file"), asked()), ("oneone".to_owned(), before));

    build(&here, &[&branch]);
    let before = asked();
    assert_eq!(build(&here, &[&branch]).matches("CACHED").count(), 3);
    assert!(asked() > before, "the branch may have moved");
    // another commit with the same files is found by them
    repository.git(&["commit", "--quiet", "--allow-empty", "-m", "nothing"]);
    repository.push();
    assert_eq!(build(&here, &[&branch]).matches("CACHED").count(), 2, "COPY and RUN");
    repository.commit(&[("file", "three")]);
    assert_eq!(build(&here, &[&branch]).matches("CACHED").count(), 0);
    assert_eq!(image_says(&here, "cat /copied"), "three");
    // a directory with the same files is the same context
    let tree = here.path().join("tree");
    fs::create_dir(&tree).unwrap();
    let export =
        format!("git -C {} archive HEAD | tar -x -C {}", repository.work_tree.display(), tree.display());
    assert!(Command::new("sh").args(["-c", &export]).status().unwrap().success());
    fs::remove_file(tree.join(".dockerignore")).unwrap();
    fs::write(tree.join(".dockerignore"), "ignored\n").unwrap();
    let plan = here.ok(["plan", &branch]);
    assert!(plan.contains("cached"), "{plan}");
}

#[test]
fn a_repository_is_a_named_context() {
    let Some(here) = with_busybox("named contexts in Git repositories") else { return };
    let server = GitServer::start();
    let (_repository, _) = filled(&server);
    let dockerfile = "FROM scratch AS files\nCOPY --from=code . /\nFROM busybox\nCOPY --from=code file /file\n\
                      COPY --from=files dir/own /own\nRUN --mount=type=bind,from=code,target=/m cat /m/ignored > /mounted\n";
    let context = here.context("here", dockerfile, &[]);
    let named = format!("code={}#v1", server.url("a.git"));
    let words = ["--build-context", &named, context.to_str().unwrap()];
    build(&here, &words);
    assert_eq!(image_says(&here, "cat /file /own /mounted"), "oneowntaken all the same");
    assert!(build(&here, &words).matches("CACHED").count() >= 5);
    let base = here.context("base", "FROM code\nCOPY --from=busybox /bin/busybox /bin/sh\n", &[]);
    build(&here, &["--build-context", &named, base.to_str().unwrap()]);
    assert_eq!(here.ok(["run", "--rm", "x", "sh", "-c", "cat /file"]).trim(), "one");
}

/// A server of files, which counts those that it sends.
fn web(files: Vec<(&'static str, Vec<u8>)>) -> HttpServer {
    HttpServer::start(move |request| {
        let path = request.target.trim_start_matches('/');
        let Some((_, body)) = files.iter().find(|(name, _)| *name == path) else {
            return HttpReply::new(404, "not here");
        };
        if request.header("if-none-match") == Some("\"1\"") {
            return HttpReply::new(304, "").header("ETag", "\"1\"");
        }
        HttpReply::new(200, body.clone()).header("ETag", "\"1\"")
    })
}

fn packed(directory: &Path, filter: &str) -> Vec<u8> {
    let script = format!("tar -C {} --owner=5 --group=6 -c . | {filter}", directory.display());
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(output.status.success(), "{filter}: {output:?}");
    output.stdout
}

#[test]
fn an_archive_of_the_web_is_a_context() {
    as_root_and_user("archives of the web as contexts", |here| {
        let files = [
            (".dockerignore", "ignored"),
            ("ignored", "taken"),
            ("file", "f"),
            ("sub/D", "FROM busybox\nCOPY file /sub\n"),
        ];
        let directory = here.context("files", "FROM busybox\nCOPY . /all/\n", &files);
        let filters = [("plain", "cat"), ("gz", "gzip"), ("bz2", "bzip2"), ("xz", "xz"), ("zst", "zstd -q")];
        let served = filters.iter().map(|(name, filter)| (*name, packed(&directory, filter))).collect();
        let server = web(served);
        let url = |name: &str| format!("http://{}/{name}", server.host());
        for (name, _) in filters {
            let log = build(here, &[&url(name)]);
            assert_eq!(
                log.contains("CACHED"),
                name != "plain",
                "{name}: the same files are the same context: {log}"
            );
        }
        assert_eq!(image_says(here, "cat /all/ignored; stat -c ' %u:%g' /all/file"), "taken 5:6");
        assert_eq!(build(here, &[&url("gz")]).matches("CACHED").count(), 2, "the archive and the COPY");
        build(here, &["-f", "sub/D", &url("xz")]);
        assert_eq!(image_says(here, "cat /sub"), "f");
        let other = here.context("other", "FROM busybox\nCOPY --from=web file /named\n", &[]);
        build(here, &["--build-context", &format!("web={}", url("zst")), other.to_str().unwrap()]);
        assert_eq!(image_says(here, "cat /named"), "f");
        assert!(fails(here, &[&url("none")]).contains("404"));
    });
}

#[test]
fn a_dockerfile_of_the_web_is_a_context_or_the_dockerfile_of_one() {
    let Some(here) = with_busybox("Dockerfiles of the web") else { return };
    let server = web(vec![
        ("D", b"FROM busybox\nRUN echo web > /web\n".to_vec()),
        ("C", b"FROM busybox\nCOPY file /copied\n".to_vec()),
        ("broken", b"FROM busybox\nRUNN x\n".to_vec()),
        ("long", vec![b'#'; (16 << 20) + 1]),
        ("data.bin", b"data".to_vec()),
    ]);
    let url = |name: &str| format!("http://{}/{name}", server.host());
    build(&here, &[&url("D")]);
    assert_eq!(image_says(&here, "cat /web"), "web");
    assert_eq!(build(&here, &[&url("D")]).matches("CACHED").count(), 2);
    let context = here.context("files", "FROM busybox\n", &[("file", "local")]);
    build(&here, &["-f", &url("C"), context.to_str().unwrap()]);
    assert_eq!(image_says(&here, "cat /copied"), "local");
    let named = here.context("named", "FROM busybox\nCOPY --from=web data.bin /data\n", &[]);
    build(&here, &["--build-context", &format!("web={}", url("data.bin")), named.to_str().unwrap()]);
    assert_eq!(image_says(&here, "cat /data; stat -c ' %a' /data"), "data 600");
    for (words, expected) in [
        (vec![url("broken")], "unknown instruction: RUNN"),
        (vec![url("long")], "16 MiB"),
        (vec!["-f".to_owned(), "x".to_owned(), url("D")], "ambiguous Dockerfile source"),
        (vec!["-f".to_owned(), url("none"), context.display().to_string()], "404"),
    ] {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        assert!(fails(&here, &words).contains(expected), "{words:?}: {}", fails(&here, &words));
    }
}

#[test]
fn previews_look_at_contexts_of_the_network() {
    let Some(here) = with_busybox("previews of contexts of the network") else { return };
    let server = GitServer::start();
    let (_repository, _) = filled(&server);
    let url = server.url("a.git");
    let plan = here.ok(["plan", &url]);
    assert!(plan.contains("COPY . /all/"), "{plan}");
    here.ok(["build", "--check", &url]);
    assert!(here.ok(["build", "--call=targets", &url]).contains("default"));
    here.ok(["build", "--call=outline", &url]);
    assert!(here.ok(["images", "-q"]).lines().count() == 1, "nothing is built");
}

#[test]
fn a_lock_file_keeps_contexts_where_they_were() {
    let Some(here) = with_busybox("locked contexts") else { return };
    let server = GitServer::start();
    let (repository, _) = filled(&server);
    let url = server.url("a.git");
    let moving = Arc::new(AtomicBool::new(false));
    let moved = moving.clone();
    let web = HttpServer::start(move |_| {
        HttpReply::new(200, if moved.load(Ordering::Relaxed) { "new" } else { "old" })
    });
    let dockerfile =
        format!("FROM busybox\nCOPY --from=code file /code\nCOPY --from=web f /web\nADD {url} /added\n");
    let context = here.context("locked", &dockerfile, &[]);
    let (code, file) = (format!("code={url}"), format!("web=http://{}/f", web.host()));
    let build_with = |flag: &'static str| {
        [flag, "--build-context", &code, "--build-context", &file, context.to_str().unwrap()]
            .map(str::to_owned)
    };
    let words = |flag| build_with(flag).to_vec();
    let run = |flag| {
        let words = words(flag);
        try_build(&here, &words.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let refused = run("--locked");
    assert!(refused.code != 0, "{refused:#?}");
    assert_eq!(run("--lock").code, 0);
    let lock = fs::read_to_string(context.join("rbuild.lock")).unwrap();
    assert!(lock.contains("\"git\": \"") && lock.contains("\"http\": \"sha256:"), "{lock}");
    repository.commit(&[("file", "moved")]);
    assert_eq!(run("--locked").code, 0);
    assert_eq!(image_says(&here, "cat /code /added/file"), "twotwo");
    let told = run("--lock").stderr;
    assert!(told.contains("moved from commit "), "{told}");
    assert_eq!(image_says(&here, "cat /code /added/file"), "movedmoved");
    moving.store(true, Ordering::Relaxed);
    here.ok(["builder", "prune", "-a", "-f"]);
    let said = run("--locked").stderr;
    assert!(said.contains("the lock file has sha256:"), "{said}");
}

#[test]
fn logins_for_contexts_come_from_secrets_and_are_kept_nowhere() {
    let Some(here) = with_busybox("logins for contexts") else { return };
    // x-access-token:hunter2hunter2
    let server = GitServer::with_login("basic eC1hY2Nlc3MtdG9rZW46aHVudGVyMmh1bnRlcjI=");
    let (_repository, _) = filled(&server);
    let token = here.write("token", "hunter2hunter2\n").display().to_string();
    let url = server.url("a.git");
    assert!(fails(&here, &[&url]).contains(&url));
    build(&here, &["--secret", &format!("id=GIT_AUTH_TOKEN,src={token}"), &url]);
    let wrong = here.write("wrong", "wrongwrong").display().to_string();
    let with_login = url.replace("http://", "http://me:hunter2hunter2@");
    let said = fails(&here, &["--secret", &format!("id=GIT_AUTH_TOKEN,src={wrong}"), &with_login]);
    assert!(!said.contains("hunter2") && !said.contains("wrongwrong"), "{said}");
    let found = Command::new("grep")
        .args(["-raE", "hunter2|aHVudGVyMm|wrongwrong"])
        .arg(here.store())
        .output()
        .unwrap();
    assert!(found.stdout.is_empty(), "{}", String::from_utf8_lossy(&found.stdout));
}

#[test]
fn what_is_wrong_with_a_context_is_said_in_one_error() {
    let Some(here) = with_busybox("failing contexts of the network") else { return };
    let server = GitServer::start();
    let (repository, first) = filled(&server);
    let secret = here.write("secret", "FROM busybox\nLABEL secret=\n");
    std::os::unix::fs::symlink(&secret, repository.work_tree.join("out")).unwrap();
    std::os::unix::fs::symlink("dir", repository.work_tree.join("in")).unwrap();
    repository.commit(&[]);
    let url = server.url("a.git");
    build(&here, &["-f", "in/Other", &url]);
    for (words, expected) in [
        (vec![format!("{url}#none")], "repository does not contain ref none"),
        (vec![format!("{url}#{}", &first[..8])], "write all digits"),
        (vec![format!("{url}#{}", "0".repeat(40))], "does not contain ref 000"),
        (vec![format!("{url}#--upload-pack=touch")], "is not the name of a branch"),
        (vec![format!("{url}#main:none")], "no directory \"none\""),
        (vec![format!("{url}?x=1")], "unexpected query \"x\""),
        (vec![format!("{url}?checksum={}", "1".repeat(40))], "expected checksum to match"),
        (vec![server.url("none.git")], "not found"),
        (vec!["-f".into(), "none".into(), url.clone()], "none"),
        (vec!["-f".into(), "out".into(), url.clone()], "not in the build context"),
        (vec!["-f".into(), "../../secret".into(), url.clone()], "no such file"),
        (vec!["git://127.0.0.1:1/a.git".into()], "git ls-remote failed"),
        (vec!["http://127.0.0.1:1/x".into()], "127.0.0.1:1"),
        (
            vec!["--build-context".into(), format!("n={url}#none"), here.path().display().to_string()],
            "does not contain ref",
        ),
    ] {
        let said = fails(&here, &words.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(said.to_lowercase().contains(&expected.to_lowercase()), "{words:?}: {said}");
        assert!(said.matches("ERROR").count() <= 2 && !said.contains("LABEL secret"), "{words:?}: {said}");
    }
    let left = fs::read_dir(here.store().join("tmp")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "nothing half-made stays");
}
