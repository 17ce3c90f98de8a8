//! How errors are written: who has to act on one is decided variant by variant.

use crate::{CRATES, root, rust_files};
use std::fs;

/// Crates whose errors have a class. Those below them are classified by them (`sys` by executor, `parser` and `planner` by
/// engine).
const CLASSIFYING: [&str; 8] =
    ["archive", "cache", "cache/remote", "registry", "daemon", "image", "executor", "engine"];

/// A wildcard would give a new variant a class that its author did not choose.
#[test]
fn classes_are_given_variant_by_variant() {
    for (folder, ..) in CRATES {
        let mut gives_class_of_errors = false;
        for path in rust_files(&root().join(folder).join("src")) {
            let text = fs::read_to_string(&path).unwrap();
            gives_class_of_errors |= text.contains("pub fn class(&self) -> FailureClass {");
            for body in class_functions(&text) {
                let wildcard = catch_all(body);
                assert!(wildcard.is_none(), "{} gives a class by {wildcard:?}:\n{body}", path.display());
            }
        }
        let expected = CLASSIFYING.contains(&folder);
        assert_eq!(gives_class_of_errors, expected, "{folder} has errors with a class");
    }
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

/// The texts inside `#[error(…)]`.
fn messages(text: &str) -> impl Iterator<Item = &str> {
    text.split("#[error(").skip(1).filter_map(|rest| rest.split_once(")]").map(|(message, _)| message))
}

#[test]
fn wildcards_are_found() {
    let function = |arm: &str| format!("    fn class(&self) -> FailureClass {{\n        {arm}\n    }}\n");
    for arm in [
        "_ => X,",
        "Self::A => X, _ => Y,",
        "Self::A | _ => X,",
        "other => X,",
        "other if other.is_bad() => X,",
        "if let Self::A = self { X } else { Y }",
        "if matches!(self, Self::A) { X } else { Y }",
    ] {
        assert!(class_functions(&function(arm)).any(|body| catch_all(body).is_some()), "{arm}");
    }
    for arm in
        ["Self::A { source, .. } => source.class(),", "Self::B(error) | Self::C(error) => error.class(),"]
    {
        assert!(class_functions(&function(arm)).all(|body| catch_all(body).is_none()), "{arm}");
    }
    assert_eq!(class_functions("fn other(_: u8) {\n    _ => 1\n}\n").count(), 0);
}

/// The bodies of functions that return a class or turn one into something else, up to the brace that closes them.
fn class_functions(text: &str) -> impl Iterator<Item = &str> {
    let heads = ["-> FailureClass {", "-> FailureClass\n", "(class: FailureClass) -> u8 {"];
    heads.into_iter().flat_map(move |head| text.match_indices(head)).map(|(at, _)| {
        let line = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let indent = text[line..].len() - text[line..].trim_start().len();
        let end = format!("\n{}}}\n", &text[line..line + indent]);
        text[at..].split_once(&end).map_or(&text[at..], |(body, _)| body)
    })
}

/// The line or test in a body that decides about variants it does not name.
fn catch_all(body: &str) -> Option<&str> {
    let arm = |pattern: &str| {
        let last = pattern.rsplit([',', '{', '|', '\n']).next().unwrap_or_default();
        let name = last.trim().split(" if ").next().unwrap_or_default();
        !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
    };
    let in_arm = body.match_indices("=>").find(|(at, _)| arm(&body[..*at])).map(|(at, _)| &body[..at]);
    let in_test = ["if let", "matches!(", "let else"].into_iter().find(|test| body.contains(test));
    in_arm.and_then(|before| before.lines().last()).or(in_test)
}
