//! Laws that hold for every name and every document, be it one or not: what is read is written and read again the same, and
//! what becomes a path of the store is one below it. Property tests, the files of testdata and the fuzz targets
//! call the same functions, which panic when a law is broken.

#![expect(clippy::unwrap_used, reason = "what a test prepares must succeed")]

mod document_laws;
mod name_laws;

use proptest::prelude::*;
use std::{fs, path::PathBuf};

fn testdata(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../testdata").join(name)
}

/// The documents of testdata, by name.
fn documents() -> Vec<(String, String)> {
    let files = fs::read_dir(testdata("documents")).unwrap().map(|entry| entry.unwrap().path());
    let read = |path: PathBuf| {
        (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read_to_string(path).unwrap())
    };
    let mut documents: Vec<_> = files.map(read).collect();
    documents.sort();
    documents
}

#[test]
fn the_names_of_testdata_keep_the_laws() {
    let text = fs::read_to_string(testdata("references.txt")).unwrap();
    let read = text.lines().filter(|line| name_laws::check(line)).count();
    assert_eq!((read, text.lines().count()), (22, 31), "names among the lines");
}

/// Each document with every byte removed, and with every value replaced.
#[test]
fn the_documents_of_testdata_keep_the_laws_whole_and_damaged() {
    for (name, text) in documents() {
        let kind = document_laws::check(text.as_bytes());
        let expected = match name.split_once(['-', '.']).unwrap() {
            ("manifest", "schema-1.json" | "and-index.json") => "nothing",
            (kind, _) => kind,
        };
        assert_eq!(kind, expected, "{name}");
        let bytes = text.as_bytes();
        for at in 0..bytes.len() {
            document_laws::check(&[&bytes[..at], &bytes[at + 1..]].concat());
            document_laws::check(&bytes[..at]);
        }
        let whole: serde_json::Value = serde_json::from_str(&text).unwrap();
        for place in places(&whole) {
            for value in [
                "null",
                "-1",
                "1e400",
                "18446744073709551616",
                "[]",
                "{}",
                "[[{}]]",
                "\"\"",
                "\"../..\"",
                "true",
            ] {
                let mut changed = whole.clone();
                *changed.pointer_mut(&place).unwrap() =
                    serde_json::from_str(value).unwrap_or(serde_json::Value::Null);
                document_laws::check(changed.to_string().as_bytes());
            }
        }
    }
}

/// JSON pointers to everything in `value`.
fn places(value: &serde_json::Value) -> Vec<String> {
    let inner: Vec<(String, &serde_json::Value)> = match value {
        serde_json::Value::Object(fields) => {
            fields.iter().map(|(key, value)| (key.replace('~', "~0").replace('/', "~1"), value)).collect()
        }
        serde_json::Value::Array(items) => {
            items.iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect()
        }
        _ => Vec::new(),
    };
    let below = |(key, value): (String, &serde_json::Value)| {
        places(value).into_iter().map(move |place| format!("/{key}{place}")).collect::<Vec<_>>()
    };
    std::iter::once(String::new()).chain(inner.into_iter().flat_map(below)).collect()
}

/// Texts made of what names are made of.
fn name() -> impl Strategy<Value = String> {
    const PARTS: &[&str] = &[
        "a",
        "b0",
        "A",
        "library",
        "docker.io",
        "localhost",
        "/",
        "/",
        ":",
        ".",
        "..",
        "_",
        "-",
        "@",
        "[::1]",
        "5000",
        "sha256:",
        "é",
        " ",
    ];
    let hex = prop::string::string_regex("[0-9a-f]{64}").unwrap();
    let part = prop_oneof![8 => prop::sample::select(PARTS).prop_map(str::to_owned), 1 => hex];
    prop::collection::vec(part, 0..9).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn names_keep_the_laws(text in name()) {
        name_laws::check(&text);
    }
}
