//! ADD of Git repositories, from a real server: what becomes of their files, when the server is asked, logins, and
//! repositories that are up to something.

use crate::{ordinary_user, with_busybox};
use rbuild_testkit::{
    Base, GitRepository, GitServer, HttpReply, HttpServer, Ran, Registry, RegistryOptions, RegistryTransport,
    Workspace,
};
use std::{
    fs::{self, Permissions},
    io::Write as _,
    os::unix::fs::{PermissionsExt, symlink},
    process::{Command, Stdio},
};

fn try_build(here: &Workspace, instructions: &str, flags: &[&str]) -> Ran {
    let context = here.context("git", &format!("FROM busybox\n{instructions}\n"), &[]);
    let words = ["build", "--progress=plain", "-t", "x"].iter().chain(flags).map(|word| (*word).to_owned());
    here.run(words.chain([context.display().to_string()]))
}

fn build(here: &Workspace, instructions: &str) -> String {
    let ran = try_build(here, instructions, &[]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    ran.stderr
}

fn fails(here: &Workspace, instructions: &str, flags: &[&str]) -> String {
    let ran = try_build(here, instructions, flags);
    assert!(ran.code != 0 && ran.stderr.contains("Dockerfile:2"), "{ran:#?}");
    ran.stderr
}

fn image_says(here: &Workspace, script: &str) -> String {
    here.ok(["run", "--rm", "x", "sh", "-c", script]).trim().to_owned()
}

/// A repository with a program, a link and a directory, on the branches `main` and `other` and with two tags.
fn filled(server: &GitServer, name: &str) -> (GitRepository, String) {
    let repository = server.repository(name);
    fs::write(repository.work_tree.join("run"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(repository.work_tree.join("run"), Permissions::from_mode(0o755)).unwrap();
    symlink("run", repository.work_tree.join("link")).unwrap();
    let first = repository.commit(&[("file", "one"), ("dir/sub/deep", "deep")]);
    repository.git(&["tag", "plain"]);
    repository.git(&["tag", "-a", "-m", "a tag", "v1"]);
    repository.git(&["branch", "other"]);
    repository.commit(&[("file", "two")]);
    (repository, first)
}

#[test]
fn the_files_of_a_commit_are_added() {
    let Some(here) = with_busybox("ADD of Git repositories") else { return };
    let server = GitServer::start();
    let (_repository, first) = filled(&server, "a.git");
    let url = server.url("a.git");
    build(
        &here,
        &format!(
            "ADD {url} /default\n\
             ADD {url}#other /branch\n\
             ADD {url}#v1:dir /tag/\n\
             ADD {url}#{first} /commit\n\
             ADD {url}?tag=plain&subdir=dir/sub /query\n\
             ADD --checksum={first} {url}#v1 /checked\n\
             ADD --chown=5:6 --chmod=700 --exclude=dir --link {url}?mtime=commit /flags"
        ),
    );
    let script = "cd /; for d in default branch tag commit query checked flags; do find $d | sort | tr '\\n' ' '; done";
    assert_eq!(
        image_says(&here, script),
        "default default/dir default/dir/sub default/dir/sub/deep default/file default/link default/run \
         branch branch/dir branch/dir/sub branch/dir/sub/deep branch/file branch/link branch/run \
         tag tag/sub tag/sub/deep \
         commit commit/dir commit/dir/sub commit/dir/sub/deep commit/file commit/link commit/run \
         query query/deep \
         checked checked/dir checked/dir/sub checked/dir/sub/deep checked/file checked/link checked/run \
         flags flags/file flags/link flags/run"
    );
    let script = "cd /; cat default/file branch/file commit/file; readlink default/link; \
                  stat -c '%n %a %u:%g' default/file default/run default/dir default/link flags/file flags/link; \
                  stat -c '%Y' flags/file flags/link";
    assert_eq!(
        image_says(&here, script),
        "twooneonerun\ndefault/file 644 0:0\ndefault/run 755 0:0\ndefault/dir 755 0:0\ndefault/link 777 0:0\n\
         flags/file 700 5:6\nflags/link 777 5:6\n1577836800\n1577836800"
    );
}

#[test]
fn a_server_is_asked_for_names_and_not_for_commits() {
    let Some(here) = with_busybox("keys of Git repositories") else { return };
    let server = GitServer::start();
    let (repository, first) = filled(&server, "a.git");
    let url = server.url("a.git");
    let asked = || server.requests().len();
    let by_name = format!("ADD {url}#main /a");
    build(&here, &by_name);
    let before = asked();
    assert!(build(&here, &by_name).contains("CACHED"));
    assert!(asked() > before, "a branch may have moved");
    repository.commit(&[("file", "three")]);
    assert!(!build(&here, &by_name).contains("CACHED"), "the branch has moved");

    for pinned in [format!("ADD {url}#{first} /b"), format!("ADD --checksum={first} {url}#v1 /c")] {
        build(&here, &pinned);
        let before = asked();
        assert!(build(&here, &pinned).contains("CACHED"));
        build(&here, &format!("{pinned}/new"));
        assert_eq!(asked(), before, "{pinned}: the commit is here");
    }
    // the address is not part of the key, and the layer knows no more than the commit
    let other = server.repository("b.git");
    other.git(&["fetch", "--quiet", repository.work_tree.to_str().unwrap(), "main"]);
    other.git(&["reset", "--quiet", "--hard", &first]);
    other.push();
    assert!(build(&here, &format!("ADD {}#{first} /b", server.url("b.git"))).contains("CACHED"));
    here.ok(["builder", "prune", "-a", "-f"]);
    build(&here, &format!("ADD {url}#{first} /b"));
    assert_eq!(image_says(&here, "cat /b/file"), "one");
}

#[test]
fn a_repository_is_kept_when_it_is_asked_for() {
    let Some(here) = with_busybox("the directories of Git repositories") else { return };
    let server = GitServer::start();
    let (_repository, first) = filled(&server, "a.git");
    let url = server.url("a.git");
    build(&here, &format!("ADD --keep-git-dir {url}#v1 /a\nADD {url}#v1 /b"));
    assert_eq!(image_says(&here, "test -e /b/.git || cat /a/.git/HEAD"), first);
    // another Git reads it
    let files = here.path().join("files");
    let add = format!("ADD --keep-git-dir {url}#v1 /a");
    let ran = try_build(&here, &add, &["-o", files.to_str().unwrap()]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let git = |words: &[&str]| {
        let output = Command::new("git")
            .args(["-c", "safe.directory=*"])
            .args(words)
            .current_dir(files.join("a"))
            .output();
        String::from_utf8(output.unwrap().stdout).unwrap().trim().to_owned()
    };
    assert_eq!(git(&["rev-parse", "HEAD"]), first);
    assert_eq!(git(&["status", "--porcelain"]), "");
    assert_eq!(git(&["remote", "get-url", "origin"]), url);
}

#[test]
fn submodules_come_from_the_network_alone() {
    let Some(here) = with_busybox("Git submodules") else { return };
    let server = GitServer::start();
    let (inner, _) = filled(&server, "inner.git");
    let outer = server.repository("outer.git");
    outer.commit(&[("own", "own")]);
    outer.git(&["submodule", "--quiet", "add", "--", inner.work_tree.to_str().unwrap(), "sub"]);
    outer.git(&["config", "-f", ".gitmodules", "submodule.sub.url", "../inner.git"]);
    outer.commit(&[]);
    let url = server.url("outer.git");
    build(&here, &format!("ADD {url} /with\nADD {url}?submodules=false /without"));
    assert_eq!(image_says(&here, "cat /with/sub/file; find /with -name .git; ls /without/sub"), "two");
    // a kept repository has its submodules, with nothing in them that leads to the store
    let files = here.path().join("files");
    let ran = try_build(&here, &format!("ADD --keep-git-dir {url} /kept"), &["-o", files.to_str().unwrap()]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let kept = files.join("kept");
    let git = |words: &[&str], below: &str| {
        let command = Command::new("git")
            .args(["-c", "safe.directory=*"])
            .args(words)
            .current_dir(kept.join(below))
            .output();
        String::from_utf8(command.unwrap().stdout).unwrap().trim().to_owned()
    };
    assert_eq!(git(&["status", "--porcelain"], ""), "");
    assert_eq!(git(&["status", "--porcelain"], "sub"), "");
    assert_eq!(
        git(&["submodule", "status"], "").split(' ').next(),
        Some(&*git(&["rev-parse", "HEAD"], "sub"))
    );
    assert_eq!(git(&["remote", "get-url", "origin"], "sub"), server.url("inner.git"));
    let store = here.store().display().to_string();
    let named = Command::new("grep").args(["-rl", &store]).arg(&kept).output().unwrap();
    assert_eq!(String::from_utf8(named.stdout).unwrap(), "");

    let secret = inner.work_tree.display().to_string();
    for path in [secret.clone(), format!("file://{secret}"), "ext::sh -c touch% /tmp/pwned".to_owned()] {
        outer.git(&["config", "-f", ".gitmodules", "submodule.sub.url", &path]);
        outer.commit(&[]);
        let said = fails(&here, &format!("ADD {url} /x"), &[]);
        assert!(said.contains("not allowed"), "{path}: {said}");
    }
}

#[test]
fn nothing_of_a_repository_or_of_this_machine_runs() {
    let Some(here) = with_busybox("hooks and filters") else { return };
    let server = GitServer::start();
    let repository = server.repository("a.git");
    let mark = here.path().join("mark");
    let attributes = "file filter=evil\nfile -text\n";
    repository.commit(&[
        ("file", "raw"),
        (".gitattributes", attributes),
        (".githooks/post-checkout", "#!/bin/sh\n"),
    ]);
    let script = here.write("evil", format!("#!/bin/sh\ntouch {}\ncat\n", mark.display()));
    fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    let evil = script.display();
    here.write(
        ".gitconfig",
        format!(
            "[filter \"evil\"]\nsmudge = {evil}\nrequired = true\n[core]\nhooksPath = {0}\nfsmonitor = {evil}\n\
             sshCommand = {evil}\n[credential]\nhelper = {evil}\n[url \"file:///\"]\ninsteadOf = http://\n",
            here.path().display()
        ),
    );
    fs::copy(&script, here.path().join("post-checkout")).unwrap();
    for keep in ["", "--keep-git-dir "] {
        let context =
            here.context("git", &format!("FROM busybox\nADD {keep}{} /a\n", server.url("a.git")), &[]);
        let mut command = here.command(["build", "-t", "x", context.to_str().unwrap()]);
        command.env("GIT_CONFIG_GLOBAL", here.path().join(".gitconfig")).env("GIT_SSH_COMMAND", &script);
        command.env("GIT_DIR", here.path()).env("GIT_EXEC_PATH", here.path());
        let ran = Ran::of(command.output().unwrap());
        assert_eq!(ran.code, 0, "{ran:#?}");
        assert_eq!(image_says(&here, "cat /a/file"), "raw");
        assert!(!mark.exists());
    }
}

#[test]
fn logins_come_from_secrets_and_are_kept_nowhere() {
    let Some(here) = with_busybox("logins for Git repositories") else { return };
    // x-access-token:hunter2hunter2
    let server = GitServer::with_login("basic eC1hY2Nlc3MtdG9rZW46aHVudGVyMmh1bnRlcjI=");
    let (_repository, _) = filled(&server, "a.git");
    let add = format!("ADD --keep-git-dir {} /a", server.url("a.git"));
    let token = here.write("token", "hunter2hunter2\n").display().to_string();
    for (id, given) in [
        ("GIT_AUTH_TOKEN".to_owned(), format!("id=GIT_AUTH_TOKEN,src={token}")),
        (
            "for a host".to_owned(),
            format!("id=GIT_AUTH_TOKEN.{},src={token}", &server.url("")[7..].trim_end_matches('/')),
        ),
    ] {
        let ran =
            try_build(&here, &format!("{add}\nLABEL a={}", id.replace(' ', "_")), &["--secret", &given]);
        assert_eq!(ran.code, 0, "{ran:#?}");
    }
    let header = here.write("header", "basic eC1hY2Nlc3MtdG9rZW46aHVudGVyMmh1bnRlcjI=").display().to_string();
    let ran =
        try_build(&here, &format!("{add}/b"), &["--secret", &format!("id=GIT_AUTH_HEADER,src={header}")]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let found = Command::new("grep").args(["-raE", "hunter2|aHVudGVyMm"]).arg(here.store()).output().unwrap();
    assert!(found.stdout.is_empty(), "{}", String::from_utf8_lossy(&found.stdout));

    here.ok(["builder", "prune", "-a", "-f"]);
    let said = fails(&here, &add, &[]);
    assert!(said.contains("failed to fetch http://127.0.0.1") && said.contains(" wants a login"), "{said}");
    let wrong = here.write("wrong", "wrongwrong").display().to_string();
    let said = fails(&here, &add, &["--secret", &format!("id=GIT_AUTH_TOKEN,src={wrong}")]);
    assert!(!said.contains("wrongwrong") && said.contains(" refuses the login"), "{said}");
    // a login is for one host
    let other = HttpServer::start(|_| HttpReply::new(404, ""));
    let given = format!("id=GIT_AUTH_TOKEN.example.org,src={token}");
    fails(&here, &format!("ADD http://{}/a.git /a", other.host()), &["--secret", &given]);
    assert!(other.requests().iter().all(|request| request.header("authorization").is_none()));
    // and goes nowhere else with a redirect, which git would follow with it
    let target = GitServer::start();
    let (_repository, _) = filled(&target, "b.git");
    let to = target.url("b.git");
    let redirecting = HttpServer::start(move |request| {
        let rest = request.target.strip_prefix("/a.git").unwrap_or_default();
        HttpReply::new(302, "").header("Location", &format!("{to}{rest}"))
    });
    let add = format!("ADD http://{}/a.git /a", redirecting.host());
    let said = fails(&here, &add, &["--secret", &format!("id=GIT_AUTH_TOKEN,src={token}")]);
    assert!(said.contains("the server redirects to another address"), "{said}");
    assert!(target.requests().is_empty(), "{:?}", target.requests());
    assert_eq!(try_build(&here, &add, &[]).code, 0, "without a login redirects are followed");
}

#[test]
fn a_store_may_be_named_by_a_relative_path() {
    let Some(here) = with_busybox("a_store_may_be_named_by_a_relative_path") else { return };
    let server = GitServer::start();
    let (_repository, _) = filled(&server, "a.git");
    let mut command = here.command(["--root", "relative", "build", &server.url("a.git#v1"), "-f", "-"]);
    command.current_dir(here.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"FROM scratch\nCOPY . /\n").unwrap();
    let ran = Ran::of(child.wait_with_output().unwrap());
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(here.path().join("relative/sources").is_dir());
}

#[test]
fn what_is_wrong_with_a_repository_is_said_in_one_error() {
    let Some(here) = with_busybox("failing Git repositories") else { return };
    let server = GitServer::start();
    let (_repository, first) = filled(&server, "a.git");
    let url = server.url("a.git");
    for (add, expected) in [
        (format!("{url}#none"), "repository does not contain ref none".to_owned()),
        (format!("{url}#{}", &first[..8]), "write all digits".to_owned()),
        (format!("{url}#{}", "0".repeat(40)), "failed to fetch".to_owned()),
        (format!("{url}#--upload-pack=touch"), "is not the name of a branch".to_owned()),
        (format!("{url}#v1:none"), format!("no directory \"none\" in commit {first}")),
        (format!("{url}#v1:file"), "no directory \"file\"".to_owned()),
        (
            format!("--checksum={} {url}#v1", "1".repeat(40)),
            format!("expected checksum to match {}, got {first}", "1".repeat(40)),
        ),
        (server.url("none.git"), "not found".to_owned()),
        (format!("{url}?x=1"), "unexpected query \"x\"".to_owned()),
        ("git://127.0.0.1:1/a.git".to_owned(), "git ls-remote failed".to_owned()),
    ] {
        let said = fails(&here, &format!("ADD {add} /x"), &[]);
        assert!(said.contains(&expected), "{add}: {said}");
    }
    let left = fs::read_dir(here.store().join("tmp")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "nothing half-made stays");
}

/// A registry has TLS and no repository of Git: what it answers shows that its certificate was taken.
#[test]
fn an_authority_of_ones_own_counts_for_repositories_too() {
    const NAME: &str = "an_authority_of_ones_own_counts_for_repositories_too";
    let Some(here) = ordinary_user::workspace(NAME) else { return };
    let Some(registry) =
        Registry::start(&RegistryOptions { transport: RegistryTransport::Tls, ..RegistryOptions::default() })
    else {
        return;
    };
    here.import(Base::Busybox);
    let dockerfile = format!("FROM busybox\nADD https://{}/a.git /x\n", registry.host());
    let context = here.context("git", &dockerfile, &[]);
    let says = |configuration: &std::path::Path| {
        let mut command = here.command(["build", "-t", "x", context.to_str().unwrap()]);
        let ran = Ran::of(command.env("XDG_CONFIG_HOME", configuration).output().unwrap());
        assert!(matches!(ran.code, 1 | 3), "{ran:#?}");
        ran.stderr
    };
    let empty = here.write("empty/file", "");
    let unknown = says(empty.parent().unwrap());
    let hint = format!("put its certificate in certs.d/{}/ca.crt", registry.host());
    assert!(unknown.contains("certificate") && unknown.contains(&hint), "{unknown}");
    let authority = fs::read(registry.authority()).unwrap();
    let place = format!("config/docker/certs.d/{}/ca.crt", registry.host());
    here.write(&place, authority);
    let known = says(&here.path().join("config"));
    assert!(known.contains("not found") && !known.contains("certificate"), "{known}");
}
