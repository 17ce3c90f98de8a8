//! How much is tested: lines of test a line of code, and tests that look at nothing.

use crate::{CRATES, root, rust_files};
use std::{collections::BTreeSet, fs};

/// Lines of test for a hundred lines of code, at least.
const PERCENT: usize = 40;

/// Words of which a test has at least one, or a function of its crate's tests that it calls: it compares, or it fails by itself.
const LOOKS: [&str; 5] = ["assert", "panic!", "unwrap", "expect(", "expect_err("];

/// Tests that have none, and why.
const EXCUSED: [(&str, &str); 1] =
    [("requests_can_be_made_from_any_thread", "the compiler looks at the types of what is made")];

/// Crates that hold nothing of the product.
const AIDS: [&str; 3] = ["testkit", "bench", "examples/embed"];

#[test]
fn enough_is_tested() {
    let (mut code, mut test) = (0, 0);
    for (folder, ..) in CRATES.iter().filter(|(folder, ..)| !AIDS.contains(folder)) {
        for path in rust_files(&root().join(folder).join("src")) {
            let text = fs::read_to_string(&path).unwrap();
            let (product, tests) = parts(&text, path.to_str().unwrap().ends_with("_tests.rs"));
            code += lines(product);
            test += lines(tests);
        }
        let files = rust_files(&root().join(folder).join("tests"));
        test += files.iter().map(|path| lines(&fs::read_to_string(path).unwrap())).sum::<usize>();
    }
    assert!(test * 100 >= code * PERCENT, "{test} lines of test for {code} lines of code");
}

#[test]
fn no_test_is_empty() {
    let (mut found, mut empty) = (0, Vec::new());
    for (folder, ..) in CRATES {
        let paths = ["src", "tests"].map(|part| rust_files(&root().join(folder).join(part))).concat();
        let texts: Vec<String> = paths
            .iter()
            .map(|path| {
                let text = fs::read_to_string(path).unwrap();
                let is_test =
                    !path.starts_with(root().join(folder).join("src")) || path.ends_with("_tests.rs");
                parts(&text, is_test).1.to_owned()
            })
            .collect();
        let helpers = helpers_that_look(&texts);
        for (path, text) in paths.iter().zip(&texts) {
            for body in tests(text) {
                found += 1;
                let is_excused = EXCUSED.iter().any(|(name, _)| body.contains(&format!("fn {name}(")));
                if !looks(body, &helpers) && !is_excused {
                    empty.push(format!("{}:\n{body}", path.display()));
                }
            }
        }
    }
    assert!(empty.is_empty(), "tests that look at nothing: {}", empty.join("\n"));
    assert!(found > 500, "only {found} tests were found");
}

#[test]
fn empty_tests_and_parts_are_found() {
    let file = "fn a() {}\n\n// x\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn b() {\n        let _ = 1;\n    }\n\n    #[test]\n    fn c() {\n        assert!(true);\n    }\n}\n";
    let (product, test) = parts(file, false);
    assert_eq!((lines(product), lines(test)), (1, 11));
    let look = |text: &str| {
        let helpers = helpers_that_look(&[text.to_owned()]);
        tests(text).map(|body| looks(body, &helpers)).collect::<Vec<_>>()
    };
    assert_eq!(look(file), [false, true]);
    let through = "#[test]\nfn a() {\n    b();\n}\n\nfn b() {\n    c();\n}\n\nfn c() {\n    assert!(true);\n}\n\nfn d() {\n}\n";
    assert_eq!((look(through), look(&through.replace("    c();", "    d();"))), (vec![true], vec![false]));
    assert_eq!(parts("fn d() {}\n", true), ("", "fn d() {}\n"));
}

/// A file's code, and the tests at its end.
fn parts(text: &str, is_test: bool) -> (&str, &str) {
    let end = if is_test { 0 } else { text.find("#[cfg(test)]\nmod ").unwrap_or(text.len()) };
    text.split_at(end)
}

/// Lines that are neither blank nor comments.
fn lines(text: &str) -> usize {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")).count()
}

/// The bodies of a file's tests, those of property tests included.
fn tests(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("#[test]\n").filter_map(|(at, attribute)| {
        let line = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let rest = &text[at + attribute.len()..];
        let end = format!("\n{}}}", &text[line..at]);
        rest.find(&end).map(|end| &rest[..end])
    })
}

/// The functions in tests that look at something, or call one that does.
fn helpers_that_look(texts: &[String]) -> BTreeSet<String> {
    let mut rest: Vec<(String, &str)> = texts.iter().flat_map(|text| functions(text)).collect();
    let mut found = BTreeSet::new();
    loop {
        let before = found.len();
        rest.retain(|(name, body)| {
            let looking = looks(body, &found);
            if looking {
                found.insert(name.clone());
            }
            !looking
        });
        if found.len() == before {
            return found;
        }
    }
}

/// The functions of a file, each with its name and its body.
fn functions(text: &str) -> impl Iterator<Item = (String, &str)> {
    text.match_indices("fn ").filter_map(|(at, keyword)| {
        let line = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let indent = &text[line..at][..text[line..at].len() - text[line..at].trim_start().len()];
        let rest = &text[at + keyword.len()..];
        let name = &rest[..rest.find(['(', '<'])?];
        let end = rest.find(&format!("\n{indent}}}"))?;
        Some((name.to_owned(), &rest[name.len()..end]))
    })
}

fn looks(test: &str, helpers: &BTreeSet<String>) -> bool {
    let calls = |name: &String| {
        test.match_indices(&format!("{name}(")).any(|(at, _)| {
            let before = test[..at].chars().next_back();
            before.is_none_or(|c| !c.is_alphanumeric() && c != '_')
        })
    };
    LOOKS.iter().any(|word| test.contains(word)) || helpers.iter().any(calls)
}
