//! What is in images and containers: `diff`, `image tree`, `export`.

use crate::with_busybox;
use std::{collections::BTreeMap, process::Command};

#[test]
fn two_images_differ_in_files_and_config_and_each_says_why() {
    let Some(here) = with_busybox("two_images_differ_in_files_and_config") else { return };
    let old = "FROM busybox\nENV A=1 B=1\nRUN echo one > /changed && echo 1 > /same && mkdir /d && echo x > /d/gone && echo s > /mode && ln -s a /link\n";
    here.build("old", &here.context("old", old, &[]));
    let new = "FROM old\nENV A=2 C=3\nLABEL l=x\nRUN echo three > /changed && chmod 600 /mode && ln -sfn b /link\nRUN rm -r /d\nCOPY f /f\n";
    here.build("new", &here.context("new", new, &[("f", "content")]));
    let long = "l".repeat(200);
    here.build("far", &here.context("far", &format!("FROM new\nCOPY f /{long}\n"), &[("f", "content")]));
    let text = here.ok(["diff", "old", "far"]);
    assert!(text.contains(&format!("A /{long}  7B")), "{text}");
    let narrow = text.lines().filter(|line| !line.contains(&long));
    assert!(narrow.clone().count() > 8 && narrow.clone().all(|line| line.len() < 130), "{text}");
    let text = here.ok(["diff", "old", "new"]);
    let line = |path: &str| {
        let found = text.lines().find(|line| line.split_whitespace().nth(1) == Some(path));
        found.unwrap_or_else(|| panic!("{path} in {text}")).split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert!(line("/changed").starts_with("C /changed content 4B -> 6B"), "{text}");
    assert!(line("/changed").contains("RUN /bin/sh -c echo three"), "{text}");
    assert!(line("/mode").starts_with("C /mode mode 0644 -> 0600"), "{text}");
    assert!(line("/link").contains("link a -> b"), "{text}");
    assert!(line("/d/gone").starts_with("D /d/gone RUN /bin/sh -c rm -r /d"), "{text}");
    assert!(line("/f").starts_with("A /f 7B COPY f /f"), "{text}");
    assert!(!text.contains("/same"), "{text}");
    for expected in ["config Env.A: 1 -> 2", "config Env.C: (unset) -> 3", "config Labels.l: (unset) -> x"] {
        assert!(text.contains(expected), "{text}");
    }
    assert!(!text.contains("Env.B"), "{text}");
    assert!(text.ends_with("1 added, 3 changed, 2 removed, 3 in the config\n"), "{text}");
    let json: serde_json::Value =
        serde_json::from_str(&here.ok(["diff", "--format", "json", "old", "new"])).unwrap();
    let file = json["files"].as_array().unwrap().iter().find(|file| file["path"] == "/mode").unwrap();
    assert_eq!(file["why"][0], "mode 0644 -> 0600");
    assert_eq!(here.ok(["image", "diff", "new", "new"]), "0 added, 0 changed, 0 removed, 0 in the config\n");
    assert!(here.fails(["diff", "old", "none"]).stderr.contains("No such image: none"));
}

#[test]
fn a_tree_says_what_each_layer_does() {
    let Some(here) = with_busybox("a_tree_says_what_each_layer_does") else { return };
    let dockerfile =
        "FROM busybox\nRUN head -c 5000 /dev/zero > /big && echo > /small\nRUN rm /small && echo 1 > /big\n";
    here.build("x", &here.context("c", dockerfile, &[]));
    let tree = here.ok(["image", "tree", "x"]);
    let lines: Vec<&str> = tree.lines().collect();
    assert!(lines[0].starts_with("x sha256:") && lines[1].starts_with("├─"), "{tree}");
    let made = lines.iter().find(|line| line.contains("head -c 5000")).unwrap();
    assert!(made.contains(" added") && made.contains("5kB"), "{tree}");
    assert!(tree.contains("    5kB  /big\n"), "{tree}");
    let last = lines.iter().find(|line| line.starts_with("└─")).unwrap();
    assert!(last.contains(" changed, 1 removed  RUN /bin/sh -c rm /small"), "{tree}");
}

#[test]
fn a_container_s_changes_are_docker_s_list() {
    let Some(here) = with_busybox("a_container_s_changes_are_docker_s_list") else { return };
    let script = "echo a > /a; rm /bin/vi; mkdir -p /d/e; touch /d/e/f; chmod 700 /root; echo x >> /etc/passwd; ln -s a /l";
    here.build(
        "base",
        &here.context("c", "FROM busybox\nRUN mkdir -p /root /etc && echo r > /etc/passwd\n", &[]),
    );
    here.ok(["run", "--name", "box", "base", "sh", "-c", script]);
    let expected = "A /a\nC /bin\nD /bin/vi\nA /d\nA /d/e\nA /d/e/f\nC /etc\nC /etc/passwd\nA /l\nC /root\n";
    assert_eq!(here.ok(["diff", "box"]), expected);
    assert_eq!(here.ok(["container", "diff", "box"]), expected);
    let missing = here.fails(["diff", "none"]);
    assert!(missing.code == 1 && missing.stderr.contains("No such container: none"), "{missing:#?}");
    assert_eq!(here.fails(["diff"]).code, 2);
    assert_eq!(here.fails(["diff", "a", "b", "c"]).code, 2);
}

#[test]
fn an_exported_container_is_its_files_in_a_tar() {
    let Some(here) = with_busybox("an_exported_container_is_its_files_in_a_tar") else { return };
    let dockerfile = "FROM busybox\nRUN echo one > /kept && echo one > /gone && mkdir /d && echo x > /d/x && ln /kept /hard\n";
    here.build("base", &here.context("c", dockerfile, &[]));
    let script = "rm /gone; echo two > /new; rm -r /d; mkdir /d; chmod 4755 /kept";
    here.ok(["run", "--name", "box", "base", "sh", "-c", script]);
    here.ok(["export", "-o", "box.tar", "box"]);
    let listed = Command::new("tar").arg("-tvf").arg(here.path().join("box.tar")).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let files: BTreeMap<&str, &str> =
        listed.lines().filter_map(|line| Some((line.split_whitespace().nth(5)?, &line[..10]))).collect();
    assert_eq!(files.get("kept"), Some(&"-rwsr-xr-x"), "{listed}");
    assert_eq!((files.get("gone"), files.get("d/x")), (None, None));
    assert!(files.contains_key("new") && files.contains_key("bin/busybox") && files.contains_key("d/"));

    // what is exported can be imported
    let streamed = here.command(["export", "box"]).output().unwrap().stdout;
    assert!(streamed == std::fs::read(here.path().join("box.tar")).unwrap(), "the same through a pipe");
    here.ok(["import", "-c", "CMD [\"cat\", \"/new\"]", "box.tar", "again"]);
    assert_eq!(here.ok(["run", "--rm", "again"]), "two\n");
    assert!(here.fails(["export", "none"]).stderr.contains("No such container: none"));
    assert!(!here.path().join("none.tar").exists());
    let failed = here.fails(["export", "-o", "none.tar", "none"]);
    assert!(failed.code == 1 && !here.path().join("none.tar").exists(), "{failed:#?}");
}
