//! The commands for images as scripts use them: filters, patterns, templates, sizes.

use crate::with_busybox;
use rbuild_testkit::{HttpReply, HttpServer, Tar};
use std::process::Command;

fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

#[test]
fn images_are_chosen_by_filters_as_docker_chooses_them() {
    let Some(here) = with_busybox("images_are_chosen_by_filters") else { return };
    here.build("me/app:1", &here.context("c", "FROM busybox\nLABEL a=1 stage=one\nRUN true\n", &[]));
    here.ok(["tag", "me/app:1", "me/app:2"]);
    here.ok(["tag", "me/app:1", "other:1"]);
    let listed = |filters: &[&str]| {
        let filters = filters.iter().flat_map(|filter| ["--filter", filter]);
        let words = ["images", "--format", "{{.Repository}}:{{.Tag}}"].into_iter().chain(filters);
        let mut names: Vec<String> = here.ok(words).lines().map(str::to_owned).collect();
        names.sort();
        names
    };
    assert_eq!(listed(&["label=a"]), ["me/app:1", "me/app:2", "other:1"]);
    assert_eq!(listed(&["label=a", "label=none"]), [""; 0]);
    assert_eq!(listed(&["reference=me/app:1"]), ["me/app:1"], "other names of the image are not asked for");
    assert_eq!(listed(&["reference=me/app:1", "reference=busybox"]), ["busybox:latest", "me/app:1"]);
    assert_eq!(listed(&["since=busybox"]), ["me/app:1", "me/app:2", "other:1"]);
    assert_eq!(listed(&["before=other:1"]), ["busybox:latest"]);
    assert_eq!(listed(&["until=1h"]), [""; 0]);
    assert_eq!(listed(&["until=2999-01-01"]).len(), 4);
    let wrong = here.fails(["images", "--filter", "until=xyz"]);
    assert!(wrong.stderr.contains("failed to parse value as time or duration: \"xyz\""), "{wrong:#?}");
}

#[test]
fn a_container_is_shown_with_the_name_that_its_image_has_now() {
    let Some(here) = with_busybox("a_container_is_shown_with_the_name_that_its_image_has_now") else {
        return;
    };
    let built = |label: &str| {
        here.build("app", &here.context(label, &format!("FROM busybox\nLABEL {label}=1\n"), &[]));
        here.ok(["images", "-q", "app"]).trim_end().to_owned()
    };
    let old = built("old");
    here.ok(["create", "--name", "first", "app", "true"]);
    let whole = here.ok(["inspect", "-f", "{{.Id}}", "app"]);
    here.ok(["create", "--name", "by-id", whole.trim_end(), "true"]);
    let shown = || {
        let shown = here.ok(["ps", "-a", "--format", "{{.Names}} {{.Image}}"]);
        let mut shown: Vec<String> = shown.lines().map(str::to_owned).collect();
        shown.sort();
        shown
    };
    assert_eq!(shown(), [format!("by-id {old}"), "first app".to_owned()]);
    built("new");
    here.ok(["create", "--name", "second", "app", "true"]);
    assert_eq!(shown(), [format!("by-id {old}"), format!("first {old}"), "second app".to_owned()]);
    let made_from = |image: &str| {
        let filter = format!("ancestor={image}");
        let found = here.ok(["ps", "-a", "--format", "{{.Names}}", "--filter", &filter]);
        found.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(made_from("app:latest"), ["second"]);
    assert_eq!(made_from(&old), ["by-id", "first"]);
    assert_eq!(made_from("nonesuch"), [""; 0]);
    here.ok(["tag", "busybox", "app"]);
    assert!(!shown().contains(&"second app".to_owned()));
    assert!(here.ok(["df", "-v"]).contains(&format!("{old}   \"true\"")));
}

#[test]
fn an_archive_without_bytes_replaces_no_image() {
    let Some(here) = with_busybox("an_archive_without_bytes_replaces_no_image") else { return };
    let before = here.ok(["images", "-q", "busybox"]);
    let mut import = here.command(["import", "-", "busybox"]);
    let refused = import.stdin(std::process::Stdio::null()).output().unwrap();
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("the archive is empty"), "{refused:?}");
    assert_eq!(here.ok(["images", "-q", "busybox"]), before);
}

#[test]
fn prune_takes_what_its_filters_let_through() {
    let Some(here) = with_busybox("prune_takes_what_its_filters_let_through") else { return };
    for name in ["keep", "go"] {
        let dockerfile = format!("FROM busybox\nLABEL {name}=1\nRUN echo {name}\n");
        here.build(name, &here.context(name, &dockerfile, &[]));
    }
    let prune = |filters: &[&str]| {
        here.ok(["image", "prune", "-a", "-f"].iter().chain(filters));
        let mut left: Vec<String> =
            here.ok(["images", "--format", "{{.Repository}}"]).lines().map(str::to_owned).collect();
        left.sort();
        left
    };
    assert_eq!(prune(&["--filter", "until=1h"]), ["busybox", "go", "keep"]);
    assert_eq!(prune(&["--filter", "label=go"]), ["busybox", "keep"]);
    assert_eq!(prune(&["--filter", "label!=keep"]), ["keep"]);
    let refused = here.fails(["image", "prune", "-f", "--filter", "dangling=false"]);
    assert!(refused.stderr.contains("invalid filter 'dangling=[false true]'"), "{refused:#?}");
    assert_eq!(here.fails(["image", "prune", "-f", "--filter", "x=1"]).code, 1);

    let declined = here.run(["image", "prune", "--filter", "label=a"]);
    assert!(declined.stderr.contains("will be filtered with:\n  - label=a\n"), "{declined:#?}");

    for (name, label) in [("one", "a=1"), ("two", "b=1")] {
        let context = here.context(name, &format!("FROM keep\nLABEL {label}\n"), &[]);
        here.build(name, &context);
        here.ok(["run", "--name", name, name, "true"]);
    }
    here.ok(["container", "prune", "-f", "--filter", "label=a"]);
    assert_eq!(here.ok(["ps", "-a", "--format", "{{.Names}}"]), "two\n");
}

#[test]
fn a_cache_is_pruned_to_a_size_and_an_age() {
    let Some(here) = with_busybox("a_cache_is_pruned_to_a_size_and_an_age") else { return };
    let context = here.context("c", "FROM busybox\nRUN head -c 3000000 /dev/zero > /big\n", &[]);
    let runs = || {
        let ran = here.run(["build", "--progress=plain", context.to_str().unwrap()]);
        assert_eq!(ran.code, 0, "{ran:#?}");
        !ran.stderr.contains("CACHED")
    };
    assert!(runs());
    here.ok(["image", "prune", "-a", "-f"]);
    here.ok(["builder", "prune", "-a", "-f", "--filter", "until=1h"]);
    here.ok(["builder", "prune", "-a", "-f", "--keep-storage", "100m"]);
    here.import(rbuild_testkit::Base::Busybox);
    let before = here.ok(["df", "--format", "{{.Type}} {{.TotalCount}}"]);
    assert!(before.contains("Build Cache 1"), "{before}");
    here.ok(["builder", "prune", "-a", "-f", "--keep-storage", "1m"]);
    let after = here.ok(["df", "--format", "{{.Type}} {{.TotalCount}}"]);
    assert!(after.contains("Build Cache 0"), "{after}");
}

#[test]
fn a_pattern_removes_every_name_it_fits() {
    let Some(here) = with_busybox("a_pattern_removes_every_name_it_fits") else { return };
    for name in ["me/app:1", "me/app:2", "me/other:1", "app:1"] {
        here.ok(["tag", "busybox", name]);
    }
    let removed = here.ok(["rmi", "me/*:1"]);
    assert_eq!(lines(&removed), ["Untagged: me/app:1", "Untagged: me/other:1"]);
    let missing = here.fails(["rmi", "nothing*"]);
    assert!(missing.stderr.contains("No such image: nothing*"), "{missing:#?}");
    let id = here.ok(["images", "-q", "--no-trunc", "busybox"]);
    let short = id.trim().trim_start_matches("sha256:")[..12].to_owned();
    assert_eq!(here.fails(["rmi", &short]).code, 1, "an id with several names needs --force");
    let removed = here.ok(["rmi", "-f", &short]);
    assert!(removed.ends_with(&format!("Deleted: {id}")), "{removed}");
    assert_eq!(here.ok(["images", "-q"]), "");
}

#[test]
fn inspect_is_docker_s_json_and_docker_s_templates() {
    let Some(here) = with_busybox("inspect_is_docker_s_json") else { return };
    let dockerfile = "FROM busybox\nLABEL a=\"<b>&\"\nENV A=1\nCMD [\"sh\", \"-c\", \"a && b\"]\n";
    here.build("x", &here.context("c", dockerfile, &[]));
    let shown = |template: &str| here.ok(["inspect", "-f", template, "x"]);
    assert_eq!(shown("{{json .Config.Labels}}"), "{\"a\":\"<b>&\"}\n");
    assert_eq!(shown("{{join .Config.Cmd \"|\"}}"), "sh|-c|a && b\n");
    assert_eq!(
        shown("{{.Config.Entrypoint}} {{.Config.Volumes}} {{.Config.Labels.none}}"),
        "[] map[] <no value>\n"
    );
    assert_eq!(shown("{{range $k, $v := .Config.Labels}}{{$k}}={{$v | html}}{{end}}"), "a=&lt;b&gt;&amp;\n");
    assert_eq!(
        shown("{{index (split (index .RepoTags 0) \":\") 1 | upper | printf \"%-8s|\"}}"),
        "LATEST  |\n"
    );
    let compact = here.ok(["inspect", "--format", "json", "x", "busybox"]);
    let found: serde_json::Value = serde_json::from_str(&compact).unwrap();
    assert_eq!((compact.lines().count(), found.as_array().unwrap().len()), (1, 2));
    assert!(
        compact.contains("\\u003cb\\u003e\\u0026") && here.ok(["inspect", "x"]).contains("\\u003cb\\u003e")
    );

    here.ok(["run", "--name", "box", "busybox", "sh", "-c", "echo 12345 > /f; ln /f /g"]);
    assert_eq!(here.ok(["inspect", "-s", "-f", "{{.SizeRw}}", "box"]), "6\n");
    assert_eq!(here.ok(["inspect", "-f", "{{.SizeRw}}", "box"]), "<nil>\n");
    let image = here.ok(["inspect", "-f", "{{.Size}}", "busybox"]);
    let all = here.ok(["container", "inspect", "--size", "-f", "{{.SizeRootFs}}", "box"]);
    assert_eq!(all.trim().parse::<u64>().unwrap(), image.trim().parse::<u64>().unwrap() + 6);
    assert!(here.run(["inspect", "-s", "--type", "image", "x"]).stderr.contains("--size ignored for image"));
    assert_eq!(here.fails(["image", "inspect", "--size", "x"]).code, 2);
}

#[test]
fn a_root_filesystem_is_imported_from_the_web_as_docker_does_it() {
    let Some(here) = with_busybox("a root filesystem is imported from the web") else { return };
    let tree = here.write("root/file", "from afar\n");
    let tar = |filter: &str| {
        let script = format!("tar -C {} -c . | {filter}", tree.parent().unwrap().display());
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        assert!(output.status.success());
        output.stdout
    };
    let (whole, packed) = (tar("cat"), tar("gzip"));
    let short = whole[..700].to_vec();
    let server = HttpServer::start(move |request| match request.target.as_str() {
        "/root.tar" if request.header("if-none-match").is_some() => HttpReply::new(304, ""),
        "/root.tar" => HttpReply::new(200, whole.clone()).header("ETag", "\"1\""),
        "/moved" => HttpReply::new(302, "").header("Location", "/root.tgz"),
        "/root.tgz" => HttpReply::new(200, packed.clone()),
        "/short.tar" => HttpReply::new(200, short.clone()),
        "/page" => HttpReply::new(200, "<html>"),
        _ => HttpReply::new(404, "not here"),
    });
    let url = |path: &str| format!("http://{}/{path}", server.host());
    let id = here.ok(["import", "-c", "ENV A=b", &url("root.tar"), "far:1"]);
    let shown = "{{.Id}} {{index .Config.Env 0}} {{(index .RootFS.Layers 0) | len}}";
    assert_eq!(here.ok(["inspect", "--format", shown, "far:1"]), format!("{} A=b 71\n", id.trim()));
    let remark = |image: &str| here.ok(["history", "--no-trunc", "--format", "{{.Comment}}", image]);
    assert_eq!(remark("far:1"), format!("Imported from {}\n", url("root.tar")));
    // what is here is not sent again
    here.ok(["import", "-m", "mine", &url("root.tar"), "far:2"]);
    assert_eq!(remark("far:2"), "mine\n");
    assert_eq!(server.requests().iter().filter(|request| request.target == "/root.tar").count(), 2);
    here.ok(["import", &url("moved"), "far:3"]);
    assert!(here.ok(["diff", "far:2", "far:3"]).starts_with("0 added, 0 changed, 0 removed"));

    let before = server.requests().len();
    let wrong = here.fails(["import", "-c", "RUN true", &url("root.tar"), "bad"]);
    assert_eq!(server.requests().len(), before, "a bad change is found out first: {}", wrong.stderr);
    for (path, said) in [("none", "404"), ("short.tar", "tar"), ("page", "tar")] {
        let failed = here.fails(["import", &url(path), "bad"]);
        assert!(failed.stderr.contains(said), "{path}: {}", failed.stderr);
    }
    assert_eq!(here.run(["inspect", "bad"]).code, 1, "nothing is named");
}

#[test]
fn a_push_of_an_image_that_has_another_name_says_how_to_name_it() {
    let Some(here) = with_busybox("a_push_of_an_image_that_has_another_name_says_how_to_name_it") else {
        return;
    };
    let id = here.ok(["images", "-q", "busybox"]);
    let id = id.trim_end();
    here.ok(["tag", "busybox", "registry.example/app:1"]);
    for (typed, said) in [
        ("registry.example/busybox", "'rbuild tag busybox:latest registry.example/busybox'"),
        ("registry.example/app:2", "'rbuild tag registry.example/app:1 registry.example/app:2'"),
        (id, &format!("'rbuild tag {id} REGISTRY/NAME'")),
    ] {
        let ran = here.fails(["push", typed]);
        assert!(
            ran.code == 1 && ran.stderr.contains("No such image: ") && ran.stderr.contains(said),
            "{ran:#?}"
        );
    }
    let ran = here.fails(["push", "registry.example/other"]);
    assert!(ran.stderr.ends_with("No such image: registry.example/other:latest\n"), "{ran:#?}");
}

#[test]
fn a_hard_link_to_itself_is_no_file() {
    let Some(here) = with_busybox("a_hard_link_to_itself_is_no_file") else { return };
    let knot = here.write("knot.tar", Tar::new().file("a", "x").hard_link("knot", "knot").finish());
    let ran = here.fails(["import", knot.to_str().unwrap(), "tied"]);
    assert!(ran.stderr.contains("is a hard link to a file the layer does not have before it"), "{ran:#?}");
    let again = here.write("again.tar", Tar::new().file("a", "x").hard_link("a", "a").finish());
    here.ok(["import", again.to_str().unwrap(), "tied"]);
    assert_eq!(here.fails(["run", "--rm", "tied", "true"]).code, 127);
}
