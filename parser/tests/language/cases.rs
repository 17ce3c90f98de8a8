//! Every folder of `testdata/parser`: a Dockerfile and what it parses to, or the errors.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::dump::{Places, dump, lines, span};
use crate::file_laws;
use rbuild_parser::{mistakes, parse};

#[test]
fn every_case_parses_as_expected() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/parser");
    let mut failures = String::new();
    let cases = cases(&root);
    assert!(cases.len() >= 240, "only {} cases found", cases.len());
    for case in cases {
        let text = std::fs::read(case.join("Dockerfile")).unwrap();
        let actual = outcome(&text);
        let path = case.join("expected.txt");
        if update() {
            std::fs::write(&path, &actual).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        if expected != actual {
            let _ = writeln!(failures, "== {}\nexpected:\n{expected}\nactual:\n{actual}", case.display());
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn every_case_keeps_the_laws() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/parser");
    for case in cases(&root) {
        println!("{}", case.display());
        file_laws::check(&std::fs::read(case.join("Dockerfile")).unwrap());
    }
}

#[expect(clippy::disallowed_methods, reason = "rewriting expectations is asked for in the environment")]
fn update() -> bool {
    std::env::var_os("UPDATE_EXPECT").is_some()
}

fn outcome(text: &[u8]) -> String {
    match parse(text) {
        Ok(file) => dump(&file, Places::Shown),
        Err(error) => {
            let mut out = format!("error: {error}\n");
            if let Some(place) = error.lines {
                let _ = writeln!(out, "lines: {}", lines(place));
            }
            if let Some(place) = error.span {
                let marked = String::from_utf8_lossy(&text[place.range()]).into_owned();
                let _ = writeln!(out, "span: {} {marked:?}", span(place));
            }
            let all = mistakes(text);
            assert_eq!(all.first(), Some(&error), "what is wrong first does not depend on who asks");
            for also in &all[1..] {
                let _ = writeln!(out, "also: {}: {also}", also.lines.map(lines).unwrap_or_default());
            }
            out
        }
    }
}

fn cases(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in
            std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        {
            let path = entry.expect("a readable folder").path();
            if path.join("Dockerfile").is_file() {
                found.push(path);
            } else if path.is_dir() {
                folders.push(path);
            }
        }
    }
    found.sort();
    found
}
