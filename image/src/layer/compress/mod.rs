//! Compressing a layer that leaves the store: on all cores, the same bytes whatever their number.
//!
//! The tar is cut into blocks, and each becomes a gzip member (RFC 1952, 2.2) or a Zstandard frame (RFC 8878, 3) of
//! its own: both formats let them follow each other, and every reader of layers reads them all. Workers take blocks by
//! turns, so the order needs no sorting. What a layer was compressed to is remembered ([`recall_compressed`], [`remember_compressed`]).

mod encoder;
mod memo;

pub use memo::{recall_compressed, remember_compressed};

use super::tar::{LayerTar, layer_tar};
use crate::ImageError;
use encoder::Encoder;
use rbuild_cache::{LayerId, Store};
use rbuild_oci::{Compression, Descriptor, Hasher, MediaType};
use std::{
    io::{self, Read},
    num::NonZero,
    sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
};

/// Number of uncompressed bytes in a member of gzip, which looks back 32 KiB.
const GZIP_BLOCK: usize = 512 << 10;

/// Number of uncompressed bytes in a frame of Zstandard, which looks back as far as it may.
const ZSTD_BLOCK: usize = 1 << 20;

/// Largest number of workers. More would take more memory than a push may, and one thread that reads and hashes the tar
/// could hardly keep them busy.
const WORKER_LIMIT: usize = 5;

/// Number of blocks that may wait for a worker, and of compressed ones that may wait for the receiver.
const AHEAD: usize = 1;

/// How the tar of a layer is compressed when it leaves the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LayerCompression {
    /// The tar itself.
    Uncompressed,
    /// gzip.
    Gzip(GzipLevel),
    /// Zstandard.
    Zstd(ZstdLevel),
}

/// A level of gzip: 0 stores, 9 is the slowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GzipLevel(u8);

/// A level of Zstandard: 22 is the slowest, and 0 is the library's default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ZstdLevel(u8);

/// What is done with the layers of an image when they leave the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packing {
    /// The compression of layers that have no blob yet.
    pub compression: LayerCompression,
    /// The treatment of layers that have one.
    pub pulled: PulledLayers,
}

/// The treatment of layers that came compressed from a registry or an archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PulledLayers {
    /// They leave byte for byte as they came.
    #[default]
    AsTheyCame,
    /// Those in another format are compressed again.
    Converted,
}

/// The answer of a receiver of compressed bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// It takes more.
    Continue,
    /// It needs no more of them.
    Stop,
}

impl GzipLevel {
    /// The highest level.
    pub const MOST: u8 = 9;

    /// The level, if it is one.
    #[must_use]
    pub fn new(level: u8) -> Option<Self> {
        (level <= Self::MOST).then_some(Self(level))
    }
}

impl Default for GzipLevel {
    /// A Debian root filesystem gets 1 % smaller than with docker's level 6, in half the time.
    fn default() -> Self {
        Self(4)
    }
}

impl ZstdLevel {
    /// The highest level.
    pub const MOST: u8 = 22;

    /// The level, if it is one.
    #[must_use]
    pub fn new(level: u8) -> Option<Self> {
        (level <= Self::MOST).then_some(Self(level))
    }
}

impl Default for ZstdLevel {
    fn default() -> Self {
        Self(3)
    }
}

impl Default for LayerCompression {
    fn default() -> Self {
        Self::Gzip(GzipLevel::default())
    }
}

impl LayerCompression {
    /// The format, without its level.
    #[must_use]
    pub fn format(self) -> Compression {
        match self {
            Self::Uncompressed => Compression::None,
            Self::Gzip(_) => Compression::Gzip,
            Self::Zstd(_) => Compression::Zstd,
        }
    }
}

impl Packing {
    /// True if a layer that came as `blob` leaves as it came.
    #[must_use]
    pub fn keeps(&self, blob: &Descriptor) -> bool {
        match self.pulled {
            PulledLayers::AsTheyCame => true,
            PulledLayers::Converted => blob.media_type.layer_compression() == Some(self.compression.format()),
        }
    }
}

/// Compresses the layer's tar and gives the bytes to `take`, in order and in pieces of hardly more than 1 MiB. Returns what
/// they are as an OCI layer; `None` when `take` stopped it.
///
/// # Errors
/// [`ImageError::LayerElsewhere`] for a layer without files here, [`ImageError::LayerDamaged`] for one that is not what it
/// was; an I/O error of the store.
pub fn compress_layer(
    store: &Store,
    layer: &LayerId,
    compression: LayerCompression,
    mut take: impl FnMut(Vec<u8>) -> Flow,
) -> Result<Option<Descriptor>, ImageError> {
    let mut hasher = Hasher::new();
    let mut size = 0;
    let described = |piece: Vec<u8>| {
        hasher.update(&piece);
        size += piece.len() as u64;
        take(piece)
    };
    let tar = layer_tar(store, layer)?;
    let flow = match compression {
        LayerCompression::Uncompressed => pass(tar, described)?,
        LayerCompression::Gzip(level) => {
            in_parallel(tar, (workers(), GZIP_BLOCK), || Encoder::gzip(level), described)?
        }
        LayerCompression::Zstd(level) => {
            in_parallel(tar, (workers(), ZSTD_BLOCK), || Encoder::zstd(level), described)?
        }
    };
    let media_type = MediaType::OciLayer(compression.format());
    Ok((flow == Flow::Continue).then(|| Descriptor::new(media_type, hasher.finish(), size)))
}

/// Compresses `tar` with zstd into `out`. Returns what it is as an OCI layer.
///
/// # Errors
/// When the tar cannot be read, or `out` cannot be written.
pub fn compress_tar(tar: impl Read + Send, out: &mut dyn io::Write) -> Result<Descriptor, ImageError> {
    let (mut hasher, mut size, mut failure) = (Hasher::new(), 0, None);
    let write = |piece: Vec<u8>| {
        hasher.update(&piece);
        size += piece.len() as u64;
        match out.write_all(&piece) {
            Ok(()) => Flow::Continue,
            Err(error) => {
                failure = Some(error);
                Flow::Stop
            }
        }
    };
    in_parallel(tar, (workers(), ZSTD_BLOCK), || Encoder::zstd(ZstdLevel::default()), write)?;
    match failure {
        Some(error) => Err(ImageError::ArchiveWrite(error)),
        None => Ok(Descriptor::new(MediaType::OciLayer(Compression::Zstd), hasher.finish(), size)),
    }
}

fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get).min(WORKER_LIMIT)
}

fn pass(mut tar: LayerTar, mut take: impl FnMut(Vec<u8>) -> Flow) -> Result<Flow, ImageError> {
    while let Some(piece) = tar.next_chunk()? {
        if take(piece.to_vec()) == Flow::Stop {
            return Ok(Flow::Stop);
        }
    }
    Ok(Flow::Continue)
}

/// Compresses `plain` in blocks of `length` bytes with `count` workers, each with an encoder of its own.
fn in_parallel(
    plain: impl Read + Send,
    (count, length): (usize, usize),
    encoder: impl Fn() -> io::Result<Encoder> + Sync,
    mut take: impl FnMut(Vec<u8>) -> Flow,
) -> Result<Flow, ImageError> {
    std::thread::scope(|scope| {
        let (spare, spares) = channel();
        let encoder = &encoder;
        let (blocks, members): (Vec<_>, Vec<_>) = (0..count)
            .map(|_| {
                let (block, blocks) = sync_channel(AHEAD);
                let (member, members) = sync_channel(AHEAD);
                let spare = spare.clone();
                scope.spawn(move || work(encoder(), &blocks, &spare, &member));
                (block, members)
            })
            .unzip();
        let cutting = scope.spawn(move || cut(plain, length, &blocks, &spares));
        for turn in (0..count).cycle() {
            let Ok(member) = members[turn].recv() else { break };
            if take(member.map_err(ImageError::Compress)?) == Flow::Stop {
                return Ok(Flow::Stop);
            }
        }
        // without receivers every worker ends after its block
        drop(members);
        cutting.join().map_err(|_| ImageError::Worker { task: "compressing a layer" })??;
        Ok(Flow::Continue)
    })
}

/// Gives the blocks of `plain` to the workers by turns: at least one, because a stream without a member is not gzip.
/// Dropping the channels signals the last block. Used blocks come back through `spares`.
fn cut(
    mut plain: impl Read,
    length: usize,
    workers: &[SyncSender<Vec<u8>>],
    spares: &Receiver<Vec<u8>>,
) -> Result<(), ImageError> {
    for turn in 0.. {
        let mut block = spares.try_recv().unwrap_or_else(|_| vec![0; length]);
        let filled = fill(&mut plain, &mut block)?;
        block.truncate(filled);
        // a worker ends early only when the receiver asked for that
        if (filled > 0 || turn == 0) && workers[turn % workers.len()].send(block).is_err() {
            break;
        }
        if filled < length {
            break;
        }
    }
    Ok(())
}

/// Reads until `block` is full or `plain` has ended.
fn fill(plain: &mut impl Read, block: &mut [u8]) -> Result<usize, ImageError> {
    let mut filled = 0;
    while filled < block.len() {
        match plain.read(&mut block[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // the reason is the layer's when it is one
            Err(error) => return Err(error.downcast().unwrap_or_else(ImageError::Compress)),
        }
    }
    Ok(filled)
}

fn work(
    encoder: io::Result<Encoder>,
    blocks: &Receiver<Vec<u8>>,
    spare: &Sender<Vec<u8>>,
    members: &SyncSender<io::Result<Vec<u8>>>,
) {
    let mut encoder = match encoder {
        Ok(encoder) => encoder,
        Err(error) => {
            // a receiver that has gone needs no reason
            let _ = members.send(Err(error));
            return;
        }
    };
    while let Ok(block) = blocks.recv() {
        let member = encoder.member(&block);
        // the last block may come back when nothing is read any more
        let _ = spare.send(block);
        if members.send(member).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: usize = 1 << 20;

    /// Text, bytes that do not compress, and text again: three blocks and a bit.
    fn plain() -> Vec<u8> {
        let mut state = 88_172_645_463_325_252_u64;
        let mut noise = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let mut bytes: Vec<u8> =
            (0..BLOCK / 4).flat_map(|_| format!("{:03} ", noise() % 500).into_bytes()).collect();
        bytes.extend((0..BLOCK / 8).flat_map(|_| noise().to_le_bytes()));
        bytes.extend((0..BLOCK / 3).flat_map(|_| format!("{} ", noise() % 10).into_bytes()));
        bytes
    }

    fn compressed(plain: &[u8], workers: usize, encoder: fn() -> io::Result<Encoder>) -> Vec<Vec<u8>> {
        let mut pieces = Vec::new();
        let take = |piece| {
            pieces.push(piece);
            Flow::Continue
        };
        assert_eq!(in_parallel(plain, (workers, BLOCK), encoder, take).unwrap(), Flow::Continue);
        pieces
    }

    #[test]
    fn the_number_of_workers_changes_no_byte() {
        let plain = plain();
        for encoder in
            [|| Encoder::gzip(GzipLevel::default()), || Encoder::zstd(ZstdLevel::default())] as [fn() -> _; 2]
        {
            let one = compressed(&plain, 1, encoder);
            assert_eq!(one.len(), plain.len().div_ceil(BLOCK));
            for workers in [2, 3, 8] {
                assert!(compressed(&plain, workers, encoder) == one, "{workers} workers");
            }
        }
    }

    #[test]
    fn what_does_not_compress_is_stored() {
        let pieces = compressed(&plain(), 2, || Encoder::gzip(GzipLevel::default()));
        let sizes: Vec<usize> = pieces.iter().map(Vec::len).collect();
        assert!(sizes[0] < BLOCK / 2 && sizes[2] < BLOCK / 2, "{sizes:?}");
        // 5 bytes for each 64 KiB, header and checksum (RFC 1951, 3.2.4; RFC 1952, 2.3)
        assert_eq!(sizes[1], BLOCK + 18 + 5 * BLOCK.div_ceil(0xffff));
    }

    #[test]
    fn nothing_is_a_member_too() {
        assert_eq!(compressed(b"", 2, || Encoder::gzip(GzipLevel::default())).len(), 1);
    }

    #[test]
    fn a_receiver_that_stops_ends_it() {
        let plain = vec![0; 20 * BLOCK];
        let mut pieces = 0;
        let take = |_| {
            pieces += 1;
            if pieces == 2 { Flow::Stop } else { Flow::Continue }
        };
        let flow = in_parallel(&plain[..], (2, BLOCK), || Encoder::gzip(GzipLevel::default()), take).unwrap();
        assert_eq!((flow, pieces), (Flow::Stop, 2));
    }
}
