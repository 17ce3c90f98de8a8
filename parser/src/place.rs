//! Maps places in logical text back to the file.

use crate::{Escape, Span, Spanned, Word};

/// The joined text of one instruction, with the place of each piece in the file.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    text: &'a str,
    pieces: &'a [Piece],
}

/// A run of logical text that is contiguous in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Offset in the logical text.
    pub(crate) logical: usize,
    /// Offset in the file.
    pub(crate) file: usize,
}

impl<'a> Place<'a> {
    /// `pieces` start at offset 0 and ascend.
    pub(crate) fn new(text: &'a str, pieces: &'a [Piece]) -> Self {
        debug_assert!(pieces.first().is_some_and(|piece| piece.logical == 0));
        Self { text, pieces }
    }

    /// A text that is the file.
    #[cfg(test)]
    pub(crate) fn whole(text: &'a str) -> Self {
        Self::new(text, &[Piece { logical: 0, file: 0 }])
    }

    /// The place in the file of `part`, a slice of the logical text.
    pub(crate) fn span(&self, part: &str) -> Span {
        // both are slices of one string, so the difference of their addresses is an offset
        let start = (part.as_ptr() as usize).wrapping_sub(self.text.as_ptr() as usize);
        debug_assert!(start + part.len() <= self.text.len(), "not a slice of the logical text");
        let first = self.file_offset(start);
        if part.is_empty() {
            return Span { start: first, end: first };
        }
        Span { start: first, end: self.file_offset(start + part.len() - 1) + 1 }
    }

    /// `part` as written, with its place.
    pub(crate) fn word(&self, part: &str) -> Word {
        self.word_from(part.to_owned(), part)
    }

    /// A value made of `part`, with the place of `part`.
    pub(crate) fn word_from(&self, value: String, part: &str) -> Word {
        Spanned { value, span: self.span(part) }
    }

    fn file_offset(&self, logical: usize) -> usize {
        let after = self.pieces.partition_point(|piece| piece.logical <= logical);
        match self.pieces.get(after.saturating_sub(1)) {
            Some(piece) => piece.file + (logical - piece.logical),
            None => logical,
        }
    }
}

/// One instruction's operands with everything needed to read them.
#[derive(Debug)]
pub(crate) struct Operands<'a> {
    /// The text after keyword and flags, trimmed.
    pub(crate) text: &'a str,
    /// Its place in the file.
    pub(crate) place: &'a Place<'a>,
    /// The file's escape character.
    pub(crate) escape: Escape,
}
