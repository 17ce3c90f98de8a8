//! Laws that hold for every plan.

use crate::{generate, plan_laws};
use proptest::prelude::*;

/// Lines that lead to other stages and images, which correct but random files seldom do.
const LINES: &[&str] = &[
    "FROM x",
    "FROM x AS a",
    "FROM a AS b",
    "FROM $A AS c",
    "FROM scratch",
    "FROM --platform=$BUILDPLATFORM abc",
    "ARG A=x",
    "ARG A",
    "ARG FROM=a",
    "ENV A=b E=${A}${A} P=\"a b\"",
    "ENV E=${E//b/$E}",
    "COPY --from=a /x /y",
    "COPY --from=0 /x y/",
    "COPY --from=abc . .",
    "COPY --from=$A . .",
    "COPY <<E $A /x/\n$A ${B:-c}\nE",
    "ADD https://a/b.git#c:d https://e/f ./",
    "RUN --mount=from=b,target=/x --mount=type=cache,target=/c,sharing=locked true",
    "RUN --mount=type=secret,id=s,env=S --mount=type=tmpfs,target=/t,size=1g --network=none $A",
    "RUN <<E\n#!/bin/sh\n$A\nE",
    "SHELL [\"a\", \"-c\"]",
    "WORKDIR ${A}/../x",
    "WORKDIR y",
    "USER $E",
    "EXPOSE 80 90-95/udp $A",
    "LABEL a=$A \"b c\"=d",
    "VOLUME /v $A",
    "STOPSIGNAL $A",
    "HEALTHCHECK CMD $A",
    "ONBUILD COPY --from=a /x /y",
    "ONBUILD COPY --from=abcd /x /y",
    "ONBUILD RUN --mount=from=b,target=/x $A",
    "ONBUILD ENV A=${A}c",
    "ONBUILD ARG A=c",
];

fn lines(most: usize) -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(prop::sample::select(LINES), 0..most)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn linked_stages_keep_the_laws(globals in prop::sample::select(vec!["", "ARG A=x\n"]), lines in lines(16), triggers in lines(3)) {
        let text = format!("{globals}FROM abc AS a\n{}\n", lines.join("\n"));
        let triggers: Vec<&str> = triggers.iter().map(|line| line.trim_start_matches("ONBUILD ")).collect();
        plan_laws::check(text.as_bytes(), &triggers);
    }

    #[test]
    fn correct_files_keep_the_laws((text, _) in generate::file(), trigger in any::<String>()) {
        plan_laws::check(text.as_bytes(), &[]);
        plan_laws::check(text.as_bytes(), &["RUN true", &trigger]);
    }
}
