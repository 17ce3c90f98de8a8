//! The fields of a header block (pax(1), "ustar Interchange Format"; GNU tar manual, "Basic Tar Format").

use crate::error::TarProblem;
use std::ops::Range;

/// Number of bytes in a tar block.
pub const BLOCK: usize = 512;

pub(crate) const NAME: Range<usize> = 0..100;
pub(crate) const MODE: Range<usize> = 100..108;
pub(crate) const UID: Range<usize> = 108..116;
pub(crate) const GID: Range<usize> = 116..124;
pub(crate) const SIZE: Range<usize> = 124..136;
pub(crate) const MTIME: Range<usize> = 136..148;
pub(crate) const CHECKSUM: Range<usize> = 148..156;
pub(crate) const FLAG: usize = 156;
pub(crate) const LINK: Range<usize> = 157..257;
pub(crate) const MAJOR: Range<usize> = 329..337;
pub(crate) const MINOR: Range<usize> = 337..345;

/// Number of zero bytes that follow a content of `size` bytes.
#[must_use]
pub fn padding(size: u64) -> usize {
    (size.wrapping_neg() % BLOCK as u64) as usize
}

/// True if `block` is a header: it has a byte other than zero, and its checksum is right. The checksum may be computed in
/// two ways, because some old programs used signed bytes.
pub(crate) fn is_header(block: &[u8; BLOCK]) -> bool {
    let Ok(stored) = number("checksum", &block[CHECKSUM]) else { return false };
    let (before, after) = (&block[..CHECKSUM.start], &block[CHECKSUM.end..]);
    let blanks = CHECKSUM.len() as u64 * u64::from(b' ');
    let unsigned = |bytes: &[u8]| bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
    let sum = unsigned(before) + unsigned(after);
    if sum == 0 {
        return false;
    }
    let high = before.iter().chain(after).filter(|byte| **byte >= 0x80).count() as u64;
    stored == sum + blanks || stored == (sum + blanks).wrapping_sub(256 * high)
}

/// The name in the header. POSIX and star put the directory into a separate field when the name does not fit.
pub(crate) fn name(block: &[u8; BLOCK]) -> Vec<u8> {
    let base = until_nul(&block[NAME]);
    if &block[257..263] != b"ustar\0" {
        return base.to_vec();
    }
    let is_star = &block[508..512] == b"tar\0";
    let directory = until_nul(if is_star { &block[345..476] } else { &block[345..500] });
    if directory.is_empty() { base.to_vec() } else { [directory, b"/", base].concat() }
}

/// A length, which must be less than 2^63 as in every file system.
pub(crate) fn size(field: &'static str, number: u64) -> Result<u64, TarProblem> {
    if i64::try_from(number).is_ok() { Ok(number) } else { Err(TarProblem::Number { field }) }
}

/// A number in octal digits, or in base 256 when the first bit is set. As in Go, an empty field is zero. Negative numbers
/// are returned as their two's complement.
pub(crate) fn number(field: &'static str, bytes: &[u8]) -> Result<u64, TarProblem> {
    let bad = || TarProblem::Number { field };
    if bytes[0] & 0x80 != 0 {
        let (high, low) = bytes.split_at(bytes.len().saturating_sub(8));
        let fill = if bytes[0] & 0x40 == 0 { 0 } else { 0xff };
        let marked = |at: usize, byte: u8| if at == 0 && fill == 0 { byte & 0x7f } else { byte };
        if high.iter().enumerate().any(|(at, byte)| marked(at, *byte) != fill) {
            return Err(bad());
        }
        let first = marked(high.len(), low[0]);
        let rest = low[1..].iter().fold(u64::from(first), |number, byte| number << 8 | u64::from(*byte));
        return Ok(rest);
    }
    let padding = |byte: &u8| matches!(byte, 0 | b' ');
    let start = bytes.iter().position(|byte| !padding(byte)).unwrap_or(bytes.len());
    let digits = &bytes[start..];
    let digits = &digits[..digits.iter().position(padding).unwrap_or(digits.len())];
    if digits.is_empty() {
        return Ok(0);
    }
    // from_str_radix accepts a sign, which a header must not have
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(bad());
    }
    let text = std::str::from_utf8(digits).map_err(|_| bad())?;
    u64::from_str_radix(text, 8).map_err(|_| bad())
}

/// The bytes before the first NUL.
pub(crate) fn until_nul(text: &[u8]) -> &[u8] {
    &text[..text.iter().position(|byte| *byte == 0).unwrap_or(text.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_binary() {
        for (bytes, expected) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"00006440", Some(0o6440)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"0000648\0", None),
            (b"+000644\0", None),
            (b"-000644\0", None),
            (b"0x00644\0", None),
            (b"\x80\0\0\0\0\0\x01\x02", Some(0x0102)),
            (b"\x80\0\0\0\0\0\0\0\0\0\x01\x02", Some(0x0102)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", Some((-2_i64).cast_unsigned())),
            // more than 64 bits
            (b"\x80\0\0\x01\0\0\0\0\0\0\0\0", None),
            (b"\xff\xff\xff\0\xff\xff\xff\xff\xff\xff\xff\xff", None),
        ] {
            assert_eq!(number("n", bytes).ok(), expected, "{bytes:?}");
        }
    }

    #[test]
    fn both_checksums_are_right() {
        let mut block = [0; BLOCK];
        assert!(!is_header(&block), "a block of zeros is not a header");
        block[..2].copy_from_slice(b"\xe9a");
        let unsigned = 0xe9 + u64::from(b'a') + 8 * 32;
        for (sum, right) in [(unsigned, true), (unsigned - 256, true), (unsigned + 1, false)] {
            block[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            assert_eq!(is_header(&block), right, "{sum}");
        }
    }

    #[test]
    fn a_name_may_have_its_directory_apart() {
        let mut block = [0; BLOCK];
        block[..4].copy_from_slice(b"base");
        block[345..348].copy_from_slice(b"dir");
        assert_eq!(name(&block), b"base", "without the magic there is no such field");
        block[257..263].copy_from_slice(b"ustar\0");
        assert_eq!(name(&block), b"dir/base");
        // star keeps times at the end of the field
        block[345..480].fill(b'd');
        assert_eq!(name(&block).len(), 135 + 5);
        block[508..512].copy_from_slice(b"tar\0");
        assert_eq!(name(&block).len(), 131 + 5);
    }

    #[test]
    fn a_size_has_63_bits() {
        assert_eq!(size("size", i64::MAX.cast_unsigned()), Ok(i64::MAX.cast_unsigned()));
        assert_eq!(size("size", 1 << 63), Err(TarProblem::Number { field: "size" }));
    }
}
