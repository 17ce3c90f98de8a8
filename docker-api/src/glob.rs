//! Go's `path.Match`, which `--filter reference=` and the argument of `images` are matched with.

/// True if the whole of `text` matches `pattern`: `*` and `?` stop at `/`, `[a-z]` and `[^a]` are classes, `\` quotes.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    step(&pattern, &text)
}

fn step(pattern: &[char], text: &[char]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        (['*', rest @ ..], _) => {
            let longest = text.iter().position(|c| *c == '/').unwrap_or(text.len());
            (0..=longest).any(|taken| step(rest, &text[taken..]))
        }
        (['?', rest @ ..], [c, tail @ ..]) => *c != '/' && step(rest, tail),
        (['[', class @ ..], [c, tail @ ..]) => {
            in_class(class, *c).is_some_and(|rest| *c != '/' && step(rest, tail))
        }
        (['\\', literal, rest @ ..], [c, tail @ ..]) | ([literal, rest @ ..], [c, tail @ ..]) => {
            literal == c && step(rest, tail)
        }
        (_, []) | ([], _) => false,
    }
}

/// The pattern behind the class, if `c` is in it.
fn in_class(class: &[char], c: char) -> Option<&[char]> {
    let (negated, mut rest) = match class {
        ['^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut found = false;
    loop {
        rest = match rest {
            [']', tail @ ..] => return (found != negated).then_some(tail),
            [low, '-', high, tail @ ..] if *high != ']' => {
                found |= (*low..=*high).contains(&c);
                tail
            }
            [one, tail @ ..] => {
                found |= *one == c;
                tail
            }
            [] => return None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_s_rules() {
        for (pattern, text, expected) in [
            ("deb*", "debian", true),
            ("*", "me/app", false),
            ("*/*", "me/app", true),
            ("debian:1?", "debian:12", true),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("a\\*", "a*", true),
            ("a", "ab", false),
            ("", "", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
