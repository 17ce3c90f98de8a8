//! Cuts a command's output into lines.

/// The bytes of a line that has not ended yet.
#[derive(Clone, Debug, Default)]
pub(super) struct LineBuffer {
    begun: Vec<u8>,
}

/// A line is cut here even if it goes on, so that endless ones need no endless memory.
const LONGEST: usize = 64 * 1024;

impl LineBuffer {
    /// Hands every line that `bytes` ends to `line`, without its line end.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut line: impl FnMut(&[u8])) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            if self.begun.is_empty() {
                line(without_return(&bytes[..end]));
            } else {
                self.begun.extend_from_slice(&bytes[..end]);
                line(without_return(&self.begun));
                self.begun.clear();
            }
            bytes = &bytes[end + 1..];
        }
        self.begun.extend_from_slice(bytes);
        if self.begun.len() > LONGEST {
            line(&self.begun);
            self.begun.clear();
        }
    }

    /// The line that never ended, if there is one.
    pub(super) fn rest(&mut self) -> Option<Vec<u8>> {
        (!self.begun.is_empty()).then(|| std::mem::take(&mut self.begun))
    }
}

/// What a terminal would show of a line: what stands after the last carriage return, without escape sequences and other
/// control characters, tabs as spaces.
pub(super) fn visible(line: &[u8]) -> String {
    let shown = line.rsplit(|byte| *byte == b'\r').find(|part| !part.is_empty()).unwrap_or_default();
    let text = String::from_utf8_lossy(shown);
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => match chars.next() {
                // CSI: parameters, then one letter
                Some('[') => while chars.next().is_some_and(|c| !('\u{40}'..='\u{7e}').contains(&c)) {},
                // OSC: text up to BEL or ESC
                Some(']') => while chars.next().is_some_and(|c| c != '\u{7}' && c != '\u{1b}') {},
                _ => {}
            },
            '\t' => out.push_str("    "),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_together_across_pieces() {
        let (mut buffer, mut lines) = (LineBuffer::default(), Vec::new());
        for piece in ["a", "b\ncd\r\n", "\ne"] {
            buffer.feed(piece.as_bytes(), |line| lines.push(String::from_utf8_lossy(line).into_owned()));
        }
        assert_eq!(lines, ["ab", "cd", ""]);
        assert_eq!(buffer.rest(), Some(b"e".to_vec()));
        assert_eq!(buffer.rest(), None);
    }

    #[test]
    fn only_what_a_terminal_shows_is_left() {
        assert_eq!(visible(b"10%\r50%\r100%\r"), "100%");
        assert_eq!(visible(b"\x1b[31;1mred\x1b[0m\tx\x07\x1b]0;title\x07y"), "red    xy");
    }
}
