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
}
