//! Recognises the compression of a stream by its first bytes, and decompresses it within [`Limits`].

use crate::limits::Limits;
use liblzma::stream::{CONCATENATED, Stream};
use std::io::{self, BufReader, Chain, Cursor, Read};

/// Number of bytes that are read from a compressed source at once.
const BUFFER: usize = 256 << 10;

/// The most bytes that [`Codec::of`] looks at.
const MAGIC: u64 = 6;

/// The compression of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// No known compression.
    Plain,
    /// The gzip format (RFC 1952).
    Gzip,
    /// The format of the bzip2 program.
    Bzip2,
    /// The format of the xz program.
    Xz,
    /// The Zstandard format (RFC 8878).
    Zstd,
}

/// A stream whose first bytes were read and are kept.
pub type Sniffed<R> = Chain<Cursor<Vec<u8>>, R>;

impl Codec {
    /// Recognises the compression by the first bytes of a stream, of which there should be at least six.
    #[must_use]
    pub fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, 0x08, ..] => Self::Gzip,
            // the next bytes belong to a block, or to the end of an empty stream
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, ..] => Self::Bzip2,
            [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, ..] => Self::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // a skippable frame, with which streams of zstd:chunked and pzstd begin
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::Plain,
        }
    }
}

/// Looks at the first bytes of `source`.
///
/// # Errors
/// Fails with the error of `source`.
pub fn sniff<R: Read>(mut source: R) -> io::Result<(Codec, Sniffed<R>)> {
    let mut head = Vec::with_capacity(MAGIC as usize);
    source.by_ref().take(MAGIC).read_to_end(&mut head)?;
    Ok((Codec::of(&head), Cursor::new(head).chain(source)))
}

/// Decompresses `source` with `codec`, and reads all members of the stream.
///
/// # Errors
/// Fails when the decoder cannot be made. Reading the returned stream fails when the compressed bytes are damaged.
pub fn decompressed<'a>(codec: Codec, source: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let limits = Limits::STANDARD;
    let buffered = BufReader::with_capacity(BUFFER, source);
    Ok(match codec {
        Codec::Plain => Box::new(buffered),
        Codec::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(buffered)),
        Codec::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(buffered)),
        Codec::Xz => {
            let decoder = Stream::new_stream_decoder(limits.xz_memory, CONCATENATED)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(buffered, decoder))
        }
        Codec::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(buffered)?;
            decoder.window_log_max(limits.zstd_window_log)?;
            Box::new(decoder)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_known_by_their_first_bytes() {
        for (head, codec) in [
            (&b"\x1f\x8b\x08\0\0\0"[..], Codec::Gzip),
            (b"BZh91A", Codec::Bzip2),
            (b"BZh1\x17\x72", Codec::Bzip2),
            (b"\xfd7zXZ\0", Codec::Xz),
            (b"\x28\xb5\x2f\xfd\0\0", Codec::Zstd),
            (b"\x5f\x2a\x4d\x18\0\0", Codec::Zstd),
            // a tar begins with the name of a file, which may look like a signature
            (b"BZh9\0\0", Codec::Plain),
            (b"BZhello", Codec::Plain),
            (b"\x1f\x8b\0\0\0\0", Codec::Plain),
            (b"", Codec::Plain),
            (b"\x1f", Codec::Plain),
        ] {
            assert_eq!(Codec::of(head), codec, "{head:?}");
        }
    }

    #[test]
    fn looking_takes_nothing_away() {
        for bytes in [&b"BZh91AY&SY"[..], b"abc", b""] {
            let (_, mut sniffed) = sniff(bytes).unwrap();
            let mut whole = Vec::new();
            sniffed.read_to_end(&mut whole).unwrap();
            assert_eq!(whole, bytes);
        }
    }
}
