//! Finding out how a stream is compressed by its first bytes, and undoing it.

use crate::ImageError;
use std::io::{self, BufReader, Chain, Cursor, Read};

/// Bytes asked for from a compressed source at once.
const BUFFER: usize = 256 << 10;

/// The largest zstd window accepted, as a power of two: 64 MiB, so that three layers at once stay within bounds.
const ZSTD_WINDOW_LOG: u32 = 26;

/// The compression a stream begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Plain,
    Gzip,
    Zstd,
    Xz,
}

/// A stream whose first bytes have been looked at.
pub(crate) type Sniffed<R> = Chain<Cursor<Vec<u8>>, R>;

/// Looks at the first bytes of `source`.
pub(crate) fn sniff<R: Read>(mut source: R) -> io::Result<(Found, Sniffed<R>)> {
    let mut head = Vec::with_capacity(6);
    source.by_ref().take(6).read_to_end(&mut head)?;
    let found = match head.as_slice() {
        [0x1f, 0x8b, ..] => Found::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Found::Zstd,
        // a skippable frame, as zstd:chunked and pzstd write first
        [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Found::Zstd,
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Found::Xz,
        _ => Found::Plain,
    };
    Ok((found, Cursor::new(head).chain(source)))
}

/// The uncompressed bytes of `source`, which is compressed as `found` says. All members of a stream are read.
pub(crate) fn decompressed<'a>(
    found: Found,
    source: impl Read + 'a,
) -> Result<Box<dyn Read + 'a>, ImageError> {
    let buffered = BufReader::with_capacity(BUFFER, source);
    Ok(match found {
        Found::Plain => Box::new(buffered),
        Found::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(buffered)),
        Found::Zstd => {
            let mut decoder =
                zstd::stream::read::Decoder::with_buffer(buffered).map_err(ImageError::Decompress)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(ImageError::Decompress)?;
            Box::new(decoder)
        }
        Found::Xz => Box::new(liblzma::bufread::XzDecoder::new_multi_decoder(buffered)),
    })
}
