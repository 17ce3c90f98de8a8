//! The patterns of `${v#P}`, `${v%P}` and `${v/P/R}`: `*` and `?`, neither of which matches a newline.
//!
//! Matching follows all possibilities at once, so its time is bounded by pattern times text ([`Glob::comparisons`]).

use std::ops::Range;

use crate::word_part::{Reach, Side};

/// The most comparisons of characters for one `${…}`: about a second.
pub const MAX_MATCHING: usize = 1 << 27;

/// A pattern.
#[derive(Debug)]
pub(crate) struct Glob {
    tokens: Vec<Token>,
    /// The text of a pattern without wildcards.
    literal: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Character(char),
    /// `?`
    One,
    /// `*`
    Run,
}

impl Token {
    fn matches(self, c: char) -> bool {
        match self {
            Self::Character(own) => own == c,
            Self::One | Self::Run => c != '\n',
        }
    }
}

impl Glob {
    /// Reads a pattern. The escape character is always `\`; before `}` and `/` it vanishes, before `*`, `?` and itself
    /// it protects.
    ///
    /// # Errors
    /// The character after any other backslash, U+FFFD at the end.
    pub(crate) fn new(pattern: &str) -> Result<Self, char> {
        let mut tokens = Vec::with_capacity(pattern.len());
        let mut characters = pattern.chars();
        while let Some(c) = characters.next() {
            tokens.push(match c {
                '*' => Token::Run,
                '?' => Token::One,
                '\\' => match characters.next() {
                    Some(escaped @ ('}' | '/' | '*' | '?' | '\\')) => Token::Character(escaped),
                    Some(other) => return Err(other),
                    None => return Err(char::REPLACEMENT_CHARACTER),
                },
                other => Token::Character(other),
            });
        }
        // several stars match the same as one
        tokens.dedup_by(|a, b| *a == Token::Run && *b == Token::Run);
        let literal = tokens
            .iter()
            .map(|token| match token {
                Token::Character(c) => Some(*c),
                Token::One | Token::Run => None,
            })
            .collect();
        Ok(Self { tokens, literal })
    }

    /// The comparisons that matching `value` takes at most.
    pub(crate) fn comparisons(&self, value: &str) -> usize {
        match &self.literal {
            Some(_) => value.len(),
            None => value.len().saturating_mul(self.tokens.len()),
        }
    }

    /// `value` without its shortest or longest match at one side.
    pub(crate) fn trim<'a>(&self, value: &'a str, side: Side, reach: Reach) -> &'a str {
        match side {
            Side::Prefix => {
                let length = anchored(&self.tokens, value.chars(), reach).unwrap_or(0);
                &value[length..]
            }
            Side::Suffix => {
                let reversed: Vec<Token> = self.tokens.iter().rev().copied().collect();
                let length = anchored(&reversed, value.chars().rev(), reach).unwrap_or(0);
                &value[..value.len() - length]
            }
        }
    }

    /// The first match at or after `from`: leftmost, then longest.
    pub(crate) fn find(&self, value: &str, from: usize) -> Option<Range<usize>> {
        if let Some(literal) = &self.literal {
            let start = from + value[from..].find(literal.as_str())?;
            return Some(start..start + literal.len());
        }
        let mut states = vec![None; self.tokens.len() + 1];
        let mut next = states.clone();
        let mut best: Option<Range<usize>> = None;
        let mut position = from;
        let mut rest = value[from..].chars();
        loop {
            if best.is_none() && states[0].is_none() {
                states[0] = Some(position);
            }
            self.skip_empty_runs(&mut states);
            if let Some(start) = states[self.tokens.len()]
                && best.as_ref().is_none_or(|best| start <= best.start)
            {
                best = Some(start..position);
            }
            let Some(c) = rest.next() else { return best };
            position += c.len_utf8();
            next.fill(None);
            let limit = best.as_ref().map_or(usize::MAX, |best| best.start);
            for (index, start) in states.iter().enumerate() {
                if let (Some(start), Some(token)) = (start, self.tokens.get(index))
                    && *start <= limit
                    && token.matches(c)
                {
                    let to = if *token == Token::Run { index } else { index + 1 };
                    next[to] = earlier(next[to], *start);
                }
            }
            std::mem::swap(&mut states, &mut next);
            if best.is_some() && states.iter().all(Option::is_none) {
                return best;
            }
        }
    }

    /// Adds the positions after each `*`, because a `*` may match nothing.
    fn skip_empty_runs(&self, states: &mut [Option<usize>]) {
        for (index, token) in self.tokens.iter().enumerate() {
            if let (Token::Run, Some(start)) = (token, states[index]) {
                states[index + 1] = earlier(states[index + 1], start);
            }
        }
    }
}

fn earlier(known: Option<usize>, start: usize) -> Option<usize> {
    Some(known.map_or(start, |known| known.min(start)))
}

/// Bytes of the shortest or longest match at the start.
fn anchored(tokens: &[Token], text: impl Iterator<Item = char>, reach: Reach) -> Option<usize> {
    let mut states = vec![false; tokens.len() + 1];
    let mut next = states.clone();
    states[0] = true;
    let mut position = 0;
    let mut best = None;
    let mut text = text;
    loop {
        for (index, token) in tokens.iter().enumerate() {
            if *token == Token::Run && states[index] {
                states[index + 1] = true;
            }
        }
        if states[tokens.len()] {
            best = Some(position);
            if reach == Reach::Shortest {
                return best;
            }
        }
        let Some(c) = text.next() else { return best };
        position += c.len_utf8();
        next.fill(false);
        for (index, token) in tokens.iter().enumerate() {
            if states[index] && token.matches(c) {
                next[if *token == Token::Run { index } else { index + 1 }] = true;
            }
        }
        if !next.contains(&true) {
            return best;
        }
        std::mem::swap(&mut states, &mut next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trim<'a>(value: &'a str, pattern: &str, side: Side, reach: Reach) -> &'a str {
        Glob::new(pattern).unwrap().trim(value, side, reach)
    }

    #[test]
    fn stars_do_not_cross_lines() {
        assert_eq!(trim("a\nb", "*", Side::Prefix, Reach::Longest), "\nb");
        assert_eq!(trim("a\nb", "*", Side::Suffix, Reach::Longest), "a\n");
        assert_eq!(trim("a\nb", "?\n?", Side::Prefix, Reach::Shortest), "");
    }

    #[test]
    fn matches_are_leftmost_and_longest() {
        let find = |pattern: &str, value: &str| Glob::new(pattern).unwrap().find(value, 0);
        assert_eq!(find("b*b", "abcbcba"), Some(1..6));
        assert_eq!(find("b?", "ab\nbc"), Some(3..5));
        assert_eq!(find("*", "abc"), Some(0..3));
        assert_eq!(find("", "abc"), Some(0..0));
        assert_eq!(find("x*", "abc"), None);
        assert_eq!(find("é?", "aéb"), Some(1..4));
        assert_eq!(find("a*\nb", "xaab\naa\nb"), Some(5..9));
    }

    #[test]
    fn long_patterns_and_values_take_no_exponential_time() {
        let pattern = "*a".repeat(200) + "b";
        assert_eq!(Glob::new(&pattern).unwrap().find(&"a".repeat(5_000), 0), None);
    }
}
