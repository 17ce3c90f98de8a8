//! Lists of patterns where the last match wins: ignore files and `--exclude`.
//!
//! A path is matched by a pattern when the path or one of its ancestors is, so what the ancestors matched is handed
//! down the tree ([`Inherited`]) instead of being computed again for every file. Reading the file is left to the
//! caller.

use crate::{
    ExecutorError,
    pattern::{Dialect, Pattern, clean},
};
use std::{collections::BTreeMap, path::Path};

/// Patterns and exceptions, compiled.
#[derive(Clone, Debug, Default)]
pub struct IgnoreRules {
    rules: Vec<Rule>,
    has_exceptions: bool,
    /// A pattern stands for everything in the root: `*`, `**` or `**/*`.
    has_everything: bool,
    /// The file that they stand in.
    file: Option<String>,
}

#[derive(Clone, Debug)]
struct Rule {
    pattern: Pattern,
    exception: bool,
    /// As it stands in the file, and its line there.
    written: String,
    line: usize,
}

/// Why a path is in a context, or is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IgnoreDecision {
    /// True if it is there.
    pub is_kept: bool,
    /// The pattern that decided; without one, none matches it or a directory above it.
    pub pattern: Option<DecidingPattern>,
}

/// The pattern that decided about a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecidingPattern {
    /// As it is written.
    pub text: String,
    /// Its line in the ignore file.
    pub line: usize,
    /// What it matches: the path, or a directory above it.
    pub matched: String,
}

/// Which patterns the ancestors of a path matched, a bit each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inherited(Vec<u64>);

/// The ignore file's decision about a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is there.
    Kept,
    /// It is left out.
    Excluded,
}

impl IgnoreRules {
    /// Rules that exclude nothing.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Reads an ignore file (`.dockerignore`).
    ///
    /// # Errors
    /// [`ExecutorError::PatternSyntax`] and [`ExecutorError::IllegalExclusion`].
    pub fn parse_file(content: &[u8]) -> Result<Self, ExecutorError> {
        let text = String::from_utf8_lossy(content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content));
        let (mut patterns, mut places) = (Vec::new(), Vec::new());
        for (number, line) in text.lines().enumerate() {
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            let line = line.trim();
            let (mark, rest) = line.strip_prefix('!').map_or(("", line), |rest| ("!", rest.trim()));
            if rest.is_empty() {
                return Err(ExecutorError::IllegalExclusion);
            }
            let cleaned = clean(rest);
            let anchored = cleaned.strip_prefix('/').filter(|rest| !rest.is_empty()).unwrap_or(&cleaned);
            patterns.push(format!("{mark}{anchored}"));
            places.push((number + 1, line));
        }
        let mut rules = Self::from_patterns(&patterns)?;
        for rule in &mut rules.rules {
            // a rule has the place of its pattern in the list until then
            if let Some((line, written)) = places.get(rule.line) {
                (rule.line, rule.written) = (*line, (*written).to_owned());
            }
        }
        Ok(rules)
    }

    /// Rules from patterns as `--exclude` gives them.
    ///
    /// # Errors
    /// As [`Self::parse_file`].
    pub fn from_patterns<S: AsRef<str>>(patterns: &[S]) -> Result<Self, ExecutorError> {
        let mut rules = Vec::with_capacity(patterns.len());
        let mut has_everything = false;
        for (line, written) in patterns.iter().enumerate() {
            let text = written.as_ref().trim();
            if text.is_empty() {
                continue;
            }
            let cleaned = clean(text);
            let (exception, body) =
                cleaned.strip_prefix('!').map_or((false, cleaned.as_str()), |body| (true, body));
            if exception && body.is_empty() {
                return Err(ExecutorError::IllegalExclusion);
            }
            let pattern = Pattern::compile(body, Dialect::Ignore)
                .map_err(|_| ExecutorError::PatternSyntax { pattern: written.as_ref().to_owned() })?;
            has_everything |= !exception && matches!(body, "*" | "**" | "**/*");
            rules.push(Rule { pattern, exception, written: text.to_owned(), line });
        }
        let has_exceptions = rules.iter().any(|rule| rule.exception);
        Ok(Self { rules, has_exceptions, has_everything, file: None })
    }

    /// True if `path`, cleaned, surely names something that is left out: it or a directory above it is excluded, and there
    /// are no exceptions. The root is left out when a pattern stands for everything in it.
    #[must_use]
    pub fn excludes(&self, path: &str) -> bool {
        match path {
            _ if self.has_exceptions => false,
            "." | "/" => self.has_everything,
            path => self.descend(path.as_bytes()).0 == Verdict::Excluded,
        }
    }

    /// The same rules, which stand in `file`.
    pub(crate) fn of_file(self, file: &Path) -> Self {
        Self { file: Some(file.display().to_string()), ..self }
    }

    /// The file that they stand in, if there is one.
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// Why `path`, which is relative and cleaned, is kept or left out.
    #[must_use]
    pub fn decision(&self, path: &[u8]) -> IgnoreDecision {
        let (mut inherited, mut verdict) = (Inherited::default(), Verdict::Kept);
        // the shortest part of the path that each pattern matches, and the pattern that has the last word
        let (mut matched, mut last): (BTreeMap<usize, usize>, _) = (BTreeMap::new(), None);
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        for end in ends.chain([path.len()]).filter(|end| *end > 0) {
            let mut below = Inherited(vec![0; self.rules.len().div_ceil(64)]);
            last = None;
            verdict = self.walk(&path[..end], &inherited, |index| {
                below.0[index / 64] |= 1 << (index % 64);
                matched.entry(index).or_insert(end);
                last = Some(index);
            });
            inherited = below;
        }
        let pattern = last.map(|index| DecidingPattern {
            text: self.rules[index].written.clone(),
            line: self.rules[index].line,
            matched: String::from_utf8_lossy(&path[..matched[&index]]).into_owned(),
        });
        IgnoreDecision { is_kept: verdict == Verdict::Kept, pattern }
    }

    /// True if nothing is excluded.
    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// True if a directory's exclusion says nothing about what is below it.
    pub(crate) fn has_exceptions(&self) -> bool {
        self.has_exceptions
    }

    /// Judges `path`, whose ancestors matched `above`.
    pub(crate) fn judge(&self, path: &[u8], above: &Inherited) -> Verdict {
        self.walk(path, above, |_| {})
    }

    /// Judges directory `path` and says what its children inherit.
    pub(crate) fn enter(&self, path: &[u8], above: &Inherited) -> (Verdict, Inherited) {
        let mut below = Inherited(vec![0; self.rules.len().div_ceil(64)]);
        let verdict = self.walk(path, above, |index| below.0[index / 64] |= 1 << (index % 64));
        (verdict, below)
    }

    /// True if something below the excluded directory `dir` might be re-included.
    pub(crate) fn may_keep_below(&self, dir: &[u8]) -> bool {
        self.has_exceptions
            && self.rules.iter().any(|rule| rule.exception && rule.pattern.may_match_below(dir))
    }

    /// Judges `path` without knowing about its ancestors yet, and says what its children inherit.
    pub(crate) fn descend(&self, path: &[u8]) -> (Verdict, Inherited) {
        let mut inherited = Inherited::default();
        let mut verdict = Verdict::Kept;
        if path.is_empty() || path == b"." || self.is_empty() {
            return (verdict, inherited);
        }
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        for end in ends.chain([path.len()]) {
            (verdict, inherited) = self.enter(&path[..end], &inherited);
        }
        (verdict, inherited)
    }

    fn walk(&self, path: &[u8], above: &Inherited, mut matched: impl FnMut(usize)) -> Verdict {
        let mut verdict = Verdict::Kept;
        for (index, rule) in self.rules.iter().enumerate() {
            let inherited = above.0.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 == 1);
            // a pattern can only flip the state: testing it otherwise is wasted
            let flips = rule.exception == (verdict == Verdict::Excluded);
            if inherited || (flips && rule.pattern.matches(path)) {
                matched(index);
                verdict = if rule.exception { Verdict::Kept } else { Verdict::Excluded };
            }
        }
        verdict
    }
}
