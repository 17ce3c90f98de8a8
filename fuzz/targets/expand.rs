//! Any word in any environment. An input is the escape character, lines of `NAME=value`, an empty line, and the word.

#![no_main]

use std::collections::BTreeMap;

use rbuild_parser::Escape;

#[path = "../../parser/tests/language/word_laws/mod.rs"]
mod word_laws;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let (escape, text) = match text.strip_prefix('`') {
        Some(rest) => (Escape::Backtick, rest),
        None => (Escape::Backslash, text.strip_prefix('\\').unwrap_or(text)),
    };
    let (pairs, word) = text.split_once("\n\n").unwrap_or(("", text));
    let pairs = pairs.split('\n').filter_map(|line| line.split_once('='));
    let env: BTreeMap<String, String> =
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    word_laws::check(word, escape, &env);
    if let Some(value) = env.values().next() {
        word_laws::check_pattern(word, value);
    }
});
