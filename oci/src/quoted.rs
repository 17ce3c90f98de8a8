//! Text in quotation marks, as docker's messages and listings have it.

use std::fmt::Write as _;

/// `text` in double quotes, escaped as Go's `strconv.Quote` does it.
#[must_use]
pub fn go_quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{b}' => quoted.push_str("\\v"),
            '\u{c}' => quoted.push_str("\\f"),
            c if c.is_ascii_control() => {
                // writing to a String cannot fail
                let _ = write!(quoted, "\\x{:02x}", u32::from(c));
            }
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_print_is_escaped() {
        assert_eq!(go_quoted("sh -c 'a \"b\"' é"), "\"sh -c 'a \\\"b\\\"' é\"");
        assert_eq!(go_quoted("\\\u{1b}[1m\n\t\r\u{7}\u{85}\u{7f}"), r#""\\\x1b[1m\n\t\r\a\u0085\x7f""#);
    }
}
