//! The bytes of small binary files: numbers and counted texts, written one after another and read back in that order; and
//! the checksum that finds their damage.

use rbuild_oci::{Digest, Timestamp};

/// Writes fields.
#[derive(Debug, Default)]
pub(crate) struct FieldWriter(Vec<u8>);

/// Reads fields; each is `None` where the bytes end too early.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FieldReader<'a>(&'a [u8]);

impl FieldWriter {
    /// The bytes so far.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Bytes of a length that the reader knows.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// A number, little-endian in 8 bytes.
    pub(crate) fn number(&mut self, number: u64) {
        self.raw(&number.to_le_bytes());
    }

    /// The length of `bytes` as a number of 4 bytes, and `bytes`.
    pub(crate) fn counted(&mut self, bytes: &[u8]) {
        let length = u32::try_from(bytes.len()).expect("a name, a label or a row has less than 4 GiB");
        self.raw(&length.to_le_bytes());
        self.raw(bytes);
    }

    /// A text.
    pub(crate) fn text(&mut self, text: &str) {
        self.counted(text.as_bytes());
    }

    /// A digest.
    pub(crate) fn digest(&mut self, digest: &Digest) {
        self.raw(digest.as_bytes());
    }

    /// A moment.
    pub(crate) fn moment(&mut self, moment: Timestamp) {
        self.raw(&moment.seconds().to_le_bytes());
        self.raw(&moment.nanoseconds().to_le_bytes());
    }

    /// A byte that says if there is a value, and the value as `write` writes it.
    pub(crate) fn optional<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.raw(&[u8::from(value.is_some())]);
        if let Some(value) = value {
            write(self, value);
        }
    }
}

impl<'a> FieldReader<'a> {
    /// Reads `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// What has not been read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// The next `N` bytes.
    pub(crate) fn raw<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    /// A number.
    pub(crate) fn number(&mut self) -> Option<u64> {
        self.raw().map(u64::from_le_bytes)
    }

    /// Counted bytes.
    pub(crate) fn counted(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(u32::from_le_bytes(self.raw()?)).ok()?;
        let (first, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(first)
    }

    /// A text.
    pub(crate) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.counted()?).ok()
    }

    /// A digest.
    pub(crate) fn digest(&mut self) -> Option<Digest> {
        self.raw().map(Digest::from_bytes)
    }

    /// A moment.
    pub(crate) fn moment(&mut self) -> Option<Timestamp> {
        Timestamp::new(i64::from_le_bytes(self.raw()?), i32::from_le_bytes(self.raw()?))
    }

    /// A value that may be missing, as `read` reads it.
    pub(crate) fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.raw()? {
            [0] => Some(None),
            [1] => read(self).map(Some),
            _ => None,
        }
    }
}

/// Finds damage and spreads paths over a table; it must stay the same, because its results are on the disk. It need not be
/// cryptographic, because a process that can write the store can write anything into it.
pub(crate) fn checksum(bytes: &[u8]) -> u64 {
    const FACTORS: [u64; 4] =
        [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb, 0xd6e8_feb8_6659_fd93];
    let mix = |sum: u64, word: u64, factor: u64| (sum.rotate_left(23) ^ word).wrapping_mul(factor);
    let mut lanes = FACTORS;
    let mut chunks = bytes.chunks_exact(32);
    for chunk in &mut chunks {
        for (lane, factor) in FACTORS.iter().enumerate() {
            lanes[lane] = mix(lanes[lane], u64::from_le_bytes(array(&chunk[lane * 8..])), *factor);
        }
    }
    let mut sum = bytes.len() as u64;
    for word in chunks.remainder().chunks(8) {
        let mut raw = [0; 8];
        raw[..word.len()].copy_from_slice(word);
        sum = mix(sum, u64::from_le_bytes(raw), FACTORS[0]);
    }
    let sum = lanes.iter().fold(sum, |sum, lane| mix(sum, *lane, FACTORS[1]));
    (sum ^ (sum >> 32)).wrapping_mul(FACTORS[2]) ^ (sum >> 29)
}

/// The first `N` bytes.
pub(crate) fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    *bytes.first_chunk().expect("callers have checked the length")
}
