//! Laws that hold for every word and every environment. Property tests and the fuzz target call the same functions, which
//! panic when a law is broken.

use std::collections::{BTreeMap, BTreeSet};

use rbuild_parser::{
    Escape, Expanded, MAX_EXPANSION, WordError, WordMode, WordPart, WordProblem, expand, parse_word,
};

/// Checks the laws of expansion on a word, in every mode.
pub(crate) fn check(text: &str, escape: Escape, env: &BTreeMap<String, String>) {
    let lookup = |name: &str| env.get(name).cloned();
    let [single, list, _heredoc] = [WordMode::Single, WordMode::List, WordMode::Heredoc].map(|mode| {
        let result = expand(text, escape, mode, &lookup);
        result_fits(text, env, mode, &result);
        if let Ok(expanded) = &result {
            let parts = parse_word(text, escape, mode).expect("what expands can be read");
            literals_are_kept(&parts, mode, expanded);
        }
        result
    });
    the_two_word_modes_agree(single, list);
}

fn result_fits(
    text: &str,
    env: &BTreeMap<String, String>,
    mode: WordMode,
    result: &Result<Expanded, WordError>,
) {
    let unset = match result {
        Ok(expanded) => {
            let made: usize = expanded.words.iter().map(String::len).sum();
            assert!(made <= MAX_EXPANSION.max(text.len()), "{made} bytes of {} made", text.len());
            match mode {
                WordMode::Single | WordMode::Heredoc => assert_eq!(expanded.words.len(), 1),
                WordMode::List => assert!(expanded.words.iter().all(|word| !word.is_empty())),
            }
            &expanded.unset
        }
        Err(error) => {
            assert_eq!(error.word, text);
            assert!(error.to_string().starts_with("failed to process "));
            &error.unset
        }
    };
    let mut seen = BTreeSet::new();
    for name in unset {
        assert!(!env.contains_key(name), "{name:?} is set");
        assert!(seen.insert(name), "{name:?} is named twice");
    }
}

/// A word without variables is its own text.
fn literals_are_kept(parts: &[WordPart], mode: WordMode, expanded: &Expanded) {
    let texts = parts.iter().map(|part| match part {
        WordPart::Literal { text, .. } => Some(text.as_str()),
        WordPart::Variable { .. } => None,
    });
    if let (Some(text), WordMode::Single | WordMode::Heredoc) = (texts.collect::<Option<String>>(), mode) {
        assert_eq!(expanded.words, [text]);
    }
}

/// The words of a list are the one word, cut at some of its white space.
fn the_two_word_modes_agree(single: Result<Expanded, WordError>, list: Result<Expanded, WordError>) {
    let too_long =
        |result: &Result<_, WordError>| matches!(result, Err(WordError { reason: WordProblem::TooLong, .. }));
    if too_long(&single) || too_long(&list) {
        return;
    }
    let cut = |expanded: Expanded| {
        let text = expanded.words.concat();
        (text.split_whitespace().collect::<String>(), expanded.unset)
    };
    assert_eq!(single.map(cut), list.map(cut));
}

/// Checks `#`, `##`, `%`, `%%`, `/` and `//` against matching by plain backtracking, which takes exponential time.
pub(crate) fn check_pattern(pattern: &str, value: &str) {
    let own_meaning = ['\\', '#', '%'];
    if pattern.contains(own_meaning) || pattern.len() > 8 || value.len() > 12 {
        return;
    }
    let env = |name: &str| Some(if name == "p" { pattern } else { value }.to_owned());
    let one = |word: &str| {
        let expanded = expand(word, Escape::Backslash, WordMode::Single, &env);
        expanded.expect("a correct word").words.remove(0)
    };
    let pattern: Vec<char> = pattern.chars().collect();
    let ends: Vec<usize> = value.char_indices().map(|(at, _)| at).chain([value.len()]).collect();
    let matches = |from: usize, to: usize| {
        from <= to && matches(&pattern, &value[from..to].chars().collect::<Vec<_>>())
    };
    let prefixes = || ends.iter().copied().filter(|&end| matches(0, end));
    let suffixes = || ends.iter().copied().filter(|&start| matches(start, value.len()));
    assert_eq!(one("${v#$p}"), &value[prefixes().next().unwrap_or(0)..]);
    assert_eq!(one("${v##$p}"), &value[prefixes().next_back().unwrap_or(0)..]);
    assert_eq!(one("${v%$p}"), &value[..suffixes().next_back().unwrap_or(value.len())]);
    assert_eq!(one("${v%%$p}"), &value[..suffixes().next().unwrap_or(value.len())]);

    let longest = |start: usize| ends.iter().rev().copied().find(|&end| matches(start, end));
    let mut found = ends.iter().filter_map(|&start| Some((start, longest(start)?)));
    let first = found.next();
    let replaced = first.map(|(start, end)| format!("{}R{}", &value[..start], &value[end..]));
    assert_eq!(one("${v/$p/R}"), replaced.unwrap_or_else(|| value.to_owned()));

    let mut all = String::new();
    let mut copied = 0;
    let mut behind_match = false;
    for &start in &ends {
        let Some(end) = longest(start).filter(|_| start >= copied) else { continue };
        // an empty match right behind another match does not count
        if start == end && behind_match && start == copied {
            continue;
        }
        all.push_str(&value[copied..start]);
        all.push('R');
        (copied, behind_match) = (end, start < end);
    }
    all.push_str(&value[copied..]);
    assert_eq!(one("${v//$p/R}"), all);
}

/// `*` and `?` match anything but a newline.
fn matches(pattern: &[char], value: &[char]) -> bool {
    match (pattern.split_first(), value.split_first()) {
        (None, None) => true,
        (Some(('*', rest)), None) => matches(rest, value),
        (Some(('*', rest)), Some((next, tail))) => {
            matches(rest, value) || (*next != '\n' && matches(pattern, tail))
        }
        (Some(('?', rest)), Some((next, tail))) => *next != '\n' && matches(rest, tail),
        (Some((own, rest)), Some((other, tail))) => own == other && matches(rest, tail),
        (None, Some(_)) | (Some(_), None) => false,
    }
}
