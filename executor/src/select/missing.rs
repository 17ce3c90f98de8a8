//! The error of an operand that names nothing, and what may have been meant by it.

use super::found::{follow, list};
use crate::{
    ExecutorError, Meant, SourceRoot,
    pattern::clean,
    rooted::{Last, join, resolve},
};
use rbuild_parser::alike;
use std::collections::VecDeque;

/// Names that are compared with one that is not there.
const MOST_COMPARED: usize = 10_000;

/// The error for `path`, which names nothing, or only what the ignore file leaves out.
pub(super) fn not_found(root: &SourceRoot, path: &str) -> ExecutorError {
    let is_there =
        resolve(root.rooted(), path.as_bytes(), Last::Follow).is_ok_and(|there| there.found.is_some());
    let (name, rooted) = (root.name(), format!("/{path}"));
    if is_there {
        ExecutorError::SourceLeftOut { root: name, path: rooted }
    } else {
        ExecutorError::SourceNotFound { root: name, path: rooted, meant: meant(root, path).map(Meant::Path) }
    }
}

/// The same, if it is the error of an operand that is written as `text` and leads above the context: what is not there is
/// nothing below it.
pub(super) fn above_context(error: ExecutorError, root: &SourceRoot, text: &str) -> ExecutorError {
    let leads_above = clean(text).split('/').next() == Some("..");
    match error {
        ExecutorError::SourceNotFound { root: name, path, .. } if leads_above && root.context().is_some() => {
            ExecutorError::SourceNotFound { root: name, path, meant: Some(Meant::AboveContext) }
        }
        other => other,
    }
}

/// What may be meant by `path`, cleaned, which is not in `root`: the path in which one element is written with capitals or
/// without, or by a few characters otherwise; or the only path below `root` that ends with the same name.
fn meant(root: &SourceRoot, path: &str) -> Option<String> {
    misspelt(root, path).or_else(|| elsewhere(root, path))
}

fn misspelt(root: &SourceRoot, path: &str) -> Option<String> {
    let elements: Vec<&str> = path.split('/').collect();
    let is_there =
        |path: &str| follow(root, path.as_bytes(), Last::Follow).is_ok_and(|found| found.is_some());
    let wrong = (1..=elements.len()).find(|end| !is_there(&elements[..*end].join("/")))? - 1;
    let directory = follow(root, elements[..wrong].join("/").as_bytes(), Last::Follow).ok()??;
    let names = list(root, &directory.path).ok()?.into_iter();
    let names: Vec<String> =
        names.take(MOST_COMPARED).filter_map(|(name, _)| String::from_utf8(name).ok()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let name = alike(elements[wrong], &names)?;
    let near = [&elements[..wrong], &[name], &elements[wrong + 1..]].concat().join("/");
    is_there(&near).then_some(near)
}

/// The only path below `root` that ends with the name of `path`; `None` when there are several, or too many to look at.
fn elsewhere(root: &SourceRoot, path: &str) -> Option<String> {
    let wanted = path.rsplit('/').next()?.as_bytes();
    let (mut found, mut compared) = (None, 0);
    let mut open = VecDeque::from([Vec::new()]);
    while let Some(directory) = open.pop_front() {
        for (name, is_directory) in list(root, &directory).ok()? {
            compared += 1;
            let below = join(&directory, &name);
            if name == wanted && found.replace(below.clone()).is_some() || compared > MOST_COMPARED {
                return None;
            }
            if is_directory {
                open.push_back(below);
            }
        }
    }
    String::from_utf8(found?).ok()
}
