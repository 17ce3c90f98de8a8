//! "Did you mean": the nearest of a few names.

/// The greatest distance at which a name is still worth proposing.
const MAX_DISTANCE: usize = 2;

/// The candidate nearest to `value`, at most two edits away; the first of equals. `None` when `value` is a candidate.
#[must_use]
pub fn suggest<'a>(value: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut best = None;
    let mut limit = MAX_DISTANCE + 1;
    for candidate in candidates {
        if candidate == value {
            return None;
        }
        // a distance of `limit` or more cannot win, so lengths that differ as much need no matrix
        let longest_character = if value.is_ascii() && candidate.is_ascii() { 1 } else { 4 };
        if candidate.len().abs_diff(value.len()) > MAX_DISTANCE * longest_character {
            continue;
        }
        let distance = levenshtein(value, candidate);
        if distance < limit {
            limit = distance;
            best = Some(candidate);
        }
    }
    best
}

/// The candidate that is `value` but for capitals; else the nearest one, of names that are long enough for two edits not to make
/// anything of anything. For names that people invent; those of the language are few, and any of them is worth proposing.
#[must_use]
pub fn alike<'a>(value: &str, candidates: &[&'a str]) -> Option<&'a str> {
    const SHORTEST: usize = 4;
    let lower = value.to_lowercase();
    let in_capitals = candidates.iter().copied().find(|candidate| candidate.to_lowercase() == lower);
    let is_long = |name: &str| name.chars().count() >= SHORTEST;
    let long = candidates.iter().copied().filter(|candidate| is_long(candidate));
    in_capitals.or_else(|| is_long(value).then(|| suggest(value, long)).flatten())
}

fn levenshtein(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substitution = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substitution.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_first_and_none_when_equal() {
        assert_eq!(suggest("chwon", ["chmod", "chown", "from"]), Some("chmod"));
        assert_eq!(suggest("chown", ["chmod", "chown"]), None);
        assert_eq!(suggest("bar", ["foo", "baz"]), Some("baz"));
        assert_eq!(suggest("completely", ["other"]), None);
        assert_eq!(suggest("", ["ab", "abc"]), Some("ab"));
    }

    #[test]
    fn invented_names_are_alike_but_for_capitals_or_a_slip() {
        let names = ["D2", "README.md", "readme.txt", "app", "source"];
        for (name, expected) in [
            ("readme.md", Some("README.md")),
            ("APP", Some("app")),
            ("sourse", Some("source")),
            ("x", None),
            ("d1", None),
            ("apt", None),
            ("other", None),
        ] {
            assert_eq!(alike(name, &names), expected, "{name}");
        }
    }
}
