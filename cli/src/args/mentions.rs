//! Every command line of rbuild that a message or a document names can be typed: its command and its flags exist.

use super::{Cli, complete};
use clap::{Command, CommandFactory};
use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

#[test]
fn every_command_line_that_is_named_exists() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut root = Cli::command();
    root.build();
    let (mut faults, mut seen) = (Vec::new(), 0);
    for path in texts(repository) {
        let text = fs::read_to_string(&path).unwrap();
        let is_document = path.extension().is_some_and(|extension| extension == "md");
        // tests below the code name commands that do not exist, on purpose
        for line in text.lines().take_while(|line| *line != "#[cfg(test)]") {
            let found = if is_document { named_in_document(line) } else { named_in_source(line) };
            for words in found {
                seen += 1;
                if let Some(fault) = fault(&words, &root) {
                    faults.push(format!("{}: rbuild {}: {fault}", path.display(), words.join(" ")));
                }
            }
        }
    }
    assert!(seen > 25, "only {seen} command lines were found");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn what_does_not_exist_is_found() {
    let mut root = Cli::command();
    root.build();
    let fault = |line: &str| fault(&line.split(' ').map(str::to_owned).collect::<Vec<_>>(), &root);
    assert_eq!(fault("doctor"), Some("there is no command doctor".to_owned()));
    assert_eq!(fault("image doctor x"), Some("there is no command doctor".to_owned()));
    assert_eq!(fault("build --nosuch ."), Some("there is no flag --nosuch".to_owned()));
    assert_eq!(fault("-t x ."), None);
    assert_eq!(fault("run -it debian:12 ls --color"), None, "flags behind the image are the container's");
    assert_eq!(named_in_source(r#"see `rbuild doctor`: "rbuild login {host}" of rbuild itself"#).len(), 2);
    assert_eq!(
        named_in_document("    rbuild build .   # and `rbuild images -q`"),
        [["build", "."].as_slice(), &["images", "-q"]]
    );
}

/// The documents for users, and the sources in which messages stand.
fn texts(repository: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![repository.to_owned()];
    while let Some(directory) = open.pop() {
        for path in fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let is_apart =
                matches!(name.as_str(), "target" | "testdata" | "tests" | "testkit" | "fuzz" | "bench");
            if path.is_dir() && !is_apart && !name.starts_with('.') {
                open.push(path);
            } else if name == "mentions.rs" {
                // this file
            } else if name.ends_with(".md")
                || (name.ends_with(".rs") && path.iter().any(|part| part == "src"))
            {
                found.push(path);
            }
        }
    }
    found
}

/// Command lines between backticks, and lines of an indented block that begin with `rbuild`.
fn named_in_document(line: &str) -> Vec<Vec<String>> {
    let mut found: Vec<Vec<String>> = Vec::new();
    if let Some(rest) = line.trim_start().trim_start_matches("$ ").strip_prefix("rbuild ")
        && line.starts_with("  ")
    {
        found.extend(words(rest));
    }
    found.extend(
        line.split('`').skip(1).step_by(2).filter_map(|code| code.strip_prefix("rbuild ")).filter_map(words),
    );
    found
}

/// Command lines that stand in quotation marks of any kind.
fn named_in_source(line: &str) -> Vec<Vec<String>> {
    let quoted = |mark: char| {
        let opening = format!("{mark}rbuild ");
        let rests = line.match_indices(&opening).map(|(at, _)| &line[at + opening.len()..]);
        rests.filter_map(|rest| words(rest.split([mark, '\\']).next()?)).collect::<Vec<_>>()
    };
    ['`', '\'', '"'].into_iter().flat_map(quoted).collect()
}

/// The words of a command line up to a comment, a pipe or an ellipsis; `None` when it names no command.
fn words(line: &str) -> Option<Vec<String>> {
    let is_end = |word: &&str| matches!(*word, "#" | "|" | ">" | "&&" | "…" | "...");
    let line = line.split(';').next()?;
    let words: Vec<String> =
        line.split_whitespace().take_while(|word| !is_end(word)).map(str::to_owned).collect();
    let first = words.first()?;
    // a sentence that begins with the program's name, and places to fill in
    let is_prose = matches!(first.as_str(), "can" | "is" | "itself") || first.contains(['{', '<']);
    (!is_prose).then_some(words)
}

/// What is wrong with the command line.
fn fault(words: &[String], root: &Command) -> Option<String> {
    let line = std::iter::once("rbuild").chain(words.iter().map(String::as_str)).map(Into::into).collect();
    // what is written like a path is the context of a build
    let is_context =
        |word: &OsStr| word.to_string_lossy().contains(['.', '/', '-']) || word.eq_ignore_ascii_case("dir");
    let line = complete(line, root, is_context);
    let mut command = root;
    let mut flags_are_own = true;
    for word in line.iter().skip(1).map(|word| word.to_string_lossy()) {
        if word == "--" {
            flags_are_own = false;
        } else if word.starts_with("--") && flags_are_own {
            let name = word.trim_start_matches('-').split('=').next().unwrap_or_default();
            let named = |arg: &clap::Arg| {
                arg.get_long() == Some(name) || arg.get_all_aliases().is_some_and(|all| all.contains(&name))
            };
            if !matches!(name, "root" | "help" | "version") && !command.get_arguments().any(named) {
                return Some(format!("there is no flag --{name}"));
            }
        } else if let Some(next) = command.find_subcommand(word.as_ref()) {
            command = next;
        } else if command.has_subcommands()
            && !word.starts_with('-')
            && word.chars().all(|c| c.is_ascii_lowercase())
        {
            return Some(format!("there is no command {word}"));
        }
    }
    None
}
