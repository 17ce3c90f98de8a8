//! The last lines of a command's output, for the error of a step that fails.

use std::{collections::VecDeque, time::Duration};

/// Bytes of one line that are kept at most, give or take a piece.
const LONGEST_LINE: usize = 64 << 10;
/// Lines that are kept.
const LINES: usize = 20;

/// The last lines of an output, each with its time.
#[derive(Default)]
pub(crate) struct OutputTail {
    lines: VecDeque<String>,
    unfinished: Vec<u8>,
}

impl OutputTail {
    /// Adds what was written `elapsed` after the command began.
    pub(crate) fn push(&mut self, mut bytes: &[u8], elapsed: Duration) {
        // a program may write millions of lines, of which the last ones are all that counts
        let mut ends = bytes.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
        if let Some((end, _)) = ends.nth(LINES) {
            self.lines.clear();
            self.unfinished.clear();
            bytes = &bytes[end + 1..];
        }
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            // a progress bar can write for hours without ending a line
            if self.unfinished.len() < LONGEST_LINE {
                self.unfinished.extend_from_slice(piece);
            }
            if piece.ends_with(b"\n") {
                self.end_line(elapsed);
            }
        }
    }

    /// The lines, oldest first.
    pub(crate) fn into_lines(mut self) -> Vec<String> {
        if !self.unfinished.is_empty() {
            self.end_line(Duration::ZERO);
        }
        self.lines.into()
    }

    fn end_line(&mut self, elapsed: Duration) {
        let text = String::from_utf8_lossy(&self.unfinished);
        self.lines.push_back(format!("{:.3} {}", elapsed.as_secs_f64(), text.trim_end_matches(['\n', '\r'])));
        self.unfinished.clear();
        if self.lines.len() > LINES {
            self.lines.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_in_whatever_pieces_they_come() {
        let text: String = (0..1000).map(|number| format!("{number}\n")).collect::<String>() + "rest";
        let expected: Vec<String> = (981..1000).map(|number| number.to_string()).collect();
        for size in [1, 7, 100, 2000, 10_000] {
            let mut tail = OutputTail::default();
            text.as_bytes().chunks(size).for_each(|piece| tail.push(piece, Duration::ZERO));
            let lines = tail.into_lines();
            let words: Vec<&str> = lines.iter().map(|line| line.split_once(' ').unwrap().1).collect();
            assert_eq!(
                (words[..19].to_vec(), words[19]),
                (expected.iter().map(String::as_str).collect(), "rest")
            );
        }
    }
}
