//! The ignore-file language on a real context: `testdata/ignore/<case>/{case.txt,expected.txt}`. A case lists files and,
//! after `--- ignore`, the lines of the ignore file; expected is what COPY of everything sees, or the error.

use rbuild_cache::{Cancel, Store, Writer};
use rbuild_executor::{ContextRoot, ExecutorError, FileList, IgnoreRules, SourceRoot, select};
use rbuild_oci::Clock;
use rbuild_planner::{CopyAction, CopySource, Filesystem};
use rbuild_testkit::now;
use std::{fs, path::Path};

#[test]
fn tables() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/ignore");
    let mut folders: Vec<_> = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    for folder in folders {
        let case = fs::read_to_string(folder.join("case.txt")).unwrap();
        let (files, ignore) = case.split_once("--- ignore\n").unwrap();
        let found = match kept(files, ignore) {
            Ok(paths) => paths.iter().map(|path| format!("{path}\n")).collect(),
            Err(error) => format!("error: {error}\n"),
        };
        let expected = fs::read_to_string(folder.join("expected.txt")).unwrap_or_default();
        assert_eq!(found, expected, "{}", folder.display());
    }
}

#[test]
fn many_patterns_are_no_burden() {
    let patterns: Vec<String> = (0..20)
        .map(|n| ["**/*.tmp", "node_modules", "a/**", "**/x"][n % 4].to_owned() + &n.to_string())
        .collect();
    let directory = tempfile::tempdir().unwrap();
    for n in 0..500 {
        fs::write(directory.path().join(format!("file{n}")), "").unwrap();
    }
    let found = selected(directory.path(), IgnoreRules::from_patterns(&patterns).unwrap()).unwrap();
    // the directory itself is told as well
    assert_eq!(found.iter().filter(|path| path.contains("file")).count(), 500);
}

fn kept(files: &str, ignore: &str) -> Result<Vec<String>, ExecutorError> {
    let directory = tempfile::tempdir().unwrap();
    let context = directory.path().join("context");
    for file in files.lines() {
        let path = context.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    let ignore = ignore.replace("\\u{feff}", "\u{feff}");
    let mut paths = selected(&context, IgnoreRules::parse_file(ignore.as_bytes())?)?;
    // directories that were emptied are told too
    paths.retain(|path| files.lines().any(|file| path.strip_prefix('/') == Some(file)));
    Ok(paths)
}

fn selected(context: &Path, rules: IgnoreRules) -> Result<Vec<String>, ExecutorError> {
    let store = tempfile::tempdir().unwrap();
    let store = Store::open(store.path(), &Writer::Root, Clock::new(now)).unwrap();
    let root = SourceRoot::Context(ContextRoot::open(&store, context, rules, now())?);
    let action =
        CopyAction::plain(Filesystem::Context, vec![CopySource::Path(".".to_owned())], "/".parse().unwrap());
    let files = FileList::of(&select(&root, &action, &Cancel::default())?);
    Ok(FileList::default().changes_to(&files).into_iter().map(|file| file.path).collect())
}
