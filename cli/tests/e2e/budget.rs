//! A store within a budget, and the commands that show and reduce what it holds.

use crate::{as_root_and_user, with_busybox};
use rbuild_testkit::Workspace;
use std::{fs, os::unix::fs::MetadataExt, path::Path};

/// Bytes on the disk of what counts: layers, blobs and cache mounts.
fn used(here: &Workspace) -> u64 {
    ["layers", "blobs", "mounts"].iter().map(|part| tree(&here.store().join(part))).sum()
}

fn tree(path: &Path) -> u64 {
    let Ok(found) = fs::symlink_metadata(path) else { return 0 };
    let below = fs::read_dir(path).into_iter().flatten().flatten();
    let below = if found.is_dir() { below.map(|entry| tree(&entry.path())).sum() } else { 0 };
    found.blocks() * 512 + below
}

#[test]
fn many_builds_stay_within_a_budget_by_one_step_at_most() {
    as_root_and_user("many_builds_stay_within_a_budget_by_one_step_at_most", |here| {
        let step = 64 << 10;
        let budget = used(here) + (700 << 10);
        let limit = format!("--max-used-space={budget}");
        let mut cached = 0;
        for round in 0..40 {
            let context = here.context(
                "c",
                &format!("FROM busybox\nCOPY f /f\nRUN echo {round} > /round\nCOPY g /g\n"),
                &[("f", &"f".repeat(step)), ("g", &round.to_string().repeat(step / 2))],
            );
            let ran = here.run(["build", "--progress=plain", "-t", "x", &limit, context.to_str().unwrap()]);
            assert_eq!(ran.code, 0, "{}", ran.stderr);
            assert!(!ran.stderr.contains("over its budget"), "{}", ran.stderr);
            cached += ran.stderr.matches("CACHED").count();
            let used = used(here);
            // a step's layer, with its directories
            assert!(used <= budget + step as u64 + (24 << 10), "round {round}: {used} of {budget}");
        }
        assert!(cached >= 39, "what every build uses stays: {cached}");
        assert!(here.ok(["images", "-q"]).lines().count() < 40, "images that lost their name made room");
        here.ok(["run", "--rm", "x", "cat", "/round"]);
        let first = "FROM busybox\nCOPY f /f\nRUN echo 0 > /round\nCOPY g /g\n";
        let files = [("f", "f".repeat(step)), ("g", "0".repeat(step / 2))];
        let context = here.context("c", first, &files.each_ref().map(|(name, text)| (*name, text.as_str())));
        here.ok(["build", "-q", context.to_str().unwrap()]);
        let seen = here.ok(["builds", "inspect", "--format", "json", "^0"]);
        assert!(seen.contains("evicted"), "{seen}");
    });
}

#[test]
fn a_build_that_finds_everything_counts_as_a_use() {
    let Some(here) = with_busybox("a_build_that_finds_everything_counts_as_a_use") else { return };
    let context = here.context("c", "FROM busybox\nRUN echo a > /a\n", &[]);
    let build = || here.ok(["build", "-q", context.to_str().unwrap()]);
    let used = || here.ok(["buildx", "du", "--format", "{{.LastUsedAt}}"]);
    build();
    let first = used();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(used(), first, "looking is no use");
    build();
    assert_ne!(used(), first);
}

#[test]
fn a_file_sets_the_budget_and_its_mistakes_are_named() {
    let Some(here) = with_busybox("a_file_sets_the_budget_and_its_mistakes_are_named") else { return };
    let config = |text: &str| here.write("config/rbuild/config.toml", text);
    let context = here.context("c", "FROM busybox\nRUN head -c 3000000 /dev/zero > /big\n", &[]);
    let build = || {
        let directory = here.path().join("config");
        let arguments = ["build", "--progress=plain", context.to_str().unwrap()];
        rbuild_testkit::Ran::of(here.command(arguments).env("XDG_CONFIG_HOME", directory).output().unwrap())
    };
    config("[gc]\nmaxUsedSpace = \"100kB\"\n");
    let ran = build();
    assert!(ran.code == 0 && ran.stderr.contains("MB over its budget"), "{ran:#?}");
    assert!(ran.stderr.contains("rbuild image prune"), "{ran:#?}");
    config("[gc]\nmaxUsedSpace = \"90kB\"\n");
    fs::write(context.join("Dockerfile"), "FROM busybox\nRUN head -c 3100000 /dev/zero > /big\n").unwrap();
    let directory = here.path().join("config");
    let mut quiet = here.command(["build", "-q", context.to_str().unwrap()]);
    let ran = rbuild_testkit::Ran::of(quiet.env("XDG_CONFIG_HOME", directory).output().unwrap());
    assert!(ran.stderr.contains("MB over its budget") && ran.stdout.lines().count() == 1, "{ran:#?}");
    config("[gc]\nmaxSpace = \"100kB\"\n");
    let ran = build();
    assert!(
        ran.code != 0 && ran.stderr.contains("config.toml: line 2: unknown field `maxSpace`"),
        "{ran:#?}"
    );
    let ran = here.fails(["build", "--min-free-space=much", "."]);
    assert!(ran.stderr.contains("--min-free-space"), "{ran:#?}");
}

#[test]
fn a_prune_says_first_what_would_go_and_takes_what_is_chosen() {
    let Some(here) = with_busybox("a_prune_says_first_what_would_go_and_takes_what_is_chosen") else {
        return;
    };
    let context = here.context(
        "c",
        "FROM busybox\nRUN --mount=type=cache,id=warm,target=/m head -c 500000 /dev/zero > /m/f; echo a > /a\n\
         RUN head -c 2000000 /dev/zero > /big\n",
        &[],
    );
    here.ok(["build", "-q", "-t", "x", context.to_str().unwrap()]);
    let ids = |filters: &[&str]| -> Vec<String> {
        let listed = here.ok(["buildx", "du", "--format", "{{.ID}}"].iter().chain(filters));
        listed.lines().map(str::to_owned).collect()
    };
    assert_eq!(ids(&[]).len(), 3);
    assert_eq!(ids(&["--filter", "type=exec.cachemount"]).len(), 1);
    assert_eq!(ids(&["--filter", "shared"]).len(), 2);
    assert_eq!(ids(&["--filter", "unused-for=1h"]).len(), 0);
    let told = here.ok(["buildx", "du", "--verbose", "--filter", "description~=big"]);
    assert!(told.contains("RUN head -c 2000000 /dev/zero > /big") && told.contains("Total:"), "{told}");

    let dry = here.ok(["builder", "prune", "-a", "--dry-run"]);
    assert!(dry.starts_with("Nothing is removed") && dry.contains("would be reclaimed"), "{dry}");
    assert!(dry.lines().count() >= 4, "{dry}");
    assert!(here.ok(["system", "prune", "-a", "--dry-run"]).contains("deleted: sha256:"));
    assert_eq!((ids(&[]).len(), here.ok(["images", "-q"]).lines().count()), (3, 2));

    let pruned = here.ok(["buildx", "prune", "-f", "--filter", "type=exec.cachemount"]);
    assert!(pruned.contains("RECLAIMABLE"), "{pruned}");
    assert_eq!(ids(&[]).len(), 2);
    here.ok(["rmi", "x"]);
    here.ok(["builder", "prune", "-f", "--max-used-space", "1m"]);
    let left = here.ok(["buildx", "du", "--format", "{{.Description}}"]);
    assert!(left.contains("/m/f") && !left.contains("/big"), "{left}");
}

#[test]
fn df_lists_everything_by_kind() {
    let Some(here) = with_busybox("df_lists_everything_by_kind") else { return };
    let context = here.context("c", "FROM busybox\nRUN head -c 2000000 /dev/zero > /big\n", &[]);
    here.ok(["build", "-q", "-t", "x", context.to_str().unwrap()]);
    here.ok(["run", "--name", "one", "x", "sh", "-c", "head -c 300000 /dev/zero > /f"]);
    let told = here.ok(["df", "-v"]);
    for part in
        ["Images space usage:", "SHARED SIZE", "Containers space usage:", "Build cache usage:", "CACHE TYPE"]
    {
        assert!(told.contains(part), "{told}");
    }
    let line = |start: &str| told.lines().find(|line| line.starts_with(start)).unwrap().to_owned();
    assert!(line("x ").ends_with('1'), "one container: {told}");
    assert!(told.lines().any(|line| line.ends_with("one") && line.contains("30")), "{told}");
    let shared = here.ok([
        "system",
        "df",
        "-v",
        "--format",
        "{{range .Images}}{{.Repository}} {{.UniqueSize}};{{end}}",
    ]);
    assert!(shared.contains("x 2.0"), "{shared}");
    let json = here.ok(["df", "-v", "--format", "json"]);
    assert!(json.contains("\"BuildCache\":[{") && json.contains("\"Volumes\":[]"), "{json}");
}

#[test]
fn layers_that_nothing_uses_any_more_are_counted_and_listed() {
    let Some(here) = with_busybox("layers_that_nothing_uses_any_more_are_counted_and_listed") else { return };
    let text = "FROM busybox AS a\nRUN head -c 3000000 /dev/urandom > /big\nFROM busybox\nCOPY --from=a /bin/sh /sh\n";
    let context = here.context("c", text, &[]);
    for _ in 0..3 {
        here.ok(["build", "-q", "--no-cache", "-t", "x", context.to_str().unwrap()]);
    }
    let sizes = here.ok(["df", "--format", "{{.Type}} {{.Size}} {{.Reclaimable}}"]);
    let cache = sizes.lines().find(|line| line.starts_with("Build Cache")).unwrap();
    let words: Vec<&str> = cache.split(' ').collect();
    assert!(words[2].starts_with("9.") && words[2].ends_with("MB"), "{cache}");
    let told = here.ok(["buildx", "du", "--verbose"]);
    assert_eq!(told.matches("layer that nothing uses any more").count(), 2, "{told}");
}

#[test]
fn what_names_left_is_told_alike_by_df_and_each_prune_and_goes_under_a_budget() {
    let test = "what_names_left_is_told_alike_by_df_and_each_prune_and_goes_under_a_budget";
    let Some(here) = with_busybox(test) else { return };
    let build = |number: usize, more: &[&str]| {
        let dockerfile = format!("FROM busybox\nRUN head -c 2000000 /dev/urandom > /f{number}\n");
        let context = here.context("c", &dockerfile, &[]);
        here.ok(["build", "-q", "-t", "x"].iter().chain(more).copied().chain([context.to_str().unwrap()]));
    };
    let unnamed = || here.ok(["images", "-q", "-f", "dangling=true"]).lines().count();
    let reclaimable = |kind: &str| {
        let sizes = here.ok(["df", "--format", "{{.Type}} {{.Reclaimable}}"]);
        let line = sizes.lines().find_map(|line| line.strip_prefix(kind)).unwrap();
        line.split_whitespace().next().unwrap().to_owned()
    };
    let total = |told: &str| told.trim().rsplit_once(": ").unwrap().1.to_owned();
    (0..3).for_each(|number| build(number, &[]));
    assert_eq!((unnamed(), reclaimable("Build Cache").as_str()), (2, "0B"));
    for prune in [vec!["image", "prune"], vec!["system", "prune"], vec!["system", "prune", "-a"]] {
        let dry = here.ok(prune.iter().chain(&["--dry-run"]));
        assert_eq!(total(&here.ok(prune.iter().chain(&["-f"]))), total(&dry), "{prune:?}");
        match prune.as_slice() {
            // their layers are still results of steps
            ["image", ..] => assert!(reclaimable("Build Cache").starts_with("4."), "{dry}"),
            ["system", "prune"] => assert!(total(&dry).starts_with("4."), "{dry}"),
            _ => assert_eq!((reclaimable("Images"), reclaimable("Build Cache")), ("0B".into(), "0B".into())),
        }
        assert_eq!(unnamed(), 0);
    }
    here.import(rbuild_testkit::Base::Busybox);
    (0..3).for_each(|number| build(number, &["--max-used-space", "5m"]));
    assert!(unnamed() < 2, "{}", here.ok(["images", "-a"]));
}
