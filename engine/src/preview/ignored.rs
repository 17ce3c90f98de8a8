//! CopyIgnoredFile: sources of COPY and ADD that the ignore file leaves out.
//!
//! The findings join those of the parser before planning, so that `# check=` options apply to them as to all others.
//! Sources that depend on variables are not judged. A file with exceptions (`!`) is not judged at all, as in Docker.

use crate::{BuildRequest, DockerfileSource};
use rbuild_parser::{Dockerfile, Escape, Instruction, Lint, Rule, Source, Transfer, WordMode, expand};
use std::{ffi::OsString, fs, path::PathBuf};

/// Adds a finding for each source that the ignore file of `request` leaves out.
pub(crate) fn add_findings(dockerfile: &mut Dockerfile, request: &BuildRequest) {
    let escape = dockerfile.directives.escape;
    let nodes = || dockerfile.stages.iter().flat_map(|stage| &stage.instructions);
    if !nodes().any(|node| from_context(&node.value).is_some()) {
        return;
    }
    let Some(patterns) = ignore_file(request).as_deref().and_then(Patterns::parse) else { return };
    let mut lints = Vec::new();
    for node in nodes() {
        let Some((verb, transfer)) = from_context(&node.value) else { continue };
        for path in transfer.sources.iter().filter_map(|source| path(source, escape)) {
            if patterns.exclude(&path) {
                let message = format!("Attempting to {verb} file {path:?} that is excluded by .dockerignore");
                lints.push(Lint { rule: Rule::CopyIgnoredFile, message, lines: node.lines });
            }
        }
    }
    dockerfile.lints.append(&mut lints);
}

/// What copies from the main context, and Docker's word for it.
fn from_context(instruction: &Instruction) -> Option<(&'static str, &Transfer)> {
    match instruction {
        Instruction::Copy(copy) if copy.from.is_none() => Some(("Copy", &copy.transfer)),
        Instruction::Add(add) => Some(("Add", &add.transfer)),
        _ => None,
    }
}

/// The ignore file that a build would use. One that cannot be read is the build's to complain of.
fn ignore_file(request: &BuildRequest) -> Option<Vec<u8>> {
    let directory = request.context.as_deref()?;
    let dockerfile = match &request.dockerfile {
        DockerfileSource::File(path) => Some(path.clone()),
        DockerfileSource::InContext => Some(directory.join("Dockerfile")),
        DockerfileSource::Text(_) => None,
    };
    let beside = dockerfile.and_then(|path| {
        let mut name = OsString::from(path);
        name.push(".dockerignore");
        fs::read(PathBuf::from(name)).ok()
    });
    beside.or_else(|| fs::read(directory.join(".dockerignore")).ok())
}

/// The cleaned path of a local source.
fn path(source: &Source, escape: Escape) -> Option<String> {
    let Source::Path(word) = source else { return None };
    let expanded = expand(&word.value, escape, WordMode::Single, &|_| None).ok()?;
    let text = expanded.words.into_iter().next().filter(|_| expanded.unset.is_empty())?;
    let remote = text.contains("://") || text.starts_with("git@");
    (!remote && !text.is_empty()).then(|| cleaned(&text))
}

/// `text` without `.`, `..` and doubled slashes, as Go's `path.Clean` has it.
fn cleaned(text: &str) -> String {
    let root = if text.starts_with('/') { "/" } else { "" };
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if !root.is_empty() => {}
            other => parts.push(other),
        }
    }
    match (root, parts.join("/")) {
        ("", path) if path.is_empty() => ".".to_owned(),
        (root, path) => format!("{root}{path}"),
    }
}

/// The patterns of an ignore file without exceptions, cut into path components.
struct Patterns(Vec<Vec<Vec<char>>>);

impl Patterns {
    /// `None` when there is nothing to judge by.
    fn parse(file: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(file);
        let lines = text.trim_start_matches('\u{feff}').lines();
        let lines: Vec<&str> = lines.filter(|line| !line.starts_with('#')).map(str::trim).collect();
        if lines.iter().any(|line| line.starts_with('!')) {
            return None;
        }
        let patterns: Vec<_> =
            lines.iter().filter(|line| !line.is_empty()).map(|line| components(&cleaned(line))).collect();
        (!patterns.is_empty()).then_some(Self(patterns))
    }

    /// Whether `path` or a directory above it is left out.
    fn exclude(&self, path: &str) -> bool {
        if matches!(path, "." | "/") {
            let everything = ["*", "**", "**/*"].map(components);
            return self.0.iter().any(|pattern| everything.contains(pattern));
        }
        let path = components(path);
        (1..=path.len()).any(|end| self.0.iter().any(|pattern| matches(pattern, &path[..end])))
    }
}

fn components(path: &str) -> Vec<Vec<char>> {
    path.trim_start_matches('/').split('/').map(|part| part.chars().collect()).collect()
}

fn matches(pattern: &[Vec<char>], path: &[Vec<char>]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        ([any, rest @ ..], _) if any.as_slice() == ['*', '*'] => {
            (rest.is_empty() && !path.is_empty())
                || (!rest.is_empty() && (0..=path.len()).any(|skipped| matches(rest, &path[skipped..])))
        }
        ([first, rest @ ..], [name, below @ ..]) => component_matches(first, name) && matches(rest, below),
        ([], _) | (_, []) => false,
    }
}

fn component_matches(pattern: &[char], name: &[char]) -> bool {
    match (pattern, name) {
        ([], name) => name.is_empty(),
        (['*', rest @ ..], _) => (0..=name.len()).any(|taken| component_matches(rest, &name[taken..])),
        (['?', rest @ ..], [_, name @ ..]) => component_matches(rest, name),
        (['\\', literal, rest @ ..], [first, name @ ..]) => literal == first && component_matches(rest, name),
        (['[', class @ ..], [first, name @ ..]) => {
            let Some(end) = class.iter().skip(1).position(|c| *c == ']').map(|at| at + 1) else {
                return false;
            };
            in_class(&class[..end], *first) && component_matches(&class[end + 1..], name)
        }
        ([literal, rest @ ..], [first, name @ ..]) => literal == first && component_matches(rest, name),
        (_, []) => false,
    }
}

/// Whether `[class]` has `c`.
fn in_class(class: &[char], c: char) -> bool {
    let (wanted, mut class) = match class {
        ['^', class @ ..] => (false, class),
        class => (true, class),
    };
    let mut found = false;
    loop {
        class = match class {
            [] => return found == wanted,
            [from, '-', to, rest @ ..] => {
                found |= (*from..=*to).contains(&c);
                rest
            }
            [one, rest @ ..] => {
                found |= *one == c;
                rest
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_exclude_what_docker_s_do() {
        for (file, path, excluded) in [
            ("*.log\n", "a.log", true),
            ("*.log\n", "dir/a.log", false),
            ("**/*.log\n", "dir/a.log", true),
            ("**/*.log\n", "a.log", true),
            ("/dir\n", "dir/file", true),
            ("dir/\n", "dir", true),
            ("./dir/*\n", "dir", false),
            ("a?[0-9]\n", "ab7", true),
            ("a[^0-9]\n", "a7", false),
            ("# nothing\n\nDockerfile\n", "Dockerfile", true),
            ("*\n", ".", true),
            ("*.log\n", ".", false),
            ("**\n", "any/thing", true),
        ] {
            let found = Patterns::parse(file.as_bytes()).unwrap().exclude(path);
            assert_eq!(found, excluded, "{file:?} and {path}");
        }
        assert!(Patterns::parse(b"*\n!kept\n").is_none());
        assert!(Patterns::parse(b"# nothing\n").is_none());
    }

    #[test]
    fn paths_are_cleaned() {
        for (text, clean) in [("./a//b/", "a/b"), ("/a/../b", "/b"), (".", "."), ("/", "/"), ("../x", "../x")]
        {
            assert_eq!(cleaned(text), clean);
        }
    }
}
