//! ADD's archives (`spec` §6.9): what counts as one, and reading it. A compressed archive is decompressed on a thread
//! of its own while the caller's writes files.

mod extract;

pub(crate) use extract::extract;

use crate::ExecutorError;
use rustix::fs::{SeekFrom, seek};
use std::{
    fs::File,
    io::{self, BufReader, Read},
    os::fd::OwnedFd,
    sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
};

/// A tar header, and the least an archive has.
const BLOCK: usize = 512;
/// Bytes that pass between the threads at once.
const CHUNK: usize = 256 << 10;
/// Pieces on the way: bounds memory.
const PIECES: usize = 8;
/// Longest match window of an xz archive, in bytes of memory.
const XZ_MEMORY: u64 = 256 << 20;

/// A file that is an archive.
#[derive(Debug)]
pub(crate) struct Archive {
    file: File,
    codec: Codec,
    /// What messages call it.
    pub(crate) name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Codec {
    Plain,
    Gzip,
    Bzip2,
    Xz,
    Zstd,
}

/// The archive in `file`, if its bytes (not its name) are one: a tar header, perhaps compressed.
pub(crate) fn recognise(file: OwnedFd, path: &[u8]) -> Result<Option<Archive>, ExecutorError> {
    let mut file = File::from(file);
    let fail = |error| ExecutorError::system("read", path, error);
    let start = first_block(&mut file).map_err(fail)?;
    let codec = codec(&start);
    rewind(&file).map_err(fail)?;
    let header = match codec {
        Codec::Plain => start,
        compressed => {
            let copy = file.try_clone().map_err(fail)?;
            // what does not decompress is no archive but a file
            let header = decoder(copy, compressed).and_then(|mut decoder| first_block(&mut decoder));
            rewind(&file).map_err(fail)?;
            header.unwrap_or_default()
        }
    };
    let name = String::from_utf8_lossy(path).into_owned();
    Ok(is_header(&header).then_some(Archive { file, codec, name }))
}

impl Archive {
    /// Hands the archive's tar stream to `read`.
    fn stream<T>(self, read: impl FnOnce(&mut dyn Read) -> T) -> T {
        let Self { file, codec, .. } = self;
        if codec == Codec::Plain {
            return read(&mut BufReader::with_capacity(CHUNK, file));
        }
        let (full, pieces) = sync_channel(PIECES);
        let (used, empty) = channel();
        std::thread::scope(|scope| {
            scope.spawn(move || decompress(file, codec, &full, &empty));
            read(&mut Pipe { pieces, used, piece: Vec::new(), at: 0 })
        })
    }
}

fn first_block(source: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut block = Vec::with_capacity(BLOCK);
    source.take(BLOCK as u64).read_to_end(&mut block)?;
    Ok(block)
}

fn rewind(file: &File) -> io::Result<()> {
    seek(file, SeekFrom::Start(0)).map(drop).map_err(Into::into)
}

fn codec(start: &[u8]) -> Codec {
    match start {
        [0x1f, 0x8b, 0x08, ..] => Codec::Gzip,
        [b'B', b'Z', b'h', ..] => Codec::Bzip2,
        [0xfd, b'7', b'z', b'X', b'Z', 0x00, ..] => Codec::Xz,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Codec::Zstd,
        // a skippable frame before the first one
        [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Codec::Zstd,
        _ => Codec::Plain,
    }
}

fn decoder(file: File, codec: Codec) -> io::Result<Box<dyn Read>> {
    let file = BufReader::with_capacity(CHUNK, file);
    Ok(match codec {
        Codec::Plain => Box::new(file),
        Codec::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
        Codec::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(file)),
        Codec::Xz => {
            let stream =
                liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(file, stream))
        }
        Codec::Zstd => Box::new(zstd::Decoder::with_buffer(file)?),
    })
}

/// Whether `block` is a tar header: its checksum is right, counted in either of the two ways there are.
fn is_header(block: &[u8]) -> bool {
    if block.len() < BLOCK || block.iter().all(|byte| *byte == 0) {
        return false;
    }
    let field = std::str::from_utf8(&block[148..156]).unwrap_or_default();
    let Ok(stored) = i64::from_str_radix(field.trim_matches(['\0', ' ']), 8) else { return false };
    let counted = |byte: usize| if (148..156).contains(&byte) { b' ' } else { block[byte] };
    let unsigned: i64 = (0..BLOCK).map(|at| i64::from(counted(at))).sum();
    let signed: i64 = (0..BLOCK).map(|at| i64::from(counted(at).cast_signed())).sum();
    stored == unsigned || stored == signed
}

type Piece = io::Result<Vec<u8>>;

/// Sends the decompressed stream until its end, an error, or nobody listens.
fn decompress(file: File, codec: Codec, full: &SyncSender<Piece>, empty: &Receiver<Vec<u8>>) {
    let mut decoder = match decoder(file, codec) {
        Ok(decoder) => decoder,
        Err(error) => return drop(full.send(Err(error))),
    };
    loop {
        let mut piece = empty.try_recv().unwrap_or_default();
        piece.resize(CHUNK, 0);
        let mut length = 0;
        while length < CHUNK {
            match decoder.read(&mut piece[length..]) {
                Ok(0) => break,
                Ok(more) => length += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return drop(full.send(Err(error))),
            }
        }
        piece.truncate(length);
        if full.send(Ok(piece)).is_err() || length == 0 {
            return;
        }
    }
}

/// The other end of [`decompress`].
struct Pipe {
    pieces: Receiver<Piece>,
    used: Sender<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.piece.len() {
            let Ok(next) = self.pieces.recv() else { return Ok(0) };
            let old = std::mem::replace(&mut self.piece, next?);
            // nobody may be decompressing any more
            let _ = self.used.send(old);
            self.at = 0;
        }
        let length = buffer.len().min(self.piece.len() - self.at);
        buffer[..length].copy_from_slice(&self.piece[self.at..][..length]);
        self.at += length;
        Ok(length)
    }
}
