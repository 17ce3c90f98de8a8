//! `RUN --mount=type=cache` with `from`: what a cache begins with.

use crate::{as_root_and_user, marked_output, with_busybox};
use rbuild_testkit::Workspace;

const STAGES: &str = "FROM busybox AS seed\n\
    RUN mkdir -p /s/sub && echo a > /s/a && echo b > /s/sub/b && chmod 750 /s && chown 5:6 /s/a && ln s/a /linked\n\
    FROM busybox\n";

/// Builds steps after [`STAGES`] and returns their output in the order of the steps.
fn build(here: &Workspace, steps: &str, arguments: &[&str]) -> Vec<String> {
    let context = here.context("c", &format!("{STAGES}{steps}"), &[]);
    let mut all = vec!["build", "--no-cache", "--progress=plain", "-t", "x"];
    all.extend(arguments);
    all.push(context.to_str().unwrap());
    let ran = here.run(all);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    marked_output(&ran.stderr)
}

#[test]
fn a_cache_begins_with_the_files_of_its_seed_and_keeps_what_is_written() {
    as_root_and_user("a_cache_begins_with_the_files_of_its_seed_and_keeps_what_is_written", |here| {
        let steps = "RUN --mount=type=cache,target=/m,from=seed,source=/s stat -c '> %n %a %u:%g' /m /m/a /m/sub/b && touch /m/new\n\
            RUN --mount=type=cache,target=/m,from=seed,source=/s cd /m && echo \"> $(echo *)\"\n\
            RUN --mount=type=cache,id=/m,target=/n,from=seed,source=/../../s,ro cd /n && echo \"> $(echo *)\"; touch /n/x || echo '> read-only'\n\
            RUN --mount=type=cache,target=/m,from=seed,source=/s/sub cd /m && echo \"> $(echo *)\"\n\
            RUN --mount=type=cache,target=/m,from=seed,source=/s/a echo \"> a file: $(cat /m)\"\n\
            RUN --mount=type=cache,target=/m,from=seed cd /m && echo \"> $(ls -d s linked | tr '\\n' .)\"\n\
            RUN --mount=type=cache,target=/m,from=seed,mode=0700 echo \"> $(stat -c %a /m) $(ls -A /m | wc -l)\"\n\
            RUN --mount=type=cache,target=/m echo \"> $(ls -A /m | wc -l)\"\n\
            RUN --mount=type=cache,target=/a,from=seed,source=/s --mount=type=cache,target=/b,from=busybox,source=/bin echo \"> $(ls /a/a /b/sh | wc -l)\"\n";
        let first = build(here, steps, &[]);
        assert_eq!(
            first,
            [
                "/m 750 0:0",
                "/m/a 644 5:6",
                "/m/sub/b 644 0:0",
                "a new sub",
                "a new sub",
                "read-only",
                "b",
                "a file: a",
                "linked.s.",
                "700 0",
                "0",
                "2"
            ]
        );
        // neither --no-cache nor the next build begins anew
        let again = build(
            here,
            "RUN --mount=type=cache,target=/m,from=seed,source=/s cd /m && echo \"> $(echo *)\"\n",
            &[],
        );
        assert_eq!(again, ["a new sub"]);
        let left = here.ok(["run", "--rm", "x", "sh", "-c", "ls -d /m /n /a /b 2>/dev/null | wc -l"]);
        assert_eq!(left, "0\n", "what is in a cache is in no layer");
    });
}

#[test]
fn a_seed_of_a_named_context_is_another_cache_when_its_files_change() {
    as_root_and_user("a_seed_of_a_named_context_is_another_cache_when_its_files_change", |here| {
        let named = here.path().join("named");
        std::fs::create_dir_all(named.join("f")).unwrap();
        let argument = format!("--build-context=ctx={}", named.display());
        let steps = "RUN --mount=type=cache,target=/m,from=ctx,source=f cd /m && echo \"> $(cat *)\" && echo kept > /m/own\n";
        for (text, expected) in [("one", "one"), ("one", "one kept"), ("two", "two")] {
            std::fs::write(named.join("f/a"), text).unwrap();
            let shown = build(here, steps, &[&argument]);
            assert_eq!(
                shown[0].split_whitespace().collect::<String>(),
                expected.replace(' ', ""),
                "{shown:?}"
            );
        }
    });
}

#[test]
fn a_seed_that_is_not_there_fails_with_its_name() {
    let Some(here) = with_busybox("a_seed_that_is_not_there_fails_with_its_name") else { return };
    let dockerfile = format!("{STAGES}RUN --mount=type=cache,target=/m,from=seed,source=/nope true\n");
    let context = here.context("c", &dockerfile, &[]);
    let failed = here.fails(["build", context.to_str().unwrap()]);
    assert!(
        failed.stderr.contains("\"/nope\": not found")
            && failed.stderr.contains(">>> RUN --mount=type=cache"),
        "{}",
        failed.stderr
    );
}
