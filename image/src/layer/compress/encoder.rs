//! One block compressed: a gzip member or a Zstandard frame.

use super::{GzipLevel, ZstdLevel};
use libdeflater::{CompressionLvl, Compressor};
use std::io;

/// The entropy of its bytes, in bits, from which a block may be one that does not compress.
const NOISE: f64 = 7.9;

/// Length of the piece of such a block that is compressed first.
const SAMPLE: usize = 64 << 10;

/// The tools of one worker.
pub(super) enum Encoder {
    Gzip(Gzip),
    Zstd { compressor: zstd::bulk::Compressor<'static>, out: Vec<u8> },
}

/// Compresses into members of gzip.
pub(super) struct Gzip {
    compressor: Compressor,
    /// Compresses samples, in the least time.
    quick: Compressor,
    /// Writes blocks as they are.
    store: Compressor,
    out: Vec<u8>,
}

impl Encoder {
    pub(super) fn gzip(level: GzipLevel) -> io::Result<Self> {
        let compressor = |level| {
            let level = CompressionLvl::new(level).map_err(|_| io::ErrorKind::InvalidInput)?;
            Ok::<_, io::Error>(Compressor::new(level))
        };
        Ok(Self::Gzip(Gzip {
            compressor: compressor(level.0.into())?,
            quick: compressor(1)?,
            store: compressor(0)?,
            out: Vec::new(),
        }))
    }

    pub(super) fn zstd(level: ZstdLevel) -> io::Result<Self> {
        let compressor = zstd::bulk::Compressor::new(level.0.into())?;
        Ok(Self::Zstd { compressor, out: Vec::new() })
    }

    /// The compressed form of `block`.
    pub(super) fn member(&mut self, block: &[u8]) -> io::Result<Vec<u8>> {
        let (out, size) = match self {
            Self::Gzip(gzip) => {
                let size = gzip.member(block)?;
                (&gzip.out, size)
            }
            Self::Zstd { compressor, out } => {
                out.resize(zstd::zstd_safe::compress_bound(block.len()), 0);
                let size = compressor.compress_to_buffer(block, &mut out[..])?;
                (&*out, size)
            }
        };
        Ok(out[..size].to_vec())
    }
}

impl Gzip {
    /// Writes a member without a name or a time, of an unknown system, to `out`; returns its length.
    fn member(&mut self, block: &[u8]) -> io::Result<usize> {
        let compressor = if self.is_noise(block) { &mut self.store } else { &mut self.compressor };
        self.out.resize(compressor.gzip_compress_bound(block.len()), 0);
        let out = &mut self.out[..];
        compressor.gzip_compress(block, out).map_err(|_| io::ErrorKind::WriteZero.into())
    }

    /// True if compressing the block would only cost time: its bytes are spread evenly, and a piece from its middle hardly
    /// gets smaller.
    fn is_noise(&mut self, block: &[u8]) -> bool {
        if block.len() < SAMPLE || entropy(block) < NOISE {
            return false;
        }
        let start = (block.len() - SAMPLE) / 2;
        self.out.resize(self.quick.deflate_compress_bound(SAMPLE), 0);
        let size = self.quick.deflate_compress(&block[start..start + SAMPLE], &mut self.out);
        size.is_ok_and(|size| size > SAMPLE - SAMPLE / 64)
    }
}

/// The entropy of the bytes of `block`, in bits for each; an eighth of them is looked at, from all over it.
fn entropy(block: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in block.chunks(64).step_by(8).flatten() {
        counts[usize::from(*byte)] += 1;
    }
    let total = f64::from(counts.iter().sum::<u32>());
    counts
        .iter()
        .map(|count| f64::from(*count) / total)
        .filter(|share| *share > 0.0)
        .map(|share| -share * share.log2())
        .sum()
}
