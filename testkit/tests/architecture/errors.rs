//! How errors are written: who has to act on one is decided variant by variant.

use crate::{CRATES, root, rust_files};
use std::fs;

/// A wildcard would give a new variant a class that nobody chose.
#[test]
fn classes_are_given_variant_by_variant() {
    let mut functions = 0;
    for (folder, ..) in CRATES {
        for path in rust_files(&root().join(folder).join("src")) {
            let text = fs::read_to_string(&path).unwrap();
            for body in class_functions(&text) {
                functions += 1;
                assert!(!has_wildcard(body), "{} gives a class by a wildcard:\n{body}", path.display());
            }
        }
    }
    assert!(functions >= 6, "only {functions} functions that give a class were found");
}

/// A library does not know the program that shows its messages: remedies in commands and flags are hints.
#[test]
fn messages_of_libraries_name_no_program() {
    for (folder, package, layer) in CRATES {
        if package == "rbuild-cli" || layer > 6 {
            continue;
        }
        for path in rust_files(&root().join(folder).join("src")) {
            let text = fs::read_to_string(&path).unwrap();
            for message in messages(&text) {
                let flags = ["--force", "--root", "--pull"];
                let names = message.contains("rbuild ") || flags.iter().any(|flag| message.contains(flag));
                assert!(!names, "{}: {message}", path.display());
            }
        }
    }
}

/// What stands in `#[error(…)]`.
fn messages(text: &str) -> impl Iterator<Item = &str> {
    text.split("#[error(").skip(1).filter_map(|rest| rest.split_once(")]").map(|(message, _)| message))
}

#[test]
fn wildcards_are_found() {
    let text = "impl A {\n    fn class(&self) -> FailureClass {\n        match self {\n            _ => X,\n        }\n    }\n}\n";
    assert_eq!(class_functions(text).map(has_wildcard).collect::<Vec<_>>(), [true]);
    assert_eq!(class_functions("fn other(_: u8) {\n    _ => 1\n}\n").count(), 0);
}

/// The bodies of functions that return a class, up to the brace that closes them.
fn class_functions(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("-> FailureClass {").map(|(at, _)| {
        let line = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let indent = text[line..].len() - text[line..].trim_start().len();
        let end = format!("\n{}}}\n", &text[line..line + indent]);
        text[at..].split_once(&end).map_or(&text[at..], |(body, _)| body)
    })
}

fn has_wildcard(body: &str) -> bool {
    body.lines().any(|line| line.trim_start().starts_with("_ =>"))
}
