//! The piece of a file shown under an error.

use std::fmt::Write as _;

use crate::Lines;

const RULE: &str = "--------------------";

/// The most characters of a line that are shown.
const MOST: usize = 2000;
/// Characters that one takes which is shown as an escape.
const ESCAPED: usize = 6;
/// The most lines that are shown.
const MOST_LINES: usize = 200;

/// The box Docker prints for a place in a file: name and line, then the lines with two lines of context on either side
/// of a single line, one around several. Ends with the lower rule, without a newline. Lines outside the file are left
/// out, very long ones are cut, and so are ranges of very many.
#[must_use]
pub fn excerpt(text: &str, file_name: &str, lines: Lines) -> String {
    let context = if lines.first == lines.last { 2 } else { 1 };
    let from = lines.first.saturating_sub(context).max(1);
    let to = lines.last.saturating_add(context);
    let mut out = format!("{file_name}:{}\n{RULE}\n", lines.first);
    for (index, line) in text.split('\n').enumerate().skip(from - 1) {
        let number = index + 1;
        if number > to {
            break;
        }
        if index + 1 - from >= MOST_LINES {
            let _ = writeln!(out, "     | … to line {}", lines.last);
            break;
        }
        let mark = if (lines.first..=lines.last).contains(&number) { ">>> " } else { "    " };
        let (line, cut) = shortened(line);
        // writing to a String cannot fail
        let _ = writeln!(out, "{number:>4} | {mark}{line}{cut}");
    }
    out.push_str(RULE);
    out
}

/// The beginning of a line, and what says that it is no more than that.
fn shortened(line: &str) -> (&str, &str) {
    let mut shown = 0;
    let end = line.char_indices().find(|(_, character)| {
        shown += if character.is_control() { ESCAPED } else { 1 };
        shown > MOST
    });
    end.map_or((line, ""), |(end, _)| (&line[..end], "…"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_has_two_lines_of_context_and_the_empty_last_piece_counts() {
        let text = "FROM busybox\nCOPY --chwon=1 f /f\n";
        let shown = excerpt(text, "Dockerfile", Lines { first: 2, last: 2 });
        assert_eq!(
            shown,
            "Dockerfile:2\n--------------------\n   1 |     FROM busybox\n   2 | >>> COPY --chwon=1 f /f\n   3 |     \n--------------------"
        );
    }

    #[test]
    fn a_long_line_is_cut() {
        let shown = excerpt(&"é".repeat(70_000), "F", Lines { first: 1, last: 1 });
        assert!(shown.contains(&format!("{}…\n", "é".repeat(2000))) && shown.len() < 4200);
    }

    #[test]
    fn bytes_that_are_escaped_and_many_lines_are_cut() {
        let shown = excerpt(&"\0".repeat(10_240), "F", Lines { first: 1, last: 1 });
        assert!(shown.contains(&format!(">>> {}…\n", "\0".repeat(333))), "{shown}");
        let shown = excerpt(&"RUN a\\\n".repeat(1000), "F", Lines { first: 3, last: 900 });
        assert!(shown.ends_with(" 201 | >>> RUN a\\\n     | … to line 900\n--------------------"), "{shown}");
    }

    #[test]
    fn several_lines_have_one() {
        let shown = excerpt("a\nb\nc\nd\ne\n", "F", Lines { first: 3, last: 4 });
        assert_eq!(
            shown,
            "F:3\n--------------------\n   2 |     b\n   3 | >>> c\n   4 | >>> d\n   5 |     e\n--------------------"
        );
    }

    #[test]
    fn lines_outside_the_file_are_left_out() {
        assert_eq!(
            excerpt("a", "F", Lines { first: 9, last: 12 }),
            "F:9\n--------------------\n--------------------"
        );
        assert!(excerpt("a", "F", Lines { first: 0, last: usize::MAX }).contains(">>> a"));
    }
}
