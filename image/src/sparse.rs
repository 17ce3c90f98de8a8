//! Files with holes in a tar: the old GNU format and the three PAX ones (GNU tar manual, "Storing Sparse Files").

use crate::{
    ImageError,
    error::TarProblem,
    tar_header::BLOCK,
    tar_reader::{Entry, TarReader},
};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use tar::GnuSparseHeader;

/// The most pieces a sparse file may have.
const PIECE_LIMIT: usize = 1 << 20;

/// Where the stored bytes of a sparse file belong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SparseMap {
    /// The file's length.
    pub(crate) size: u64,
    /// Offset and length of each stored piece, in the order of the stored bytes.
    pieces: Vec<(u64, u64)>,
}

impl SparseMap {
    pub(crate) fn new(size: u64) -> Self {
        Self { size, pieces: Vec::new() }
    }

    pub(crate) fn add_gnu(&mut self, pieces: &[GnuSparseHeader]) -> Result<(), TarProblem> {
        for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
            let offset = piece.offset().map_err(|_| TarProblem::Sparse)?;
            let length = piece.length().map_err(|_| TarProblem::Sparse)?;
            self.add(offset, length)?;
        }
        Ok(())
    }

    fn add(&mut self, offset: u64, length: u64) -> Result<(), TarProblem> {
        let fits = offset.checked_add(length).is_some_and(|end| end <= self.size);
        if !fits || self.pieces.len() == PIECE_LIMIT {
            return Err(TarProblem::Sparse);
        }
        self.pieces.push((offset, length));
        Ok(())
    }

    /// Writes the stored bytes, as they come, to their places.
    pub(crate) fn pieces(&self) -> Pieces<'_> {
        Pieces { pieces: self.pieces.iter(), offset: 0, left: 0 }
    }

    /// Bytes that must be stored for it.
    pub(crate) fn stored(&self) -> u64 {
        self.pieces.iter().map(|(_, length)| length).sum()
    }
}

/// Puts the stored bytes of a sparse file where they belong.
pub(crate) struct Pieces<'a> {
    pieces: std::slice::Iter<'a, (u64, u64)>,
    offset: u64,
    left: u64,
}

impl Pieces<'_> {
    pub(crate) fn write(&mut self, file: &OwnedFd, mut bytes: &[u8]) -> Result<(), Errno> {
        while !bytes.is_empty() {
            if self.left == 0 {
                let Some((offset, length)) = self.pieces.next() else { return Err(Errno::INVAL) };
                (self.offset, self.left) = (*offset, *length);
                continue;
            }
            let want = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
            let count = rustix::io::pwrite(file, &bytes[..want], self.offset)?;
            self.offset += count as u64;
            self.left -= count as u64;
            bytes = &bytes[count..];
        }
        Ok(())
    }
}

/// The `GNU.sparse.*` keys of one PAX header.
#[derive(Debug, Default)]
pub(crate) struct PaxKeys {
    name: Option<Vec<u8>>,
    size: Option<u64>,
    /// Offsets and lengths by turns (formats 0.0 and 0.1).
    numbers: Vec<u64>,
    /// Format 1.0: the map stands before the content.
    in_content: bool,
}

impl PaxKeys {
    pub(crate) fn add(&mut self, key: &str, value: &str) -> Result<(), TarProblem> {
        let number = |text: &str| text.parse::<u64>().map_err(|_| TarProblem::Sparse);
        match key {
            "name" => self.name = Some(value.as_bytes().to_vec()),
            "size" | "realsize" => self.size = Some(number(value)?),
            "major" => self.in_content = value == "1",
            "offset" | "numbytes" => self.numbers.push(number(value)?),
            "map" => self.numbers = value.split(',').map(number).collect::<Result<_, _>>()?,
            // numblocks and minor say nothing that is not known
            _ => {}
        }
        Ok(())
    }

    /// The file's real name; the one in its header is made up.
    pub(crate) fn take_name(&mut self) -> Option<Vec<u8>> {
        self.name.take()
    }

    /// The map, read from the content if it is there. `None` when the file is not sparse.
    pub(crate) fn resolve(
        self,
        reader: &mut TarReader,
        entry: &mut Entry,
    ) -> Result<Option<SparseMap>, ImageError> {
        let Some(size) = self.size else { return Ok(None) };
        let numbers = if self.in_content { read_map(reader, entry)? } else { self.numbers };
        let mut map = SparseMap::new(size);
        for pair in numbers.chunks(2) {
            let [offset, length] = pair else { return Err(TarProblem::Sparse.into()) };
            map.add(*offset, *length)?;
        }
        Ok(Some(map))
    }
}

/// Reads decimal lines, the first of which is the number of pairs, from whole blocks at the content's start.
fn read_map(reader: &mut TarReader, entry: &mut Entry) -> Result<Vec<u64>, ImageError> {
    let mut numbers: Vec<u64> = Vec::new();
    let mut digits = String::new();
    let mut wanted = 1;
    while numbers.len() < wanted {
        let mut block = [0; BLOCK];
        entry.stored = entry.stored.checked_sub(BLOCK as u64).ok_or(TarProblem::Sparse)?;
        if !reader.block(&mut block)? {
            return Err(TarProblem::Truncated.into());
        }
        for byte in block {
            if numbers.len() == wanted {
                break;
            }
            if byte != b'\n' {
                digits.push(char::from(byte));
                continue;
            }
            let number: u64 = digits.parse().map_err(|_| TarProblem::Sparse)?;
            digits.clear();
            if numbers.is_empty() {
                let pairs = usize::try_from(number).ok().filter(|pairs| *pairs <= PIECE_LIMIT);
                wanted = 1 + 2 * pairs.ok_or(TarProblem::Sparse)?;
            }
            numbers.push(number);
        }
    }
    numbers.remove(0);
    Ok(numbers)
}
