//! Files with holes in a tar: the old GNU format and the three PAX ones (GNU tar manual, "Storing Sparse Files").

use crate::{
    error::TarProblem,
    field::{BLOCK, number, size},
};

/// Number of bytes of a piece in a header: an offset and a length of twelve digits each.
const GNU_PIECE: usize = 24;

/// Number of digits of the largest number.
const DIGITS: usize = 20;

/// The places of the stored bytes of a sparse file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SparseMap {
    size: u64,
    /// Offset and length of each stored piece, in ascending order and without overlap.
    pieces: Vec<(u64, u64)>,
    limit: usize,
}

impl SparseMap {
    /// The map of a file of `size` bytes that is one hole. It may get at most `limit` pieces.
    pub(crate) fn new(size: u64, limit: usize) -> Self {
        Self { size, pieces: Vec::new(), limit }
    }

    /// The length of the file.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Offset and length of each stored piece, in the order of the stored bytes.
    #[must_use]
    pub fn pieces(&self) -> &[(u64, u64)] {
        &self.pieces
    }

    /// Starts to place the stored bytes, which come in any pieces.
    #[must_use]
    pub fn places(&self) -> Places<'_> {
        Places { pieces: self.pieces.iter(), offset: 0, left: 0 }
    }

    /// Number of bytes that must be stored for the file.
    pub(crate) fn stored(&self) -> u64 {
        self.pieces.iter().map(|(_, length)| length).sum()
    }

    /// Adds the pieces of an old GNU header, in which unused ones are zeros.
    pub(crate) fn add_gnu(&mut self, pieces: &[u8]) -> Result<(), TarProblem> {
        for piece in pieces.chunks_exact(GNU_PIECE).filter(|piece| piece[0] != 0 && piece[12] != 0) {
            let of = |bytes: &[u8]| number("sparse map", bytes).map_err(|_| TarProblem::Sparse);
            self.add(of(&piece[..12])?, of(&piece[12..])?)?;
        }
        Ok(())
    }

    /// Adds a piece. The pieces of a file must ascend, because otherwise several could have the same place.
    pub(crate) fn add(&mut self, offset: u64, length: u64) -> Result<(), TarProblem> {
        let end = self.pieces.last().map_or(0, |(offset, length)| offset + length);
        let fits = offset.checked_add(length).is_some_and(|end| end <= self.size);
        if !fits || offset < end || self.pieces.len() == self.limit {
            return Err(TarProblem::Sparse);
        }
        self.pieces.push((offset, length));
        Ok(())
    }
}

/// Finds the places of the stored bytes of a sparse file.
#[derive(Debug)]
pub struct Places<'a> {
    pieces: std::slice::Iter<'a, (u64, u64)>,
    offset: u64,
    left: u64,
}

impl Places<'_> {
    /// Splits off the first bytes of `stored` that belong together, with their offset in the file. Returns `None` when
    /// `stored` is empty; the caller must call it until then before it passes more bytes.
    pub fn take<'b>(&mut self, stored: &mut &'b [u8]) -> Option<(u64, &'b [u8])> {
        while self.left == 0 && !stored.is_empty() {
            (self.offset, self.left) = *self.pieces.next()?;
        }
        if stored.is_empty() {
            return None;
        }
        let length = stored.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let (now, later) = stored.split_at(length);
        let offset = self.offset;
        self.offset += length as u64;
        self.left -= length as u64;
        *stored = later;
        Some((offset, now))
    }
}

/// The `GNU.sparse.*` keys of the PAX headers of one entry.
#[derive(Debug, Default)]
pub(crate) struct PaxKeys {
    name: Option<Vec<u8>>,
    size: Option<u64>,
    /// Offsets and lengths in turn (formats 0.0 and 0.1).
    numbers: Vec<u64>,
    /// True for format 1.0, in which the map stands before the content.
    in_content: bool,
}

impl PaxKeys {
    pub(crate) fn add(&mut self, key: &str, value: &str) -> Result<(), TarProblem> {
        let number = |text: &str| text.parse::<u64>().map_err(|_| TarProblem::Sparse);
        match key {
            "size" | "realsize" => self.size = Some(size("size", number(value)?)?),
            "major" => self.in_content = value == "1",
            "offset" | "numbytes" => self.numbers.push(number(value)?),
            "map" => self.numbers = value.split(',').map(number).collect::<Result<_, _>>()?,
            // numblocks and minor add nothing to the other keys
            _ => {}
        }
        Ok(())
    }

    /// Sets the file's real name, because the one in its header is invented.
    pub(crate) fn name(&mut self, name: Vec<u8>) {
        self.name = Some(name);
    }

    pub(crate) fn take_name(&mut self) -> Option<Vec<u8>> {
        self.name.take()
    }

    /// The length of the file, if it is sparse.
    pub(crate) fn size(&self) -> Option<u64> {
        self.size
    }

    /// True if the map stands before the content.
    pub(crate) fn is_in_content(&self) -> bool {
        self.in_content
    }

    /// The map that these headers contain.
    pub(crate) fn map(&self, mut map: SparseMap) -> Result<SparseMap, TarProblem> {
        for pair in self.numbers.chunks(2) {
            let [offset, length] = pair else { return Err(TarProblem::Sparse) };
            map.add(*offset, *length)?;
        }
        Ok(map)
    }
}

/// A map that stands before the content: decimal lines, the first of which is the number of pairs, in whole blocks.
#[derive(Debug)]
pub(crate) struct MapText {
    map: SparseMap,
    digits: String,
    /// Number of numbers that must still come, after the first was read.
    left: Option<usize>,
    offset: Option<u64>,
}

impl MapText {
    pub(crate) fn new(map: SparseMap) -> Self {
        Self { map, digits: String::new(), left: None, offset: None }
    }

    /// Reads one more block. Returns the map if it was the last one.
    pub(crate) fn add(mut self, block: &[u8; BLOCK]) -> Result<Result<SparseMap, Self>, TarProblem> {
        for byte in block {
            if self.left == Some(0) {
                break;
            }
            match byte {
                b'0'..=b'9' if self.digits.len() < DIGITS => self.digits.push(char::from(*byte)),
                b'\n' => {
                    let number = self.digits.parse().map_err(|_| TarProblem::Sparse)?;
                    self.digits.clear();
                    self.number(number)?;
                }
                _ => return Err(TarProblem::Sparse),
            }
        }
        Ok(if self.left == Some(0) { Ok(self.map) } else { Err(self) })
    }

    fn number(&mut self, number: u64) -> Result<(), TarProblem> {
        let Some(left) = self.left else {
            let pairs = usize::try_from(number).ok().filter(|pairs| *pairs <= self.map.limit);
            self.left = Some(2 * pairs.ok_or(TarProblem::Sparse)?);
            return Ok(());
        };
        self.left = Some(left - 1);
        match self.offset.take() {
            None => self.offset = Some(number),
            Some(offset) => self.map.add(offset, number)?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_to_their_places_however_they_come() {
        let mut map = SparseMap::new(100, 8);
        for (offset, length) in [(10, 3), (20, 0), (50, 4)] {
            map.add(offset, length).unwrap();
        }
        assert_eq!(map.stored(), 7);
        for step in 1..=7 {
            let mut file = [b'.'; 60];
            let mut places = map.places();
            for mut bytes in b"abcdefg".chunks(step) {
                while let Some((offset, piece)) = places.take(&mut bytes) {
                    file[offset as usize..][..piece.len()].copy_from_slice(piece);
                }
            }
            assert_eq!((&file[10..13], &file[50..54]), (&b"abc"[..], &b"defg"[..]), "{step}");
        }
        // the stored bytes end where the map has no more places
        let mut more = &b"0123456789"[..];
        let mut places = map.places();
        while places.take(&mut more).is_some() {}
        assert_eq!(more, b"789");
    }

    #[test]
    fn pieces_that_do_not_fit_are_refused() {
        for pieces in [
            &[(0, 101)][..],
            &[(u64::MAX, 1)],
            &[(101, 0)],
            &[(10, 5), (14, 1)],
            &[(10, 5), (0, 1)],
            &[(0, 1), (1, 1), (2, 1), (3, 1)],
        ] {
            let mut map = SparseMap::new(100, 3);
            let added: Result<(), _> =
                pieces.iter().try_for_each(|(offset, length)| map.add(*offset, *length));
            assert_eq!(added, Err(TarProblem::Sparse), "{pieces:?}");
        }
    }

    fn text(lines: &str) -> Result<Option<SparseMap>, TarProblem> {
        let mut reading = MapText::new(SparseMap::new(100, 200));
        for chunk in lines.as_bytes().chunks(BLOCK) {
            let mut block = [0; BLOCK];
            block[..chunk.len()].copy_from_slice(chunk);
            match reading.add(&block)? {
                Ok(map) => return Ok(Some(map)),
                Err(more) => reading = more,
            }
        }
        Ok(None)
    }

    #[test]
    fn a_map_before_the_content_is_read_over_blocks() {
        assert_eq!(text("0\n").unwrap().unwrap().pieces, []);
        assert_eq!(text("2\n1\n2\n50\n1\n").unwrap().unwrap().pieces, [(1, 2), (50, 1)]);
        let long: String = (0..100).map(|offset| format!("{offset}\n0000000001\n")).collect();
        assert_eq!(text(&format!("100\n{long}")).unwrap().unwrap().pieces.len(), 100);
        for wrong in ["201\n", "1\n99\n2\n", "x\n", "\n", "1\n-1\n", "123456789012345678901", "1\n1\n"] {
            assert_eq!(text(wrong), Err(TarProblem::Sparse), "{wrong}");
        }
    }
}
