//! Every line of `testdata/words`: what a word expands to.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use rbuild_parser::{Escape, WordMode, expand};

struct Setting {
    env: BTreeMap<String, String>,
    escape: Escape,
    mode: WordMode,
}

#[test]
fn every_vector_expands_as_expected() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/words");
    let mut failures = String::new();
    let mut count = 0;
    for entry in std::fs::read_dir(&root).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let mut setting = Setting { env: BTreeMap::new(), escape: Escape::Backslash, mode: WordMode::Single };
        for (number, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with("# ") || set(&mut setting, line) {
                continue;
            }
            let (input, expected) = line.split_once(" =>").unwrap_or_else(|| panic!("no => in {line:?}"));
            count += 1;
            let actual = outcome(&setting, &input.replace('⏎', "\n"));
            if actual.trim() != expected.trim() {
                let _ = writeln!(
                    failures,
                    "{}:{}: {input}\n  expected {expected}\n  actual   {actual}",
                    path.display(),
                    number + 1
                );
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
    assert!(count >= 130, "only {count} vectors");
}

fn set(setting: &mut Setting, line: &str) -> bool {
    match line.split_once(' ') {
        Some(("env", pair)) => {
            let (name, value) = pair.split_once('=').expect("NAME=value");
            setting.env.insert(name.to_owned(), value.to_owned());
        }
        Some(("escape", "`")) => setting.escape = Escape::Backtick,
        Some(("mode", "single")) => setting.mode = WordMode::Single,
        Some(("mode", "list")) => setting.mode = WordMode::List,
        Some(("mode", "heredoc")) => setting.mode = WordMode::Heredoc,
        _ => return false,
    }
    true
}

fn outcome(setting: &Setting, input: &str) -> String {
    match expand(input, setting.escape, setting.mode, &|name| setting.env.get(name).cloned()) {
        Ok(expanded) => {
            let words: Vec<String> = match setting.mode {
                WordMode::List => expanded.words.iter().map(|word| format!("<{word}>")).collect(),
                WordMode::Single | WordMode::Heredoc => expanded.words,
            };
            let mut out = words.join(" ").replace('\n', "⏎");
            if !expanded.unset.is_empty() {
                let _ = write!(out, " ?? {}", expanded.unset.join(" "));
            }
            out
        }
        Err(error) => {
            let text = error.to_string();
            let quoted = input.replace('\\', "\\\\").replace('"', "\\\"");
            let reason = text.strip_prefix(&format!("failed to process \"{quoted}\": "));
            format!("error: {}", reason.unwrap_or(&text))
        }
    }
}
