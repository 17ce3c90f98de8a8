//! What holds for every text.

mod dump;

use std::fmt::Write as _;

use dump::{Places, dump};
use proptest::prelude::*;
use rbuild_parser::{
    Escape, WordMode, excerpt, expand, parse, parse_instruction, parse_mount, parse_word, suggest,
};

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

fn mode() -> impl Strategy<Value = WordMode> {
    prop_oneof![Just(WordMode::Single), Just(WordMode::List), Just(WordMode::Heredoc)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_parse_or_fail(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn places_lie_in_the_file(text in text()) {
        let text = format!("FROM a\n{text}");
        let lines = text.split('\n').count();
        match parse(text.as_bytes()) {
            Ok(file) => {
                for node in file.stages.iter().flat_map(|stage| &stage.instructions) {
                    prop_assert_eq!(&text[node.keyword.span.range()], &node.keyword.value);
                    prop_assert!(text.get(node.span.range()).is_some());
                    prop_assert!(node.lines.first <= node.lines.last && node.lines.last <= lines);
                }
            }
            Err(error) => {
                if let Some(span) = error.span {
                    prop_assert!(text.get(span.range()).is_some());
                }
                let _ = excerpt(&text, "Dockerfile", error.lines.unwrap_or(rbuild_parser::Lines { first: 1, last: 1 }));
            }
        }
    }

    #[test]
    fn what_is_printed_parses_to_the_same(text in text(), head in prop_oneof![Just(""), Just("# escape=`\n")]) {
        let text = format!("{head}FROM a\n{text}");
        if let Ok(file) = parse(text.as_bytes()) {
            let printed = file.to_string();
            let again = parse(printed.as_bytes());
            prop_assert!(again.is_ok(), "{:?}\nprinted: {printed:?}", again);
            prop_assert_eq!(dump(&again.unwrap(), Places::Hidden), dump(&file, Places::Hidden), "{:?}", printed);
        }
    }

    #[test]
    fn triggers_parse_or_fail(text in text(), escape in escape()) {
        let _ = parse_instruction(&text, escape);
    }

    #[test]
    fn expansion_ends_and_keeps_its_counts(text in text(), value in text(), escape in escape(), mode in mode()) {
        let lookup = |name: &str| (name != "y").then(|| value.clone());
        if let Ok(expanded) = expand(&text, escape, mode, &lookup) {
            prop_assert!(mode == WordMode::List || expanded.words.len() == 1);
            prop_assert!(parse_word(&text, escape, mode).is_ok());
        }
    }

    #[test]
    fn patterns_agree_with_plain_backtracking(pattern in "[ab*?]{0,6}", value in "[ab]{0,8}") {
        let env = |name: &str| Some(if name == "p" { pattern.clone() } else { value.clone() });
        let one = |word: &str| expand(word, Escape::Backslash, WordMode::Single, &env).unwrap().words.remove(0);
        let prefixes = (0..=value.len()).filter(|&end| matches(pattern.as_bytes(), &value.as_bytes()[..end]));
        let suffixes = (0..=value.len()).filter(|&start| matches(pattern.as_bytes(), &value.as_bytes()[start..]));
        let (prefixes, suffixes): (Vec<_>, Vec<_>) = (prefixes.collect(), suffixes.collect());
        prop_assert_eq!(one("${v#$p}"), &value[prefixes.first().copied().unwrap_or(0)..]);
        prop_assert_eq!(one("${v##$p}"), &value[prefixes.last().copied().unwrap_or(0)..]);
        prop_assert_eq!(one("${v%$p}"), &value[..suffixes.last().copied().unwrap_or(value.len())]);
        prop_assert_eq!(one("${v%%$p}"), &value[..suffixes.first().copied().unwrap_or(value.len())]);
        let found = (0..=value.len()).find_map(|start| {
            let ends = (start..=value.len()).rev();
            ends.into_iter().find(|&end| matches(pattern.as_bytes(), &value.as_bytes()[start..end])).map(|end| (start, end))
        });
        let replaced = found.map_or(value.clone(), |(start, end)| format!("{}R{}", &value[..start], &value[end..]));
        prop_assert_eq!(one("${v/$p/R}"), replaced);
    }

    #[test]
    fn the_rest_never_panics(text in any::<String>(), other in any::<String>()) {
        let _ = parse_mount(&text);
        let _ = suggest(&text, [other.as_str()]);
    }
}

fn matches(pattern: &[u8], value: &[u8]) -> bool {
    match (pattern.split_first(), value.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), None) => matches(rest, value),
        (Some((b'*', rest)), Some((_, tail))) => matches(rest, value) || matches(pattern, tail),
        (Some((b'?', rest)), Some((_, tail))) => matches(rest, tail),
        (Some((own, rest)), Some((other, tail))) => own == other && matches(rest, tail),
        _ => false,
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

/// What a build pays before anything else. Printed, not judged: machines differ.
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
