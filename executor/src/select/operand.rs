//! Source operands (`spec` §6.4, §6.6): which paths of the source root an operand names.

use super::{
    Unmatched,
    found::{Found, follow, list},
    missing::not_found,
};
use crate::{
    ExecutorError, SourceRoot,
    ignore::Verdict,
    pattern::{Dialect, Pattern, clean, has_wildcards},
    rooted::{Last, file_name, is_dir, join},
};
use rustix::fs::Stat;

/// One path an operand names.
pub(crate) struct Match {
    /// Canonical, links followed.
    pub(crate) path: Vec<u8>,
    pub(crate) stat: Stat,
    /// The base name as written or matched; with `--parents`, the whole path to recreate below the destination.
    pub(crate) place: Vec<u8>,
    /// Directories to recreate (`--parents`): canonical source paths and places.
    pub(crate) parents: Vec<(Vec<u8>, Vec<u8>)>,
    /// Excluded by the ignore file itself: it counts only if something below it is kept.
    pub(crate) verdict: Verdict,
}

impl Match {
    fn of(found: Found, place: Vec<u8>) -> Self {
        Self { path: found.path, stat: found.stat, place, parents: Vec::new(), verdict: found.verdict }
    }
}

/// The paths `text` names, in order. Nothing for a glob without matches.
pub(crate) fn matches(root: &SourceRoot, text: &str) -> Result<Vec<Match>, ExecutorError> {
    let operand = rooted(text);
    if !has_wildcards(&operand) {
        let found = follow(root, operand.as_bytes(), Last::Follow)?;
        let place = file_name(operand.as_bytes()).to_vec();
        return found.map(|found| vec![Match::of(found, place)]).ok_or_else(|| not_found(root, &operand));
    }
    let mut found = Vec::new();
    for path in glob(root, &operand)? {
        let place = file_name(&path).to_vec();
        found.extend(follow(root, &path, Last::Follow)?.map(|found| Match::of(found, place)));
    }
    Ok(found)
}

/// What the pattern `text` says of the directory that it begins in; `None` when it has no wildcards.
pub(super) fn unmatched(text: &str) -> Option<Unmatched> {
    let pattern = rooted(text);
    let is_plain = |element: &&str| !has_wildcards(element);
    let directory: Vec<&str> = pattern.split('/').take_while(is_plain).collect();
    let directory = directory.join("/");
    has_wildcards(&pattern).then_some(Unmatched { pattern, directory })
}

/// See [`super::is_named`].
pub(super) fn is_named(
    root: &SourceRoot,
    sources: &[(&str, bool)],
    directory: &str,
) -> Result<bool, ExecutorError> {
    let Some(Found { path: directory, .. }) = follow(root, directory.as_bytes(), Last::Follow)? else {
        return Ok(false);
    };
    for (text, parents) in sources {
        let named = match parents {
            true => matches_with_parents(root, text).map(|found| found.matches),
            false => matches(root, text),
        };
        let named = match named {
            Err(ExecutorError::SourceNotFound { .. } | ExecutorError::PatternMatchesNothing { .. }) => {
                continue;
            }
            named => named?,
        };
        if named.iter().any(|named| is_in(&named.path, &directory) || is_in(&directory, &named.path)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// True if `path` is `directory` or below it.
fn is_in(path: &[u8], directory: &[u8]) -> bool {
    directory.is_empty()
        || path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// The paths that an operand names under `--parents`.
pub(crate) struct BelowBases {
    pub(crate) matches: Vec<Match>,
    /// Number of directories that the part before the pivot names; the root counts where there is no pivot.
    pub(crate) bases: usize,
}

/// The paths `text` names under `--parents`.
pub(crate) fn matches_with_parents(root: &SourceRoot, text: &str) -> Result<BelowBases, ExecutorError> {
    let (base, pattern) = text.split_once("/./").unwrap_or(("", text));
    let (base, pattern) = (rooted(base), rooted(pattern));
    let names = if has_wildcards(&base) { glob(root, &base)? } else { vec![base.clone().into_bytes()] };
    let bases = names.len();
    let mut found = Vec::new();
    for path in names {
        let whole = join(&path, pattern.as_bytes());
        if has_wildcards(&pattern) {
            let base = follow(root, &path, Last::Follow)?;
            let base = base.ok_or_else(|| not_found(root, &String::from_utf8_lossy(&path)))?;
            let compiled = compile(&pattern, Dialect::Ignore)?;
            let mut places = Vec::new();
            if is_dir(&base.stat) {
                search(root, &base.path, &compiled, &mut Vec::new(), &mut places)?;
            }
            for place in places {
                found.extend(recreate(root, &path, &place)?);
            }
        } else {
            match recreate(root, &path, pattern.as_bytes())? {
                Some(one) => found.push(one),
                None if has_wildcards(&base) => {}
                None => return Err(not_found(root, &String::from_utf8_lossy(&whole))),
            }
        }
    }
    Ok(BelowBases { matches: found, bases })
}

/// The operand relative to the root, cleaned: nothing leads out of it.
fn rooted(text: &str) -> String {
    clean(&format!("/{text}")).split_off(1)
}

fn compile(pattern: &str, dialect: Dialect) -> Result<Pattern, ExecutorError> {
    Pattern::compile(pattern, dialect)
        .map_err(|_| ExecutorError::PatternSyntax { pattern: pattern.to_owned() })
}

/// One path below `base` to be recreated below the destination.
fn recreate(root: &SourceRoot, base: &[u8], place: &[u8]) -> Result<Option<Match>, ExecutorError> {
    let Some(found) = follow(root, &join(base, place), Last::Keep)? else { return Ok(None) };
    let mut one = Match::of(found, place.to_vec());
    let ends = place.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    for end in ends {
        if let Some(parent) = follow(root, &join(base, &place[..end]), Last::Follow)? {
            one.parents.push((parent.path, place[..end].to_vec()));
        }
    }
    Ok(Some(one))
}

/// Paths that match a glob operand, element by element: no wildcard crosses a slash.
fn glob(root: &SourceRoot, operand: &str) -> Result<Vec<Vec<u8>>, ExecutorError> {
    let elements: Vec<&str> = operand.split('/').collect();
    let plain = elements.iter().take_while(|element| !has_wildcards(element)).count();
    let base = elements[..plain].join("/");
    let patterns = elements[plain..]
        .iter()
        .map(|element| compile(element, Dialect::GoPath))
        .collect::<Result<Vec<_>, _>>()?;
    let mut found = Vec::new();
    // a glob may match nothing, but the directory it begins in has to be there, as for Docker
    let nothing = || ExecutorError::PatternMatchesNothing {
        directory: format!("/{base}"),
        pattern: operand.to_owned(),
    };
    let start = follow(root, base.as_bytes(), Last::Follow)?.ok_or_else(nothing)?;
    if is_dir(&start.stat) {
        expand(root, &start.path, &patterns, base.as_bytes(), &mut found)?;
    }
    Ok(found)
}

fn expand(
    root: &SourceRoot,
    dir: &[u8],
    patterns: &[Pattern],
    written: &[u8],
    found: &mut Vec<Vec<u8>>,
) -> Result<(), ExecutorError> {
    let Some((pattern, rest)) = patterns.split_first() else { return Ok(()) };
    for (name, is_dir) in list(root, dir)? {
        if !pattern.matches(&name) {
            continue;
        }
        if rest.is_empty() {
            found.push(join(written, &name));
        } else if is_dir {
            expand(root, &join(dir, &name), rest, &join(written, &name), found)?;
        }
    }
    Ok(())
}

/// Places below `dir` that match a pattern which may cross directories. A match is not searched further.
fn search(
    root: &SourceRoot,
    dir: &[u8],
    pattern: &Pattern,
    place: &mut Vec<u8>,
    found: &mut Vec<Vec<u8>>,
) -> Result<(), ExecutorError> {
    for (name, is_dir) in list(root, &join(dir, place))? {
        let length = place.len();
        *place = join(place, &name);
        if pattern.matches(place) {
            found.push(place.clone());
        } else if is_dir && pattern.may_match_below(place) {
            search(root, dir, pattern, place, found)?;
        }
        place.truncate(length);
    }
    Ok(())
}
