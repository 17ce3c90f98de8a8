//! Text on its way to people. Names, histories, messages and the output of steps are written by strangers, and a terminal
//! obeys what it is shown: it moves, retitles, hides, reorders, fills the clipboard.
//!
//! Invariant: a [`Shown`] holds such characters only where one of its own methods has put them. All output for people is a
//! `Shown` ([`crate::streams`] takes nothing else), so a new command cannot forget to escape.

use std::{borrow::Cow, fmt, fmt::Write};

/// Text in which nothing is left that a terminal would obey, but for what the methods say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown(Vec<u8>);

/// The choice of colours in text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Color {
    /// Escape sequences are understood and wanted.
    On,
    /// Plain text only.
    Off,
}

/// How text is set off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    /// Not at all.
    None,
    /// Bold.
    Bold,
    /// Bold and red.
    BoldRed,
    /// Faint.
    Dim,
    /// Blue.
    Blue,
    /// Red.
    Red,
    /// Yellow.
    Yellow,
}

/// The treatment of escape sequences in the output of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StepOutput {
    /// No terminal reads it: its bytes stay as they are.
    Unchanged,
    /// Colors and the like stay, to the end of the line; the rest is escaped.
    Colored,
    /// Colors are dropped; the rest is escaped.
    Plain,
}

impl Shown {
    /// Adds `text`, escaped. Line ends and tabs stay.
    pub(crate) fn text(&mut self, text: &str) {
        self.0.extend_from_slice(escaped(text, Lines::Several).as_bytes());
    }

    /// Adds `text`, escaped, in color.
    pub(crate) fn painted(&mut self, text: &str, paint: Paint, color: Color) {
        let code = match (color, paint) {
            (Color::Off, _) | (Color::On, Paint::None) => return self.text(text),
            (Color::On, Paint::Bold) => "1",
            (Color::On, Paint::BoldRed) => "1;31",
            (Color::On, Paint::Dim) => "2",
            (Color::On, Paint::Blue) => "34",
            (Color::On, Paint::Red) => "31",
            (Color::On, Paint::Yellow) => "33",
        };
        self.0.extend_from_slice(format!("\u{1b}[{code}m").as_bytes());
        self.text(text);
        self.0.extend_from_slice(RESET.as_bytes());
    }

    /// Adds a line of a step's output.
    pub(crate) fn step_line(&mut self, line: &[u8], output: StepOutput) {
        match output {
            StepOutput::Unchanged => self.0.extend_from_slice(line),
            StepOutput::Colored => self.0.extend_from_slice(obeyed_colors_only(line).as_bytes()),
            StepOutput::Plain => self.text(&without_colors(line)),
        }
        self.0.push(b'\n');
    }

    /// Makes the terminal forget the last `rows` lines.
    pub(crate) fn take_back(&mut self, rows: usize) {
        if rows > 0 {
            self.0.extend_from_slice(format!("\u{1b}[{rows}A\r\u{1b}[J").as_bytes());
        }
    }

    /// Moves what `other` holds to the end.
    pub(crate) fn append(&mut self, other: &mut Self) {
        self.0.append(&mut other.0);
    }

    /// Adds what `other` holds.
    pub(crate) fn append_copy(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }

    /// Its length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// True if there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Its bytes, for a stream.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<&str> for Shown {
    fn from(text: &str) -> Self {
        let mut shown = Self::default();
        shown.text(text);
        shown
    }
}

/// As [`Shown::text`]; never fails.
impl Write for Shown {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.text(text);
        Ok(())
    }
}

/// The sequence that ends all colors.
const RESET: &str = "\u{1b}[0m";
/// Characters of a color sequence; longer ones are made to hurt.
const LONGEST_COLOR: usize = 32;

/// `text` in one line: with its line ends and tabs escaped as well, for what must not look like several lines or columns.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    escaped(text, Lines::One)
}

/// `text` in one line with its tabs, as docker shows the name of a step.
pub(crate) fn one_line_with_tabs(text: &str) -> Cow<'_, str> {
    escaped(text, Lines::OneWithTabs)
}

/// A line of a step's output without its colors and, if it was overwritten, as it stood last; tabs are spaces.
pub(crate) fn without_colors(line: &[u8]) -> String {
    let text = decoded(last_written(line));
    let mut out = String::with_capacity(text.len());
    for part in Parts(&text) {
        match part {
            Part::Color(_) => {}
            Part::Text(text) => out.push_str(&one_line(&text.replace('\t', "    "))),
        }
    }
    out
}

/// A line of a step's output with its colors, which end with it.
fn obeyed_colors_only(line: &[u8]) -> String {
    let text = decoded(last_written(line));
    let (mut out, mut colored) = (String::with_capacity(text.len()), false);
    for part in Parts(&text) {
        match part {
            Part::Color(sequence) => {
                colored = true;
                out.push_str(sequence);
            }
            Part::Text(text) => out.push_str(&escaped(text, Lines::Several)),
        }
    }
    if colored {
        out.push_str(RESET);
    }
    out
}

/// The treatment of line ends and tabs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lines {
    Several,
    OneWithTabs,
    One,
}

/// `text` with `\u` and four digits, as JSON has it, for each character that a terminal would obey or that is invisible: so JSON stays
/// the same JSON.
fn escaped(text: &str, lines: Lines) -> Cow<'_, str> {
    // nearly all text, told byte by byte
    let is_plain = |byte: u8| match byte {
        b' '..=b'~' => true,
        b'\t' => lines != Lines::One,
        b'\n' => lines == Lines::Several,
        _ => false,
    };
    if text.bytes().all(is_plain) || text.chars().all(|c| !is_obeyed(c)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let meant = match c {
            '\t' => lines != Lines::One,
            '\n' => lines == Lines::Several,
            '\r' => lines == Lines::Several && rest.peek() == Some(&'\n'),
            _ => false,
        };
        match c {
            c if meant || !is_obeyed(c) => out.push(c),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // writing to memory cannot fail
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    Cow::Owned(out)
}

/// Control characters (C0, DEL, C1), and those of Unicode that are not seen but reorder, join, separate or tag text.
fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The text after the last carriage return, because a terminal would have written it over the rest.
fn last_written(line: &[u8]) -> &[u8] {
    line.rsplit(|byte| *byte == b'\r').find(|part| !part.is_empty()).unwrap_or_default()
}

/// `bytes` as text, with `\xNN` for what is not UTF-8.
fn decoded(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            // writing to memory cannot fail
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// A piece of a step's output.
enum Part<'a> {
    Text(&'a str),
    /// A sequence that sets colors and the like (SGR).
    Color(&'a str),
}

/// Takes text apart. What erases to the end of a line is left out: grep and gcc write it after every color.
struct Parts<'a>(&'a str);

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        loop {
            if self.0.is_empty() {
                return None;
            }
            let escape = self.0.find('\u{1b}').unwrap_or(self.0.len());
            let (text, rest) = self.0.split_at(escape);
            if !text.is_empty() {
                self.0 = rest;
                return Some(Part::Text(text));
            }
            let parameters = rest.strip_prefix("\u{1b}[").unwrap_or_default();
            let length = parameters.bytes().take_while(|b| matches!(b, b'0'..=b'9' | b';' | b':')).count();
            let end = "\u{1b}[".len() + length + 1;
            match parameters.as_bytes().get(length) {
                Some(b'm') if length <= LONGEST_COLOR => {
                    let (sequence, after) = rest.split_at(end);
                    self.0 = after;
                    return Some(Part::Color(sequence));
                }
                Some(b'K') if length <= 1 => self.0 = &rest[end..],
                _ => {
                    let (text, rest) = rest.split_at(1);
                    self.0 = rest;
                    return Some(Part::Text(text));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(add: impl FnOnce(&mut Shown)) -> String {
        let mut shown = Shown::default();
        add(&mut shown);
        String::from_utf8(shown.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn nothing_a_terminal_obeys_is_left_of_text() {
        for (text, expected) in [
            ("plain ünï 日本 👍\n\tx\r\n", "plain ünï 日本 👍\n\tx\r\n"),
            ("\u{1b}]0;title\u{7}", "\\u001b]0;title\\u0007"),
            ("a\rb\u{8}\u{7f}\0", "a\\rb\\u0008\\u007f\\u0000"),
            ("\u{9b}2J\u{90}q\u{9c}", "\\u009b2J\\u0090q\\u009c"),
            ("a\u{202e}b\u{2066}c\u{200b}d\u{feff}", "a\\u202eb\\u2066c\\u200bd\\ufeff"),
            ("tag\u{e0041}", "tag\\udb40\\udc41"),
        ] {
            assert_eq!(shown(|shown| shown.text(text)), expected);
            assert_eq!(shown(|shown| write!(shown, "{text}").unwrap()), expected);
            assert_eq!(shown(|shown| shown.painted(text, Paint::Red, Color::Off)), expected);
            assert_eq!(
                shown(|s| s.painted(text, Paint::Red, Color::On)),
                format!("\u{1b}[31m{expected}\u{1b}[0m")
            );
        }
        assert_eq!(one_line("a\nb\tc\r\n"), "a\\nb\\tc\\r\\n");
        assert_eq!(one_line_with_tabs("a\nb\tc\r\n"), "a\\nb\tc\\r\\n");
    }

    #[test]
    fn no_character_of_any_kind_gets_through() {
        for c in ('\0'..=char::MAX).filter(|c| is_obeyed(*c) && !matches!(c, '\n' | '\t')) {
            let text = shown(|shown| shown.text(&c.to_string()));
            assert!(text.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{c:?} is shown as {text:?}");
        }
    }

    #[test]
    fn escaped_json_is_the_same_json() {
        let value = serde_json::json!({"a": "\u{1b}\u{7f}\u{9b}\u{202e}\u{e0041}\n\"\\"});
        let text = shown(|shown| shown.text(&value.to_string()));
        assert!(
            text.is_ascii() && serde_json::from_str::<serde_json::Value>(&text).unwrap() == value,
            "{text}"
        );
    }

    #[test]
    fn of_a_step_s_output_colors_stay_on_a_terminal_and_end_with_the_line() {
        let lines: [(&[u8], &str, &str); 8] = [
            (b"plain", "plain", "plain"),
            (b"\x1b[31;1mred\x1b[0m\tx", "\u{1b}[31;1mred\u{1b}[0m\tx\u{1b}[0m", "red    x"),
            (b"\x1b[01;31m\x1b[Kerror\x1b[m\x1b[K", "\u{1b}[01;31merror\u{1b}[m\u{1b}[0m", "error"),
            (b"10%\r50%\r100%\r", "100%", "100%"),
            (
                b"\x1b]0;title\x07\x1b[2J",
                "\\u001b]0;title\\u0007\\u001b[2J",
                "\\u001b]0;title\\u0007\\u001b[2J",
            ),
            (b"\x1b]52;c;cm0K\x1b\\", "\\u001b]52;c;cm0K\\u001b\\", "\\u001b]52;c;cm0K\\u001b\\"),
            (b"\xff\xc2\x9b1A", "\\xff\\u009b1A", "\\xff\\u009b1A"),
            (b"\x1b[\x1b[3", "\\u001b[\\u001b[3", "\\u001b[\\u001b[3"),
        ];
        for (line, colored, plain) in lines {
            assert_eq!(shown(|shown| shown.step_line(line, StepOutput::Colored)), format!("{colored}\n"));
            assert_eq!(shown(|shown| shown.step_line(line, StepOutput::Plain)), format!("{plain}\n"));
            let mut unchanged = Shown::default();
            unchanged.step_line(line, StepOutput::Unchanged);
            assert_eq!(unchanged.as_bytes(), [line, b"\n"].concat());
        }
        let endless = format!("\u{1b}[{}m", "1;".repeat(1000));
        let text = shown(|shown| shown.step_line(endless.as_bytes(), StepOutput::Colored));
        assert!(text.starts_with("\\u001b["), "{text}");
    }
}
