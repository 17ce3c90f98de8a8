//! What people see of the command line itself: help texts, the version, and mistakes in front of any engine.

use crate::RBUILD;
use rbuild_testkit::Workspace;
use std::{
    fs,
    process::{Command, Output},
};

fn rbuild(words: &[&str]) -> Output {
    let mut command = Command::new(RBUILD);
    command.args(words).env_clear().env("COLUMNS", "100").env("HOME", "/nonexistent");
    command.output().expect("the program starts")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("the program writes UTF-8")
}

/// Commands whose help is a snapshot.
const WITH_HELP: &[&[&str]] = &[
    &[],
    &["build"],
    &["plan"],
    &["check"],
    &["images"],
    &["history"],
    &["inspect"],
    &["tag"],
    &["rmi"],
    &["save"],
    &["load"],
    &["import"],
    &["pull"],
    &["push"],
    &["login"],
    &["logout"],
    &["search"],
    &["registry"],
    &["registry", "test"],
    &["run"],
    &["create"],
    &["start"],
    &["stop"],
    &["restart"],
    &["kill"],
    &["wait"],
    &["attach"],
    &["logs"],
    &["rename"],
    &["ps"],
    &["rm"],
    &["commit"],
    &["df"],
    &["prune"],
    &["version"],
    &["info"],
    &["image"],
    &["container"],
    &["builder"],
    &["manifest"],
    &["manifest", "create"],
    &["manifest", "annotate"],
    &["manifest", "inspect"],
    &["manifest", "push"],
    &["manifest", "rm"],
    &["buildx"],
    &["buildx", "imagetools"],
    &["buildx", "imagetools", "create"],
    &["buildx", "imagetools", "inspect"],
    &["explain"],
    &["cache"],
    &["cache", "verify"],
    &["builds"],
    &["builds", "ls"],
    &["builds", "inspect"],
    &["builds", "logs"],
    &["system"],
];

#[test]
fn help_texts() {
    for command in WITH_HELP {
        let name = if command.is_empty() { "rbuild".to_owned() } else { command.join("-") };
        let shown = rbuild(&[*command, &["--help"]].concat());
        assert!(shown.status.success() && shown.stderr.is_empty(), "{name}");
        insta::assert_snapshot!(format!("help-{name}"), text(&shown.stdout));
    }
}

#[test]
fn help_comes_in_three_ways() {
    let long = rbuild(&["tag", "--help"]).stdout;
    assert_eq!(rbuild(&["help", "tag"]).stdout, long);
    assert_eq!(rbuild(&["tag", "-h"]).stdout, long);
    assert_eq!(rbuild(&[]).stdout, rbuild(&["--help"]).stdout);
}

#[test]
fn versions() {
    let version = env!("CARGO_PKG_VERSION");
    for flag in ["--version", "-V", "-v"] {
        assert_eq!(text(&rbuild(&[flag]).stdout), format!("rbuild {version}\n"));
    }
    assert!(text(&rbuild(&["version"]).stdout).starts_with(&format!("rbuild:\n Version:  {version}\n")));
    let format = rbuild(&["version", "--format", "{{.Client.Version}}"]);
    assert_eq!(text(&format.stdout), format!("{version}\n"));
}

#[test]
fn the_last_of_several_values_counts() {
    let here = Workspace::new(RBUILD);
    let context = here.context("c", "FROM scratch AS a\nCOPY f /a\nFROM scratch\nCOPY f /b\n", &[("f", "x")]);
    let context = context.to_str().unwrap();
    let given = ["--push", "--push=false", "--target", "none", "--target=a", "-f", "none", "-f"];
    let file = format!("{context}/Dockerfile");
    let words = ["build", "-q"].iter().chain(&given).copied().chain([
        file.as_str(),
        "-t",
        "one",
        "-t",
        "two",
        context,
    ]);
    here.ok(words);
    assert_eq!(here.ok(["image", "ls", "--format", "json", "--format", "{{.Repository}}"]), "one\ntwo\n");
}

#[test]
fn scripts_for_buildx_find_one_builder() {
    let here = Workspace::new(RBUILD);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(here.ok(["buildx", "version"]), format!("rbuild v{version}\n"));
    let listed = here.ok(["buildx", "ls"]);
    assert!(listed.starts_with("NAME/NODE") && listed.contains("\ndefault*"), "{listed}");
    let described = here.ok(["buildx", "inspect", "--bootstrap"]);
    assert!(described.contains("\nPlatforms:        linux/"), "{described}");
    assert_eq!(here.ok(["buildx", "use", "default"]), "");
    let other = here.fails(["buildx", "use", "other"]);
    assert!(other.stderr.contains("no builder \"other\" found"), "{other:?}");
}

#[test]
fn builders_that_scripts_create_are_names_of_the_one_builder() {
    let here = Workspace::new(RBUILD);
    let context = here.context("c", "FROM scratch\nCOPY f /\n", &[("f", "")]).display().to_string();
    let build = ["build", "-q", "--builder", "ci", context.as_str()];
    assert!(here.fails(build).stderr.contains("no builder \"ci\" found"));
    let flags = "--allow-insecure-entitlement security.insecure --allow-insecure-entitlement=network.host";
    let create = ["buildx", "create", "--name", "ci", "--driver", "docker-container", "--use", "--bootstrap"];
    let created = here.run(create.into_iter().chain(["--buildkitd-flags", flags]));
    assert_eq!((created.code, created.stdout.as_str()), (0, "ci\n"), "{created:?}");
    assert!(created.stderr.contains("ci is another name of the one builder"), "{created:?}");
    assert!(here.fails(create).stderr.contains("existing instance for \"ci\""));
    here.ok(build);
    assert!(here.ok(["buildx", "inspect", "--builder", "ci", "--bootstrap"]).starts_with("Name:   ci\n"));
    assert!(here.ok(["buildx", "inspect"]).starts_with("Name:   ci\n"), "it is the chosen one");
    let listed = here.ok(["buildx", "ls"]);
    assert!(listed.contains("\nci* ") && listed.contains("\ndefault "), "{listed}");
    let format = "{{.Name}} {{.Driver}} {{.Current}} {{(index .Nodes 0).Status}}";
    let listed = here.ok(["buildx", "ls", "--no-trunc", "--format", format]);
    assert_eq!(listed, "ci rbuild true running\ndefault rbuild false running\n");
    here.ok(["buildx", "use", "--default", "--global", "default"]);
    assert!(here.ok(["buildx", "ls"]).contains("\ndefault* "));
    let made_up = here.ok(["buildx", "create"]);
    here.ok(["buildx", "stop", made_up.trim_end()]);
    here.ok(["buildx", "rm", "ci", made_up.trim_end()]);
    assert!(here.fails(build).stderr.contains("no builder \"ci\" found"));
    // a name that is no file
    fs::create_dir(here.store().join("builders/directory")).unwrap();
    let ran = here.fails(["buildx", "rm", "directory"]);
    assert!(ran.stderr.contains("builders/directory: is a directory"), "{ran:?}");
    fs::remove_dir(here.store().join("builders/directory")).unwrap();
    for (words, problem) in [
        (
            &["create", "--driver", "kubernetes"][..],
            "--driver kubernetes is not supported: there is one builder",
        ),
        (
            &["create", "--driver-opt", "network=host"],
            "gives its RUN the network of this machine with --network=host",
        ),
        (&["create", "--driver-opt", "image=x"], "--driver-opt is not supported"),
        (&["bake"], "'bake' is not supported: one 'rbuild build' has several results"),
        (&["--builder", "nope", "build", "."], "no builder \"nope\" found"),
        (&["create", "--buildkitd-config", "f"], "--buildkitd-config is not supported"),
        (
            &["create", "--buildkitd-flags", "--oci-worker=false"],
            "--buildkitd-flags --oci-worker=false is not",
        ),
        (&["create", "tcp://far:1234"], "the endpoint tcp://far:1234 is not supported"),
        (&["create", "--platform", "linux/s390x,linux/no"], "programs of this platform do not run here"),
        (&["create", "--name", "../x"], "invalid name ../x, name needs to start with a letter"),
        (&["create", "--name", "default"], "default is a reserved name"),
        (&["rm", "ci"], "failed to remove ci: no builder \"ci\" found"),
        (&["rm"], "failed to remove default: it is this program"),
        (&["stop", "ci"], "no builder \"ci\" found"),
    ] {
        let failed = here.fails([&["buildx"], words].concat());
        assert!(failed.code == 1 && failed.stderr.contains(problem), "{words:?}: {failed:?}");
    }
    here.ok(["buildx", "rm", "-f", "ci"]);
}

#[test]
fn a_builder_is_asked_for_before_the_command_or_by_a_variable() {
    let here = Workspace::new(RBUILD);
    let context = here.context("c", "FROM scratch\nCOPY f /\n", &[("f", "")]).display().to_string();
    here.ok(["buildx", "create", "--name", "ci"]);
    let by_option = here.run(["buildx", "-D", "--builder", "ci", "build", "-q", context.as_str()]);
    assert!(by_option.code == 0 && by_option.stderr.contains("--debug has no effect"), "{by_option:?}");
    for (asked, code) in [("ci", 0), ("nope", 1)] {
        let by_variable =
            here.command(["build", "-q", "-D", context.as_str()]).env("BUILDX_BUILDER", asked).output();
        let by_variable = rbuild_testkit::Ran::of(by_variable.unwrap());
        assert_eq!(by_variable.code, code, "{by_variable:?}");
        let said = ["--debug has no effect", "no builder \"nope\" found"][code as usize];
        assert!(by_variable.stderr.contains(said), "{by_variable:?}");
    }
    here.ok(["buildx", "rm", "-f", "--all-inactive"]);
    assert!(!here.ok(["buildx", "ls"]).contains("ci"));
}

#[test]
fn docker_s_options_before_the_command_are_read() {
    let here = Workspace::new(RBUILD);
    let folder = here.path().join("logins");
    let file = folder.join("config.json");
    fs::create_dir(&folder).unwrap();
    fs::write(&file, r#"{"auths": {"r.example": {"auth": "bWU6eA=="}}}"#).unwrap();
    here.ok(["--config", folder.to_str().unwrap(), "logout", "r.example"]);
    let left = fs::read_to_string(&file).unwrap();
    assert!(left.contains("auths") && !left.contains("r.example"), "{left}");
    let debug = here.run(["-D", "-c", "default", "ps", "-q"]);
    assert_eq!((debug.code, debug.stdout.as_str()), (0, ""), "{debug:?}");
    assert!(debug.stderr.contains("--debug has no effect"), "{debug:?}");
    let host = here.fails(["-H", "unix:///run/docker.sock", "ps"]);
    assert!(
        host.code == 1 && host.stderr.contains("--host is not supported: there is no daemon"),
        "{host:?}"
    );
}

#[test]
fn mistakes_end_with_code_2_before_any_work() {
    for (words, message) in [
        (
            &["build"][..],
            "ERROR: 'rbuild build' requires 1 argument\n\nUsage:  rbuild build [OPTIONS] PATH | -\n",
        ),
        (&["tag", "a"], "ERROR: 'rbuild tag' requires 2 arguments\n"),
        (
            &["rm", "-f"],
            "ERROR: 'rbuild rm' requires at least 1 argument\n\nUsage:  rbuild rm [OPTIONS] <CONTAINER>...\n",
        ),
        (&["images", "--nosuch"], "error: unexpected argument '--nosuch' found\n"),
        (&["tag", "--nosuch", "x"], "error: unexpected argument '--nosuch' found\n\nUsage: rbuild tag"),
        (
            &["--config", "d", "-t", "a", "."],
            "error: unexpected argument '--config' found\n\nUsage: rbuild build",
        ),
        (&["images", "--format", "{{"], "Error: template parsing error: template: :1: unclosed action\n"),
    ] {
        let shown = rbuild(words);
        assert_eq!((shown.status.code(), text(&shown.stdout)), (Some(2), ""), "{words:?}");
        assert!(text(&shown.stderr).starts_with(message), "{words:?}: {}", text(&shown.stderr));
    }
}

#[test]
fn a_name_that_is_none_is_a_failed_build() {
    let shown = rbuild(&["-t", "a:", "."]);
    assert_eq!(shown.status.code(), Some(1));
    assert_eq!(text(&shown.stderr), "ERROR: failed to build: invalid tag \"a:\": invalid reference format\n");
}

#[test]
fn run_fails_with_125_when_rbuild_is_at_fault() {
    let shown = rbuild(&["run", "--log-driver", "syslog", "busybox"]);
    assert_eq!(shown.status.code(), Some(125));
    assert_eq!(text(&shown.stderr), "Error: --log-driver syslog is not supported yet\n");
}

#[test]
fn a_mistyped_command_is_not_taken_for_a_directory() {
    let here = Workspace::new(RBUILD);
    let more = "\n\nRun 'rbuild --help' for more information\n";
    for (words, message) in [
        (
            &["biuld", "."][..],
            "rbuild: 'biuld' is not a command and nothing here has that name; did you mean 'rbuild build'?",
        ),
        (&["swarm", "x"], "rbuild: the docker command 'swarm' is not supported"),
        (&["xyzzy"], "rbuild: 'xyzzy' is not a command and nothing here has that name"),
        (
            &["--root", "/nonexistent", "service", "x"],
            "rbuild: the docker command 'service' is not supported",
        ),
    ] {
        let ran = here.run(words);
        assert_eq!((ran.code, ran.stderr), (1, format!("{message}{more}")), "{words:?}");
    }
    let ran = here.run(["image", "lss"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("did you mean 'rbuild image ls'?"), "{ran:#?}");
}

#[test]
fn what_can_be_a_context_is_one() {
    let here = Workspace::new(RBUILD);
    here.context("swarm", "FROM scratch\nRNU x\n", &[]);
    for (word, message) in [
        ("swarm", "unknown instruction: RNU"),
        ("./nowhere", "unable to prepare context: path \"./nowhere\" not found"),
        ("no/where", "unable to prepare context: path \"no/where\" not found"),
        ("http://127.0.0.1:1/a.git", "http://127.0.0.1:1/a.git: git ls-remote failed"),
    ] {
        let ran = here.fails([word]);
        assert!(ran.stderr.contains(message), "{word}: {ran:#?}");
    }
}

/// As with docker: scripts leave variables empty, and clean up what may not be there.
#[test]
fn empty_values_and_force_are_taken_as_docker_takes_them() {
    let Some(here) = crate::with_busybox("empty_values_and_force_are_taken_as_docker_takes_them") else {
        return;
    };
    let context = here.context("c", "FROM busybox\n", &[]).display().to_string();
    for flag in [
        "--iidfile",
        "--metadata-file",
        "-f",
        "--target",
        "--add-host",
        "--build-context",
        "--secret",
        "--call",
    ] {
        here.ok(["build", "-q", flag, "", &context]);
    }
    for flag in ["--name", "--workdir", "--platform", "--pull", "--hostname", "--user"] {
        here.ok(["run", "--rm", &format!("{flag}="), "busybox", "true"]);
    }
    here.ok(["run", "--name", "box", "busybox", "true"]);
    here.ok(["commit", "box", ""]);
    assert!(here.ok(["images", ""]).contains("busybox"));
    assert!(!here.ok(["save", "-o", "", "busybox"]).is_empty());
    let code = |words: &[&str]| here.run(words).code;
    for (words, expected) in [
        (&["rmi", "-f", "nope"][..], 0),
        (&["rmi", "nope"], 1),
        (&["rm", "-f", "nope"], 0),
        (&["rm", "nope", "box"], 1),
        (&["rm", "-f", ""], 1),
        (&["rename", "box", "!"], 1),
        (&["rename", "box"], 2),
        (&["kill", "-s", "FOO", "box"], 1),
        (&["ps", "-f", "x=y"], 1),
        (&["ps", "-f", "x"], 2),
        (&["create", "--mistyped", "busybox"], 125),
        (&["create", "-p", "x", "busybox"], 125),
        (&["create", "-w", "x", "busybox"], 1),
        (&["update", "box"], 1),
        (&["build", ""], 1),
        (&["build", "--build-arg", "=x", &context], 2),
        (&["run", "--network=", "busybox", "true"], 125),
        (&["run", "-e", "=x", "busybox", "true"], 125),
        (&["run", "--mistyped", "busybox"], 125),
        (&["container"], 0),
    ] {
        assert_eq!(code(words), expected, "{words:?}");
    }
    let told = here.run(["rmi", "-f", "nope"]).stderr;
    assert!(told.contains("No such image: nope"), "{told}");
    here.ok(["run", "--name", "box", "busybox", "true"]);
    for (change, message) in [
        ("FOO x", "FOO is not a valid change command"),
        ("", "file with no instructions"),
        ("ENV", "Error: ENV requires at least one argument"),
    ] {
        let refused = here.fails(["commit", "-c", change, "box"]).stderr;
        assert!(refused.contains(message), "{change:?}: {refused}");
    }
}
