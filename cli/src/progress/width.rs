//! How many columns of a terminal a text takes.

/// Columns of `text`: wide East Asian characters and emoji take two, combining marks none.
pub(super) fn columns(text: &str) -> usize {
    text.chars().map(width).sum()
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
            used += width(*c);
            used <= limit
        })
        .collect();
    if limit > 0 {
        out.push('…');
    }
    out
}

fn width(c: char) -> usize {
    match c {
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' => 0,
        ' '..='\u{2ff}' => 1,
        // combining marks, zero-width spaces and joiners, variation selectors
        '\u{300}'..='\u{36f}'
        | '\u{200b}'..='\u{200f}'
        | '\u{20d0}'..='\u{20ff}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{303e}'
        | '\u{3041}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
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
