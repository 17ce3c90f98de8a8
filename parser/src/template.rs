//! The replacement of `${v//P/R}`. In Docker it is a template of a regular expression without groups, and it has the same
//! meaning here: `$0` is the match, any other name is empty, `$$` is a dollar.

use crate::glob::Glob;

/// The longest text an expansion may make, in bytes.
pub const MAX_EXPANSION: usize = 16 << 20;

/// `value` with every match replaced; `None` when the result is longer than [`MAX_EXPANSION`].
pub(crate) fn replace_all(value: &str, glob: &Glob, template: &str) -> Option<String> {
    let mut out = String::with_capacity(value.len());
    let mut copied = 0;
    let mut from = 0;
    while from <= value.len() {
        let Some(found) = glob.find(value, from) else { break };
        out.push_str(&value[copied..found.start]);
        // an empty match right after another match does not count
        if found.end > copied || found.start == 0 {
            push_template(&mut out, template, &value[found.clone()]);
        }
        if out.len() > MAX_EXPANSION {
            return None;
        }
        copied = found.end;
        let width = value[from..].chars().next().map_or(1, char::len_utf8);
        from = found.end.max(from + width);
    }
    out.push_str(&value[copied..]);
    Some(out)
}

fn push_template(out: &mut String, template: &str, matched: &str) {
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        rest = after;
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = name(rest) {
            if name == "0" {
                out.push_str(matched);
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
}

/// The name after a `$`, braces removed, and what follows it.
fn name(text: &str) -> Option<(&str, &str)> {
    let braced = text.strip_prefix('{');
    let text = braced.unwrap_or(text);
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let (name, after) = text.split_at(end);
    if name.is_empty() {
        return None;
    }
    match braced {
        Some(_) => Some((name, after.strip_prefix('}')?)),
        None => Some((name, after)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(value: &str, pattern: &str, template: &str) -> String {
        replace_all(value, &Glob::new(pattern).unwrap(), template).unwrap()
    }

    #[test]
    fn empty_matches_stand_between_characters_but_not_behind_matches() {
        assert_eq!(replaced("abc", "", "-"), "-a-b-c-");
        assert_eq!(replaced("abc", "*", "-"), "-");
        assert_eq!(replaced("", "", "-"), "-");
        assert_eq!(replaced("é", "", "-"), "-é-");
    }

    #[test]
    fn templates_know_the_match_and_dollars() {
        assert_eq!(replaced("abc", "b", "[$0]"), "a[b]c");
        assert_eq!(replaced("abc", "b", "[${0}$1$name]"), "a[b]c");
        assert_eq!(replaced("abc", "b", "$$0 $ ${ ${x"), "a$0 $ ${ ${xc");
    }

    #[test]
    fn results_have_a_limit() {
        let value = "x".repeat(10_000);
        assert_eq!(replace_all(&value, &Glob::new("x").unwrap(), &value), None);
    }
}
