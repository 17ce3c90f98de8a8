//! Glob patterns over slash-separated relative paths, in the two dialects builds have: Go's `path.Match` (source
//! operands) and the ignore-file language, which adds `**` (Docker's patternmatcher, whose treatment of leading and
//! trailing `**` as plain suffix and prefix tests is part of the language).
//!
//! A pattern is compiled once. Most patterns of real ignore files are literals, `**/name`, `name/**` or `**/*.ext`:
//! the first three never reach the token matcher, the last is decided by its literal ending.

/// Which `*` a pattern knows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `**` crosses directories.
    Ignore,
    /// `**` is `*`, as in Go's `path.Match`.
    GoPath,
}

/// A pattern Go's path matching refuses.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SyntaxError;

/// A compiled pattern; matches whole paths.
#[derive(Clone, Debug)]
pub(crate) enum Pattern {
    /// The path itself.
    Exact(Vec<u8>),
    /// Paths beginning so (`a/**`).
    Prefix(Vec<u8>),
    /// Paths ending so (`**/foo`).
    Suffix(Vec<u8>),
    /// Anything else.
    Glob(Glob),
}

/// Tokens with the literal ends that decide most comparisons.
#[derive(Clone, Debug)]
pub(crate) struct Glob {
    tokens: Vec<Token>,
    head: Vec<u8>,
    tail: Vec<u8>,
}

#[derive(Clone, Debug)]
enum Token {
    Literal(Vec<u8>),
    /// `?`
    One,
    /// `*`
    Star,
    /// `[a-z]`
    Class(Class),
    /// `**/` in front or in the middle: `(.*/)?`
    Elements,
    /// `**` at the end
    Rest,
}

#[derive(Clone, Debug)]
struct Class {
    negated: bool,
    ranges: Vec<(char, char)>,
}

impl Pattern {
    /// Compiles `text`.
    pub(crate) fn compile(text: &str, dialect: Dialect) -> Result<Self, SyntaxError> {
        Compiler { rest: text, tokens: Vec::new(), dialect }.compile(text)
    }

    /// True if the whole of `path` matches.
    pub(crate) fn matches(&self, path: &[u8]) -> bool {
        match self {
            Self::Exact(text) => path == text,
            Self::Prefix(text) => path.starts_with(text),
            // `**/foo` is `foo` too
            Self::Suffix(text) => path.ends_with(text) || text.strip_prefix(b"/") == Some(path),
            Self::Glob(glob) => {
                path.len() >= glob.tail.len()
                    && path.starts_with(&glob.head)
                    && path.ends_with(&glob.tail)
                    && matches_tokens(&glob.tokens, path)
            }
        }
    }

    /// True if a path below directory `dir` might match; false negatives do not occur.
    pub(crate) fn may_match_below(&self, dir: &[u8]) -> bool {
        let compatible = |head: &[u8]| {
            let common = head.len().min(dir.len());
            head[..common] == dir[..common] && (head.len() <= dir.len() || head[dir.len()] == b'/')
        };
        match self {
            Self::Exact(text) => text.len() > dir.len() && compatible(text),
            Self::Prefix(text) => compatible(text),
            Self::Suffix(_) => true,
            Self::Glob(glob) => compatible(&glob.head),
        }
    }
}

/// True if `text` has an unescaped wildcard, so that it is a glob and not a name.
pub(crate) fn has_wildcards(text: &str) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'*' | b'?' | b'[' => return true,
            _ => {}
        }
    }
    false
}

/// Go's `path.Clean`: the shortest equal path; `.` for the empty one.
pub(crate) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if rooted => {}
            name => parts.push(name),
        }
    }
    match (rooted, parts.join("/")) {
        (true, joined) => format!("/{joined}"),
        (false, joined) if joined.is_empty() => ".".to_owned(),
        (false, joined) => joined,
    }
}

struct Compiler<'a> {
    rest: &'a str,
    tokens: Vec<Token>,
    dialect: Dialect,
}

impl Compiler<'_> {
    fn compile(mut self, text: &str) -> Result<Pattern, SyntaxError> {
        let mut special = false;
        while let Some(c) = self.next() {
            match c {
                '*' => self.stars(),
                '?' => self.tokens.push(Token::One),
                '[' => {
                    let class = self.class()?;
                    self.tokens.push(Token::Class(class));
                }
                '\\' => {
                    let escaped = self.next().ok_or(SyntaxError)?;
                    special = true;
                    self.literal(escaped);
                }
                other => self.literal(other),
            }
        }
        Ok(match self.tokens.as_slice() {
            [] => Pattern::Exact(Vec::new()),
            [Token::Literal(literal)] => Pattern::Exact(literal.clone()),
            // the text and not the tokens: `**/foo` and `**foo` differ only there
            [Token::Elements | Token::Rest] | [Token::Elements, Token::Literal(_)] if !special => {
                Pattern::Suffix(text.as_bytes()[2..].to_vec())
            }
            [Token::Literal(_), Token::Rest] if !special => {
                Pattern::Prefix(text.as_bytes()[..text.len() - 2].to_vec())
            }
            _ => Pattern::Glob(Glob::new(self.tokens)),
        })
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn literal(&mut self, c: char) {
        let mut buffer = [0; 4];
        let bytes = c.encode_utf8(&mut buffer).as_bytes();
        match self.tokens.last_mut() {
            Some(Token::Literal(text)) => text.extend_from_slice(bytes),
            _ => self.tokens.push(Token::Literal(bytes.to_vec())),
        }
    }

    /// The part after a `*`.
    fn stars(&mut self) {
        if self.dialect == Dialect::GoPath || !self.rest.starts_with('*') {
            if !matches!(self.tokens.last(), Some(Token::Star)) {
                self.tokens.push(Token::Star);
            }
            return;
        }
        self.rest = &self.rest[1..];
        self.rest = self.rest.strip_prefix('/').unwrap_or(self.rest);
        self.tokens.push(if self.rest.is_empty() { Token::Rest } else { Token::Elements });
    }

    /// The class after a `[`, as Go's `path.Match` reads it.
    fn class(&mut self) -> Result<Class, SyntaxError> {
        let negated = self.rest.starts_with('^');
        if negated {
            self.rest = &self.rest[1..];
        }
        let mut ranges = Vec::new();
        loop {
            if !ranges.is_empty() && self.rest.starts_with(']') {
                self.rest = &self.rest[1..];
                return Ok(Class { negated, ranges });
            }
            let low = self.class_char()?;
            let mut high = low;
            if self.rest.starts_with('-') {
                self.rest = &self.rest[1..];
                high = self.class_char()?;
            }
            ranges.push((low, high));
        }
    }

    fn class_char(&mut self) -> Result<char, SyntaxError> {
        match self.next() {
            None | Some('-' | ']') => Err(SyntaxError),
            Some('\\') => self.next().ok_or(SyntaxError),
            Some(c) => Ok(c),
        }
    }
}

impl Glob {
    fn new(tokens: Vec<Token>) -> Self {
        let end = |token: Option<&Token>| match token {
            Some(Token::Literal(text)) => text.clone(),
            _ => Vec::new(),
        };
        Self { head: end(tokens.first()), tail: end(tokens.last()), tokens }
    }
}

impl Class {
    fn contains(&self, c: char) -> bool {
        self.ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != self.negated
    }
}

/// Backtracking over the few tokens a pattern has.
fn matches_tokens(tokens: &[Token], path: &[u8]) -> bool {
    let Some((token, rest)) = tokens.split_first() else { return path.is_empty() };
    match token {
        Token::Literal(text) => {
            path.strip_prefix(text.as_slice()).is_some_and(|path| matches_tokens(rest, path))
        }
        Token::One => matches!(first_char(path), Some((c, tail)) if c != '/' && matches_tokens(rest, tail)),
        Token::Class(class) => {
            matches!(first_char(path), Some((c, tail)) if class.contains(c) && matches_tokens(rest, tail))
        }
        Token::Star => {
            let run = path.iter().position(|byte| *byte == b'/').unwrap_or(path.len());
            (0..=run).rev().any(|taken| matches_tokens(rest, &path[taken..]))
        }
        Token::Elements => {
            matches_tokens(rest, path)
                || (0..path.len()).any(|at| path[at] == b'/' && matches_tokens(rest, &path[at + 1..]))
        }
        Token::Rest => true,
    }
}

/// The first character; a byte that is not UTF-8 counts as one, as in Go.
fn first_char(path: &[u8]) -> Option<(char, &[u8])> {
    let first = *path.first()?;
    let length = match first {
        0..=0x7f => return Some((char::from(first), &path[1..])),
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    };
    let text = path.get(..length).and_then(|bytes| std::str::from_utf8(bytes).ok());
    match text.and_then(|text| text.chars().next()) {
        Some(c) => Some((c, &path[length..])),
        None => Some((char::REPLACEMENT_CHARACTER, &path[1..])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syntax_is_go_s() {
        for bad in
            ["[", "[]", "[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "a[", "a\\", "[a", "[^", "[^bc", "*[\\"]
        {
            assert!(Pattern::compile(bad, Dialect::Ignore).is_err(), "{bad}");
        }
        for good in ["[]", "[a-z]", "[\\]a]", "[\\-]", "a]", "*", "", "[^a]", "[^-a]"] {
            let bad = ["[]", "[^-a]"].contains(&good);
            assert_eq!(Pattern::compile(good, Dialect::Ignore).is_err(), bad, "{good}");
        }
    }

    #[test]
    fn clean_is_go_s() {
        for (path, clean_path) in [
            ("", "."),
            ("a/b/../c", "a/c"),
            ("./x/", "x"),
            ("/..", "/"),
            ("../a", "../a"),
            ("a/..", "."),
            ("//a//b", "/a/b"),
        ] {
            assert_eq!(clean(path), clean_path);
        }
    }
}
