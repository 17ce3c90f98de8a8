//! A bounded pipe of big buffers between two threads: one reads or decompresses while the other writes or hashes.
//!
//! At most [`DEPTH`] full buffers wait, and emptied ones go back to be filled again, so a pipe holds a few MiB whatever
//! passes through it. Either end may go away: the writer's next send then fails, the reader sees the end.

use crate::ImageError;
use std::{
    io::{self, Read, Write},
    sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
};

/// Bytes in a full buffer.
pub(crate) const CHUNK: usize = 1 << 20;

/// Full buffers that may wait.
const DEPTH: usize = 4;

/// Makes a pipe.
pub(crate) fn pipe() -> (ChunkWriter, ChunkReader) {
    let (full, filled) = sync_channel(DEPTH);
    let (empty, emptied) = channel();
    let writer = ChunkWriter { buffer: vec![0; CHUNK], filled: 0, full, emptied };
    (writer, ChunkReader { filled, empty, current: Chunk { bytes: Vec::new(), filled: 0 }, position: 0 })
}

/// A buffer, always [`CHUNK`] initialised bytes long, of which the first `filled` mean something.
#[derive(Debug)]
struct Chunk {
    bytes: Vec<u8>,
    filled: usize,
}

/// The end bytes go into. What is not sent by [`ChunkWriter::finish`] is lost.
#[derive(Debug)]
pub(crate) struct ChunkWriter {
    buffer: Vec<u8>,
    filled: usize,
    full: SyncSender<Result<Chunk, ImageError>>,
    emptied: Receiver<Vec<u8>>,
}

/// The reader is gone: nobody wants the bytes any more.
#[derive(Debug)]
pub(crate) struct ReaderGone;

impl ChunkWriter {
    /// Adds `bytes`.
    pub(crate) fn put(&mut self, mut bytes: &[u8]) -> Result<(), ReaderGone> {
        while !bytes.is_empty() {
            let space = self.space();
            let count = bytes.len().min(space.len());
            space[..count].copy_from_slice(&bytes[..count]);
            bytes = &bytes[count..];
            self.advance(count)?;
        }
        Ok(())
    }

    /// The room left in the buffer, never empty; say with [`Self::advance`] how much of it was filled.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        &mut self.buffer[self.filled..]
    }

    /// States that the first `count` bytes of [`Self::space`] are filled.
    pub(crate) fn advance(&mut self, count: usize) -> Result<(), ReaderGone> {
        self.filled += count;
        if self.filled == CHUNK { self.send() } else { Ok(()) }
    }

    /// Sends what is left; the reader then sees the end.
    pub(crate) fn finish(mut self) -> Result<(), ReaderGone> {
        if self.filled == 0 { Ok(()) } else { self.send() }
    }

    /// Ends the stream with an error instead.
    pub(crate) fn fail(self, error: ImageError) {
        // a reader that is gone does not want to know
        let _ = self.full.send(Err(error));
    }

    fn send(&mut self) -> Result<(), ReaderGone> {
        let next = self.emptied.try_recv().unwrap_or_else(|_| vec![0; CHUNK]);
        let bytes = std::mem::replace(&mut self.buffer, next);
        let filled = std::mem::take(&mut self.filled);
        self.full.send(Ok(Chunk { bytes, filled })).map_err(|_| ReaderGone)
    }
}

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(bytes).map_err(|ReaderGone| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The end bytes come out of.
#[derive(Debug)]
pub(crate) struct ChunkReader {
    filled: Receiver<Result<Chunk, ImageError>>,
    empty: Sender<Vec<u8>>,
    current: Chunk,
    position: usize,
}

impl ChunkReader {
    /// The bytes that can be had without copying; empty at the end.
    pub(crate) fn available(&mut self) -> Result<&[u8], ImageError> {
        if self.position == self.current.filled {
            let Ok(next) = self.filled.recv() else { return Ok(&[]) };
            let used = std::mem::replace(&mut self.current, next?).bytes;
            self.position = 0;
            if !used.is_empty() {
                // a writer that has ended needs no buffers
                let _ = self.empty.send(used);
            }
        }
        Ok(&self.current.bytes[self.position..self.current.filled])
    }

    /// Takes `count` of the available bytes.
    pub(crate) fn consume(&mut self, count: usize) {
        self.position += count;
    }
}

impl Read for ChunkReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let available = self.available().map_err(io::Error::other)?;
        let count = available.len().min(into.len());
        into[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}
