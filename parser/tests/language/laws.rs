//! Laws that hold for every text.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::dump::{Places, dump};
use crate::{file_laws, generate, word_laws};
use proptest::prelude::*;
use rbuild_parser::{Escape, WordMode, WordProblem, expand, parse, parse_instruction, parse_mount, suggest};

/// Pieces that mean something to the language, so that random texts reach deep.
#[rustfmt::skip]
const PIECES: &[&str] = &[
    "FROM x\n", "FROM x AS y\n", "RUN ", "COPY ", "ADD ", "ENV ", "LABEL ", "ARG ", "CMD ",
    "ENTRYPOINT ", "EXPOSE ", "VOLUME ", "USER ", "WORKDIR ", "SHELL ", "ONBUILD ", "HEALTHCHECK ",
    "STOPSIGNAL ", "NONE", "MAINTAINER ", "from", "run ", "\\\n", "`\n", "\n", "\r\n", "# escape=`\n",
    "# syntax=a/b\n", "# c\n", "#\n", "<<EOF", "<<-'E'", "EOF\n", "E\n", "\t", " ", "  ", "=", "a=b",
    "--", "--mount=a,b ", "--from=x ", "--chown=\"a b\" ", "--link ", "[", "]", "[\"a\", \"b\"]", "\"",
    "'", "\\", "`", "$", "${", "}", "${x:-", ":", "-", "+", "?", "/", "//", "%", "##", "*", "é",
    "\u{a0}", "\u{b}", "\u{c}", "\u{85}", "\u{1}", "0", "CMD", "x", "y",
];

fn piece() -> impl Strategy<Value = String> {
    let known = prop::sample::select(PIECES);
    prop_oneof![8 => known.prop_map(str::to_owned), 1 => any::<String>()]
}

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(piece(), 0..24).prop_map(|pieces| pieces.concat())
}

fn escape() -> impl Strategy<Value = Escape> {
    prop_oneof![Just(Escape::Backslash), Just(Escape::Backtick)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_keep_the_laws(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        file_laws::check(&bytes);
    }

    #[test]
    fn any_text_keeps_the_laws(text in text(), head in prop_oneof![Just(""), Just("# escape=`\n")]) {
        file_laws::check(format!("{head}FROM a\n{text}").as_bytes());
    }

    #[test]
    fn triggers_parse_or_fail(text in text(), escape in escape()) {
        let span = match parse_instruction(&text, escape) {
            Ok(node) => Some(node.keyword.span),
            Err(error) => error.span,
        };
        prop_assert!(span.is_none_or(|span| text.get(span.start..span.end).is_some()), "{span:?} is in the text");
    }

    #[test]
    fn any_word_keeps_the_laws(word in text(), escape in escape(), x in text(), accented in prop::option::of(text())) {
        let env = [("x", Some(x)), ("é", accented)].into_iter();
        let env: BTreeMap<String, String> = env.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
        word_laws::check(&word, escape, &env);
    }

    #[test]
    fn patterns_agree_with_plain_backtracking(pattern in "[ab*?\n]{0,6}", value in "[abé\n]{0,8}") {
        word_laws::check_pattern(&pattern, &value);
    }

    #[test]
    fn the_rest_never_panics(text in any::<String>(), other in any::<String>()) {
        let _ = parse_mount(&text);
        prop_assert!(suggest(&text, [other.as_str()]).is_none_or(|near| near == other && near != text));
    }
}

proptest! {
    // long files, so fewer
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn correct_files_are_understood((text, keywords) in generate::file()) {
        let parsed = parse(text.as_bytes());
        prop_assert!(parsed.is_ok(), "{:?}", parsed);
        let stages = parsed.unwrap().stages;
        let found = stages.iter().flat_map(|stage| {
            std::iter::once(&stage.from.keyword).chain(stage.instructions.iter().map(|node| &node.keyword))
        });
        prop_assert!(found.map(|keyword| keyword.value.as_str()).skip(1).eq(&keywords));
        file_laws::check(text.as_bytes());
    }
}

#[test]
fn deep_nesting_is_an_error_and_no_overflow() {
    for depth in [99, 101, 1_000, 100_000] {
        let word = "${a:-".repeat(depth) + "x" + &"}".repeat(depth);
        let result = expand(&word, Escape::Backslash, WordMode::Single, &|_| None);
        assert_eq!(result.is_ok(), depth < 100, "{depth}");
    }
    let _ = parse(format!("FROM a\nCMD {}", "[".repeat(60_000)).as_bytes());
    let _ = parse(format!("FROM a\n{}RUN x", "ONBUILD ".repeat(8_000)).as_bytes());
    let _ = parse(format!("FROM a\n{}COPY <<A", "ONBUILD \\\n".repeat(60_000)).as_bytes());
}

#[test]
fn a_list_may_be_as_long_as_a_word() {
    let value = "x".repeat(4_000);
    let lookup = |_: &str| Some(value.clone());
    for mode in [WordMode::Single, WordMode::List, WordMode::Heredoc] {
        let length =
            |word: &str| expand(word, Escape::Backslash, mode, &lookup).map(|made| made.words[0].len());
        assert_eq!(length("${v//x/$v}"), Ok(16_000_000));
        let reason = length(&"${v//x/$v} ".repeat(1_000)).unwrap_err().reason;
        assert!(matches!(reason, WordProblem::TooLong), "{mode:?}: {reason}");
    }
}

#[test]
fn a_pattern_that_would_be_compared_for_long_is_refused() {
    let value = "a".repeat(60_000);
    let lookup = |_: &str| Some(value.clone());
    let wildcards = "?".repeat(30_000);
    for word in
        [format!("${{v//x{wildcards}/c}}"), format!("${{v#{wildcards}b}}"), format!("${{v%b{wildcards}}}")]
    {
        let reason = expand(&word, Escape::Backslash, WordMode::Single, &lookup).unwrap_err().reason;
        assert_eq!(reason, WordProblem::TooMuchMatching(60_000));
    }
    let literal = format!("${{v//{}/c}}", "a".repeat(30_000));
    assert_eq!(expand(&literal, Escape::Backslash, WordMode::Single, &lookup).unwrap().words, ["cc"]);
}

/// Ten times the text takes about ten times the time: the sizes are such that anything quadratic would not end.
#[test]
fn large_files_take_linear_time() {
    let started = std::time::Instant::now();
    let mut continued = String::from("FROM a\nRUN true");
    for _ in 0..500_000 {
        continued.push_str(" \\\n && echo something");
    }
    assert!(continued.len() > 10_000_000);
    parse(continued.as_bytes()).unwrap();

    let mut many = String::from("FROM a\n");
    for index in 0..100_000 {
        let _ = writeln!(many, "ENV A{index}=b{index} C=\"d e\"");
    }
    assert_eq!(parse(many.as_bytes()).unwrap().stages[0].instructions.len(), 100_000);

    let mut stages = String::new();
    for index in 0..10_000 {
        let _ = writeln!(stages, "FROM a AS s{index}\nCOPY --from=s0 a b");
    }
    assert_eq!(parse(stages.as_bytes()).unwrap().stages.len(), 10_000);

    let pairs = format!("FROM a\nENV {}", "A=b \\\n".repeat(200_000));
    parse(pairs.as_bytes()).unwrap();
    let comments = format!("FROM a\nRUN a \\\n{}b\n", "# c\n\n".repeat(500_000));
    parse(comments.as_bytes()).unwrap();
    let flags = format!("FROM a\nRUN {} x", "--mount=a \\\n".repeat(100_000));
    parse(flags.as_bytes()).unwrap();
    assert!(started.elapsed().as_secs() < 60, "took {:?}", started.elapsed());
}

/// The time that a build needs before anything else. It is printed and not checked, because machines differ.
#[test]
fn an_ordinary_file_parses_quickly() {
    let mut text = String::from("# syntax=docker/dockerfile:1\nFROM debian:12 AS base\n");
    for index in 0..39 {
        let _ = writeln!(
            text,
            "ENV A{index}=b C=\"d e\"\nRUN --mount=type=cache,target=/c apt-get update && \\\n  true"
        );
        let _ = writeln!(text, "COPY --from=base --chown=1:1 /a{index} /b\nCMD [\"a\", \"b\"]");
    }
    let started = std::time::Instant::now();
    for _ in 0..100 {
        parse(text.as_bytes()).expect("a correct file");
    }
    println!("{} lines: {:?} each", text.lines().count(), started.elapsed() / 100);
}

/// A joined line may be longer than a physical line may be; printing continues it.
#[test]
fn long_instructions_survive_printing() {
    let text =
        format!("FROM a\nRUN true{}\nENV {}", " \\\n && echo x".repeat(20_000), "A=b \\\n".repeat(20_000));
    let file = parse(text.as_bytes()).expect("a correct file");
    let again = parse(file.to_string().as_bytes()).expect("what is printed parses");
    assert_eq!(dump(&again, Places::Hidden), dump(&file, Places::Hidden));
}
