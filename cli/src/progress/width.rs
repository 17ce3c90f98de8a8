//! How many columns of a terminal a text takes.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns of `text`: wide East Asian characters and emoji take two, combining marks none.
pub(super) fn columns(text: &str) -> usize {
    text.width()
}

/// The beginning of `text` that fits into `limit` columns, ending in `…` when something is missing.
pub(super) fn fitted(text: &str, limit: usize) -> String {
    if columns(text) <= limit {
        return text.to_owned();
    }
    let mut used = 1;
    let mut out: String = text
        .chars()
        .take_while(|c| {
            used += c.width().unwrap_or(0);
            used <= limit
        })
        .collect();
    if limit > 0 {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_by_columns() {
        assert_eq!((columns("abc"), columns("日本"), columns("e\u{301}")), (3, 4, 1));
        assert_eq!(fitted("abcdef", 6), "abcdef");
        assert_eq!(fitted("abcdefg", 6), "abcde…");
        assert_eq!(fitted("日本語", 5), "日本…");
        assert_eq!(fitted("ab", 0), "");
    }
}
