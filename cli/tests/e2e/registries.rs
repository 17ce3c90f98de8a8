//! Registries from the command line: logins by file and by helper, mirrors, `registry test`, `search`.

use crate::{RBUILD, with_busybox};
use rbuild_testkit::{
    HttpReply, HttpServer, REGISTRY_PASSWORD, REGISTRY_USER, Ran, Registry, RegistryLogin, RegistryOptions,
    Workspace, is_root, write_program,
};
use std::{fs, io::Write as _, os::unix::fs::MetadataExt, process::Stdio};

fn locked() -> Option<Registry> {
    Registry::start(&RegistryOptions { login: RegistryLogin::Basic, ..RegistryOptions::default() })
}

/// Runs rbuild with these variables and this text on standard input.
fn given(here: &Workspace, words: &[&str], variables: &[(&str, &str)], input: &str) -> Ran {
    let mut command = here.command(words);
    command.envs(variables.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // a command that fails first does not read
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    Ran::of(child.wait_with_output().unwrap())
}

fn log_in(here: &Workspace, host: &str, password: &str, variables: &[(&str, &str)]) -> Ran {
    given(
        here,
        &["login", "-u", REGISTRY_USER, "--password-stdin", host],
        variables,
        &format!("{password}\n"),
    )
}

#[test]
fn a_login_is_checked_kept_for_its_owner_alone_and_forgotten() {
    let Some(registry) = locked() else { return };
    let here = Workspace::new(RBUILD);
    let file = here.path().join("docker/config.json");
    let folder = file.parent().unwrap().to_str().unwrap().to_owned();
    let variables = [("DOCKER_CONFIG", folder.as_str())];
    let wrong = log_in(&here, registry.host(), "wrong", &variables);
    assert_eq!(wrong.code, 1, "{wrong:?}");
    let said = &wrong.stderr;
    assert!(said.contains("refused the login") && !said.contains("rbuild login"), "{wrong:?}");
    assert!(!file.exists(), "a wrong login is not kept");

    let right = log_in(&here, registry.host(), REGISTRY_PASSWORD, &variables);
    assert_eq!((right.code, right.stdout.as_str()), (0, "Login Succeeded\n"), "{right:?}");
    let warning = format!("WARNING! Your credentials are stored unencrypted in '{}'.", file.display());
    assert!(right.stderr.contains(&warning), "{right:?}");
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
    let again = given(&here, &["login", registry.host()], &variables, "");
    assert_eq!((again.code, again.stdout.as_str()), (0, "Login Succeeded\n"), "{again:?}");
    assert!(again.stderr.contains("Authenticating with existing credentials"), "{again:?}");

    let out = given(&here, &["logout", registry.host()], &variables, "");
    assert_eq!(out.stdout, format!("Removing login credentials for {}\n", registry.host()));
    assert!(!fs::read_to_string(&file).unwrap().contains(registry.host()));
    let out = given(&here, &["logout", registry.host()], &variables, "");
    assert_eq!(out.stdout, format!("Not logged in to {}\n", registry.host()));
}

#[test]
fn a_credential_helper_keeps_the_login() {
    let Some(registry) = locked() else { return };
    let here = Workspace::new(RBUILD);
    let kept = here.path().join("kept");
    let script = format!(
        "#!/bin/sh\ncase $1 in\nstore) cat >{0} ;;\n\
         get) cat >/dev/null; test -e {0} && cat {0} || {{ echo credentials not found in native keychain; exit 1; }} ;;\n\
         erase) cat >/dev/null; rm -f {0} ;;\nesac\n",
        kept.display()
    );
    write_program(&here.path().join("docker-credential-box"), &script);
    here.write("docker/config.json", r#"{"credsStore": "box", "detachKeys": "ctrl-x"}"#);
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", here.path().display());
    let folder = here.path().join("docker");
    let variables = [("DOCKER_CONFIG", folder.to_str().unwrap()), ("PATH", path.as_str())];
    let ran = log_in(&here, registry.host(), REGISTRY_PASSWORD, &variables);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "Login Succeeded\n"), "{ran:?}");
    assert!(!ran.stderr.contains("unencrypted"), "{ran:?}");
    assert!(fs::read_to_string(&kept).unwrap().contains(REGISTRY_PASSWORD));
    let config = fs::read_to_string(folder.join("config.json")).unwrap();
    assert!(config.contains("ctrl-x") && !config.contains("\"auth\""), "{config}");
    let report = given(&here, &["registry", "test", &format!("{}/a", registry.host())], &variables, "");
    let line = format!("login  of docker-credential-box, which {}/config.json names", folder.display());
    assert!(report.stdout.contains(&line), "{report:?}");
    let out = given(&here, &["logout", registry.host()], &variables, "");
    assert_eq!(out.stdout, format!("Removing login credentials for {}\n", registry.host()), "{out:?}");
    assert!(!kept.exists());
    let out = given(&here, &["logout", registry.host()], &variables, "");
    assert_eq!(out.stdout, format!("Not logged in to {}\n", registry.host()));
}

#[test]
fn the_file_of_the_containers_tools_is_written_when_it_is_named() {
    let Some(registry) = locked() else { return };
    let here = Workspace::new(RBUILD);
    let file = here.path().join("auth.json");
    let variables = [("REGISTRY_AUTH_FILE", file.to_str().unwrap())];
    let ran = log_in(&here, registry.host(), REGISTRY_PASSWORD, &variables);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(fs::read_to_string(&file).unwrap().contains(registry.host()));
    // without the variable another file is meant, and the person hears of the login that is used all the same
    let config = here.path().join("xdg");
    fs::create_dir_all(config.join("containers")).unwrap();
    fs::copy(&file, config.join("containers/auth.json")).unwrap();
    let out =
        given(&here, &["logout", registry.host()], &[("XDG_CONFIG_HOME", config.to_str().unwrap())], "");
    assert_eq!(out.stdout, format!("Not logged in to {}\n", registry.host()));
    assert!(out.stderr.contains("xdg/containers/auth.json is still there"), "{out:?}");
}

#[test]
fn registry_test_says_what_is_right_and_what_to_do() {
    let test = "registry_test_says_what_is_right_and_what_to_do";
    if !is_root(test) {
        return;
    }
    let Some(registry) = locked() else { return };
    let here = Workspace::new(RBUILD);
    let image = format!("{}/team/app:1", registry.host());
    let closed = here.run(["registry", "test", &image]);
    assert_eq!(closed.code, 1, "{closed:?}");
    for line in [
        format!("registry: {image}\n"),
        format!("  reach  ok: http://{}\n", registry.host()),
        "  TLS    none: plain HTTP (insecure or on this machine)\n".to_owned(),
        "  login  none\n".to_owned(),
        "  pull   FAILED: pull access denied for".to_owned(),
        format!(": run \"rbuild login {}\"\n", registry.host()),
        "  push   FAILED: push access denied for".to_owned(),
    ] {
        assert!(closed.stdout.contains(&line), "{line:?} in {closed:?}");
    }
    assert_eq!(log_in(&here, registry.host(), REGISTRY_PASSWORD, &[]).code, 0);
    here.build(&image, &here.context("c", "FROM scratch\nCOPY f /\n", &[("f", "x")]));
    let missing = here.run(["registry", "test", &image]);
    assert_eq!(missing.code, 1, "{missing:?}");
    assert!(missing.stdout.contains("see that repository and tag are right"), "{missing:?}");
    here.ok(["push", &image]);
    let ran = here.run(["registry", "test", "--push", &image]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    assert!(ran.stdout.contains("  pull   ok: sha256:"), "{ran:?}");
    assert!(ran.stdout.contains("  push   ok: "), "{ran:?}");
    assert!(ran.stdout.contains("config.json\n"), "{ran:?}");
    let gone = here.run(["registry", "test", "127.0.0.1:1/a"]);
    assert_eq!(gone.code, 3, "{gone:?}");
    assert!(gone.stdout.contains("  reach  FAILED: connection to 127.0.0.1:1 refused"), "{gone:?}");
    assert!(gone.stdout.contains("see that host and port are right"), "{gone:?}");
}

#[test]
fn images_come_from_a_mirror() {
    let test = "images_come_from_a_mirror";
    if !is_root(test) {
        return;
    }
    let Some(mirror) = Registry::start(&RegistryOptions::default()) else { return };
    let here = Workspace::new(RBUILD);
    let copy = format!("{}/hub/library/thing:1", mirror.host());
    here.build(&copy, &here.context("c", "FROM scratch\nCOPY f /\n", &[("f", "x")]));
    here.ok(["push", &copy]);
    here.ok(["rmi", &copy]);
    let conf = here.write(
        "registries.conf",
        format!(
            "unqualified-search-registries = ['x.example']\n[[registry]]\nprefix = 'docker.io'\nlocation = '127.0.0.1:1'\n\
             [[registry.mirror]]\nlocation = '127.0.0.1:2'\n[[registry.mirror]]\nlocation = '{}/hub'\n\
             [[registry]]\nprefix = 'closed.example'\nblocked = true\n",
            mirror.host()
        ),
    );
    let variables = [("CONTAINERS_REGISTRIES_CONF", conf.to_str().unwrap())];
    let pulled = given(&here, &["pull", "thing:1"], &variables, "");
    assert_eq!(pulled.code, 0, "{pulled:?}");
    assert!(pulled.stdout.ends_with("docker.io/library/thing:1\n"), "{pulled:?}");
    assert!(
        pulled.stderr.contains("mirror 127.0.0.1:2/library/thing failed, asking the next place"),
        "{pulled:?}"
    );
    let blocked = given(&here, &["pull", "closed.example/a"], &variables, "");
    assert_eq!(blocked.code, 1, "{blocked:?}");
    assert!(blocked.stderr.contains("closed.example/a is blocked by "), "{blocked:?}");
    let report = given(&here, &["registry", "test", "thing:1"], &variables, "");
    assert_eq!(report.code, 0, "a mirror has it: {report:?}");
    assert!(report.stdout.contains(&format!("mirror 2: {copy}\n")), "{report:?}");
    here.write("registries.conf", "[[registry]]\nlocation = 'a b'\n");
    let wrong = given(&here, &["pull", "thing:1"], &variables, "");
    assert!(wrong.stderr.contains("registries.conf: \"a b\" is not host[:port][/path]"), "{wrong:?}");
}

#[test]
fn registries_are_searched() {
    let long = "A small thing of which its owner says much more than fits into one line";
    let answer = format!(
        r#"{{"num_results": 2, "results": [{{"name": "team/thing", "description": "{long}", "star_count": 3}},
            {{"name": "thing", "description": "The\nthing", "star_count": 40, "is_official": true}}]}}"#
    );
    let server = HttpServer::start(move |request| match request.target.as_str() {
        "/v1/search?q=thi+ng&n=25" => HttpReply::new(200, answer.clone()),
        other => HttpReply::new(404, other),
    });
    let here = Workspace::new(RBUILD);
    let host = server.host();
    let term = format!("{host}/thi ng");
    let pad = " ".repeat(host.len());
    let expected = format!(
        "NAME          {pad}DESCRIPTION                                     STARS     OFFICIAL\n\
         {host}/thing        The thing                                       40        [OK]\n\
         {host}/team/thing   A small thing of which its owner says much m…   3         \n"
    );
    assert_eq!(here.ok(["search", &term]), expected);
    assert_eq!(
        here.ok(["search", "--filter", "is-official=true", "--format", "{{.Name}} {{.StarCount}}", &term]),
        format!("{host}/thing 40\n")
    );
    let Some(registry) = locked() else { return };
    assert_eq!(log_in(&here, registry.host(), REGISTRY_PASSWORD, &[]).code, 0);
    if is_root("registries_are_searched") {
        for name in ["one/thing", "two/other"] {
            let image = format!("{}/{name}", registry.host());
            here.build(&image, &here.context("c", "FROM scratch\nCOPY f /\n", &[("f", "x")]));
            here.ok(["push", &image]);
        }
        let found = here.ok(["search", "--format", "{{.Name}}", &format!("{}/thing", registry.host())]);
        assert_eq!(
            found,
            format!("{}/one/thing\n", registry.host()),
            "a registry that lists is looked through"
        );
    }
    let limit = here.run(["search", "--limit", "101", "x"]);
    assert_eq!(limit.code, 2, "{limit:?}");
}

#[test]
fn all_tags_of_a_repository_are_pushed_and_pulled() {
    let Some(here) = with_busybox("all_tags_of_a_repository_are_pushed_and_pulled") else { return };
    let Some(registry) = Registry::start(&RegistryOptions::default()) else { return };
    let repository = format!("{}/team/all", registry.host());
    for tag in ["a", "b"] {
        let context = here.context(tag, &format!("FROM busybox\nLABEL tag={tag}\n"), &[]);
        here.build(&format!("{repository}:{tag}"), &context);
    }
    let pushed = here.ok(["push", "-a", &repository]);
    let lines: Vec<&str> = pushed.lines().collect();
    assert_eq!(lines[0], format!("The push refers to repository [{repository}]"));
    assert!(
        lines[1].starts_with("a: digest: sha256:") && lines[2].starts_with("b: digest: sha256:"),
        "{pushed}"
    );

    let there = Workspace::new(RBUILD);
    let pulled = there.ok(["pull", "-a", &repository]);
    assert!(
        pulled.ends_with(&format!("Status: Downloaded newer image for {repository}\n{repository}\n")),
        "{pulled}"
    );
    for tag in ["a", "b"] {
        let name = format!("{repository}:{tag}");
        assert_eq!(there.ok(["inspect", "--format", "{{.Config.Labels.tag}}", &name]), format!("{tag}\n"));
        assert_eq!(there.ok(["images", "-q", &name]), here.ok(["images", "-q", &name]));
    }
    assert!(there.ok(["pull", "-a", &repository]).contains("Image is up to date"));
    assert_eq!(there.ok(["pull", "-aq", &repository]), format!("{repository}\n"));
    // a registry gives what it has, and who asked for another platform learns that
    for names in [vec![&*repository, "-a"], vec![&*repository.replace("all", "all:a")]] {
        let mut words = vec!["pull", "--platform=linux/riscv64"];
        words.extend(names);
        let other = there.run(&words);
        let words = format!(
            "WARNING: image with reference {repository}:a was found but its platform ({}) does not match the specified platform (linux/riscv64)",
            there.ok(["inspect", "--format", "{{.Os}}/{{.Architecture}}", &format!("{repository}:a")]).trim()
        );
        assert!(other.code == 0 && other.stderr.contains(&words), "{other:?}");
    }

    let tagged = here.fails(["push", "--all-tags", &format!("{repository}:a")]);
    assert!(tagged.stderr.contains("tag can't be used with --all-tags/-a"), "{tagged:?}");
    let unknown = format!("{}/team/none", registry.host());
    let none = here.fails(["push", "-a", &unknown]);
    assert!(none.stderr.contains(&format!("does not exist locally with the tag: {unknown}")), "{none:?}");
}

#[test]
fn a_push_that_fails_names_the_image() {
    let Some(here) = with_busybox("a_push_that_fails_names_the_image") else { return };
    let Some(registry) = locked() else { return };
    let name = format!("{}/team/x:1", registry.host());
    here.ok(["tag", "busybox", &name]);
    let refused = here.fails(["push", &name]);
    assert!(refused.stderr.contains(&format!("failed to push {name}: ")), "{refused:?}");
    assert!(refused.stderr.contains("access denied"), "{refused:?}");
}
