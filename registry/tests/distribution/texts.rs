//! The laws of texts, for made-up ones.

use crate::text_laws::check;
use proptest::prelude::*;

/// A text of each kind from which a search may start.
const EXAMPLES: [&str; 5] = [
    include_str!("../../../testdata/registry/0-challenge"),
    include_str!("../../../testdata/registry/1-registries-conf"),
    include_str!("../../../testdata/registry/2-hosts-toml"),
    include_str!("../../../testdata/registry/3-daemon-json"),
    include_str!("../../../testdata/registry/4-config-json"),
];

#[test]
fn examples_keep_the_laws() {
    for (kind, text) in EXAMPLES.iter().enumerate() {
        check(kind as u8, text);
    }
}

proptest! {
    #[test]
    fn any_text_keeps_the_laws(kind in 0..5u8, text in "\\PC{0,80}") {
        check(kind, &text);
    }

    #[test]
    fn damaged_examples_keep_the_laws(kind in 0..5usize, at in 0..200usize, with in "[ -~]{0,3}", cut in 0..4usize) {
        let text = EXAMPLES[kind];
        let at = at.min(text.len());
        let damaged = format!("{}{with}{}", &text[..at], &text[(at + cut).min(text.len())..]);
        check(kind as u8, &damaged);
    }
}
