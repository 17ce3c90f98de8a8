//! Physical lines: the bytes of the file, cut at newlines, without the line endings and the byte-order mark.
//!
//! Invariant: offsets are those of the file as it was given, byte-order mark included.

use std::borrow::Cow;

use crate::{Lines, MAX_LINE, ParseError, Problem, Span};

const BYTE_ORDER_MARK: &str = "\u{feff}";

/// One physical line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PhysicalLine<'a> {
    /// The line with its newline.
    pub(crate) raw: &'a str,
    /// Offset of its first byte in the file.
    pub(crate) start: usize,
    /// Its number, from 1.
    pub(crate) number: usize,
}

impl<'a> PhysicalLine<'a> {
    /// The line without any `\r` and `\n` at its end.
    pub(crate) fn content(&self) -> &'a str {
        self.raw.trim_end_matches(['\r', '\n'])
    }

    /// One past the last byte of [`Self::content`].
    pub(crate) fn content_end(&self) -> usize {
        self.start + self.content().len()
    }

    /// True if `#` is the first character on the line other than blanks.
    pub(crate) fn is_comment(&self) -> bool {
        self.raw.trim_start().starts_with('#')
    }

    /// The text of a comment line without `#`, trimmed, and its place.
    pub(crate) fn comment(&self) -> Option<(&'a str, Span)> {
        let after = self.raw.trim_start().strip_prefix('#')?;
        let text = after.trim();
        let leading = after.len() - after.trim_start().len();
        let start = self.start + (self.raw.len() - after.len()) + if text.is_empty() { 0 } else { leading };
        Some((text, Span { start, end: start + text.len() }))
    }
}

/// The text of a file, in UTF-8 whatever it was.
pub(crate) struct FileText<'a> {
    text: Cow<'a, str>,
    /// Offsets of bytes that are not UTF-8, replaced in `text` by as many characters of one byte.
    invalid: Vec<usize>,
}

impl<'a> FileText<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        if let Ok(text) = std::str::from_utf8(bytes) {
            return Self { text: Cow::Borrowed(text), invalid: Vec::new() };
        }
        let mut text = String::with_capacity(bytes.len());
        let mut invalid = Vec::new();
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            for _ in chunk.invalid() {
                invalid.push(text.len());
                text.push('?');
            }
        }
        Self { text: Cow::Owned(text), invalid }
    }

    pub(crate) fn lines(&self) -> PhysicalLines<'_> {
        let start = if self.text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        PhysicalLines { text: &self.text, invalid: &self.invalid, position: start, number: 0 }
    }
}

/// Reads a file line by line.
pub(crate) struct PhysicalLines<'a> {
    text: &'a str,
    invalid: &'a [usize],
    position: usize,
    /// Number of lines read so far.
    number: usize,
}

impl<'a> PhysicalLines<'a> {
    /// Reads the next line. Bytes that are not UTF-8 are tolerated until [`Self::check_utf8`] is called.
    pub(crate) fn next(&mut self) -> Result<Option<PhysicalLine<'a>>, ParseError> {
        let rest = &self.text[self.position..];
        if rest.is_empty() {
            return Ok(None);
        }
        let newline = rest.find('\n');
        let length = newline.map_or(rest.len(), |newline| newline + 1);
        let line = PhysicalLine { raw: &rest[..length], start: self.position, number: self.number + 1 };
        self.position += length;
        self.number += 1;
        if newline.unwrap_or(length) > MAX_LINE {
            let lines = Lines { first: line.number, last: line.number };
            return Err(ParseError::in_lines(Problem::LineTooLong, lines));
        }
        Ok(Some(line))
    }

    /// Refuses a line that is not UTF-8. It is not called for comments, which may have any bytes.
    pub(crate) fn check_utf8(&mut self, line: &PhysicalLine<'_>) -> Result<(), ParseError> {
        if self.invalid.is_empty() {
            return Ok(());
        }
        let skipped = self.invalid.partition_point(|&offset| offset < line.start);
        self.invalid = &self.invalid[skipped..];
        match self.invalid.first() {
            Some(&offset) if offset < line.start + line.raw.len() => Err(ParseError {
                problem: Problem::NotUtf8,
                lines: Some(Lines { first: line.number, last: line.number }),
                span: Some(Span { start: offset, end: offset + 1 }),
            }),
            _ => Ok(()),
        }
    }

    /// The number of the line read last.
    pub(crate) fn number(&self) -> usize {
        self.number
    }
}
