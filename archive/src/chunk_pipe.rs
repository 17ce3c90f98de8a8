//! A bounded pipe of big buffers between two threads: one reads or decompresses while the other writes or hashes.
//!
//! At most [`DEPTH`] full buffers wait, and empty ones go back to the writer, so a pipe holds little more than a MiB, however much
//! passes through it. Either end may be dropped: the writer's next send then fails, or the reader sees the end. `E` is
//! the type of errors with which the writer can end the stream.

use std::{
    io::{self, BufRead, Read, Write},
    sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
};

/// Number of bytes in a full buffer.
const CHUNK: usize = 256 << 10;

/// Largest number of full buffers that wait for the reader.
const DEPTH: usize = 4;

/// Makes a pipe.
#[must_use]
pub fn pipe<E>() -> (ChunkWriter<E>, ChunkReader<E>) {
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

/// The end that takes bytes. Bytes in its last buffer are lost unless [`ChunkWriter::finish`] sends them.
#[derive(Debug)]
pub struct ChunkWriter<E> {
    buffer: Vec<u8>,
    filled: usize,
    full: SyncSender<Result<Chunk, E>>,
    emptied: Receiver<Vec<u8>>,
}

/// The reader was dropped, so the bytes are not needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReaderGone;

/// The reason for which a source was not moved into a pipe to its end.
#[derive(Debug)]
pub enum FillError<E = io::Error> {
    /// The reader was dropped.
    ReaderGone,
    /// The source failed.
    Source(E),
}

impl<E> From<ReaderGone> for FillError<E> {
    fn from(ReaderGone: ReaderGone) -> Self {
        Self::ReaderGone
    }
}

impl<E> ChunkWriter<E> {
    /// Reads `source` to its end, straight into the buffers of the pipe, and shows each piece to `see`.
    ///
    /// # Errors
    /// Fails when `source` fails, or the reader was dropped.
    pub fn fill(&mut self, source: &mut impl Read, mut see: impl FnMut(&[u8])) -> Result<(), FillError> {
        loop {
            let space = self.space();
            let count = match source.read(space) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(FillError::Source(error)),
            };
            see(&space[..count]);
            self.advance(count)?;
        }
    }

    /// Writes `bytes`.
    ///
    /// # Errors
    /// Fails when the reader was dropped.
    pub fn put(&mut self, mut bytes: &[u8]) -> Result<(), ReaderGone> {
        while !bytes.is_empty() {
            let space = self.space();
            let count = bytes.len().min(space.len());
            space[..count].copy_from_slice(&bytes[..count]);
            bytes = &bytes[count..];
            self.advance(count)?;
        }
        Ok(())
    }

    /// The free part of the buffer, which is never empty. [`Self::advance`] must follow with the number of bytes written.
    pub fn space(&mut self) -> &mut [u8] {
        &mut self.buffer[self.filled..]
    }

    /// States that the first `count` bytes of [`Self::space`] are filled.
    ///
    /// # Errors
    /// Fails when the reader was dropped.
    pub fn advance(&mut self, count: usize) -> Result<(), ReaderGone> {
        self.filled += count;
        if self.filled == CHUNK { self.send() } else { Ok(()) }
    }

    /// Sends the last buffer; the reader sees the end after it.
    ///
    /// # Errors
    /// Fails when the reader was dropped.
    pub fn finish(mut self) -> Result<(), ReaderGone> {
        if self.filled == 0 { Ok(()) } else { self.send() }
    }

    /// Sends the last buffer, and ends the stream with an error after it.
    pub fn fail(mut self, error: E) {
        if self.filled > 0 && self.send().is_err() {
            return;
        }
        // a reader that was dropped does not need the error
        let _ = self.full.send(Err(error));
    }

    /// Sends a buffer of another pipe; returns one that may be used again there, if this pipe has one to spare.
    fn exchange(&mut self, chunk: Chunk) -> Result<Option<Vec<u8>>, ReaderGone> {
        self.full.send(Ok(chunk)).map_err(|_| ReaderGone)?;
        Ok(self.emptied.try_recv().ok())
    }

    fn send(&mut self) -> Result<(), ReaderGone> {
        let next = self.emptied.try_recv().unwrap_or_else(|_| vec![0; CHUNK]);
        let bytes = std::mem::replace(&mut self.buffer, next);
        let filled = std::mem::take(&mut self.filled);
        self.full.send(Ok(Chunk { bytes, filled })).map_err(|_| ReaderGone)
    }
}

impl<E> Write for ChunkWriter<E> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(bytes).map_err(|ReaderGone| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The end that gives bytes.
#[derive(Debug)]
pub struct ChunkReader<E> {
    filled: Receiver<Result<Chunk, E>>,
    empty: Sender<Vec<u8>>,
    current: Chunk,
    position: usize,
}

impl<E> ChunkReader<E> {
    /// The next bytes, without copying them; empty at the end.
    ///
    /// # Errors
    /// Fails with the error with which the writer ended the stream.
    pub fn available(&mut self) -> Result<&[u8], E> {
        if self.position == self.current.filled {
            let Ok(next) = self.filled.recv() else { return Ok(&[]) };
            let used = std::mem::replace(&mut self.current, next?).bytes;
            self.position = 0;
            if !used.is_empty() {
                // a writer that has ended does not need the buffer
                let _ = self.empty.send(used);
            }
        }
        Ok(&self.current.bytes[self.position..self.current.filled])
    }

    /// Moves all that comes to `out`, to which nothing was written, without copying it, and shows each piece to `see`.
    ///
    /// # Errors
    /// Fails with the error with which the writer ended the stream, or when the reader of `out` was dropped.
    pub fn pass_on(self, out: &mut ChunkWriter<E>, mut see: impl FnMut(&[u8])) -> Result<(), FillError<E>> {
        while let Ok(next) = self.filled.recv() {
            let chunk = next.map_err(FillError::Source)?;
            see(&chunk.bytes[..chunk.filled]);
            if let Some(used) = out.exchange(chunk)? {
                // a writer that has ended does not need the buffer
                let _ = self.empty.send(used);
            }
        }
        Ok(())
    }

    /// Consumes `count` of the available bytes.
    pub fn consume(&mut self, count: usize) {
        self.position += count;
    }
}

impl<E: Into<io::Error>> Read for ChunkReader<E> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(into.len());
        into[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl<E: Into<io::Error>> BufRead for ChunkReader<E> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.available().map_err(Into::into)
    }

    fn consume(&mut self, count: usize) {
        ChunkReader::consume(self, count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(length: usize) -> Vec<u8> {
        (0..length).map(|number| (number % 251) as u8).collect()
    }

    #[test]
    fn what_goes_in_comes_out() {
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 9 * CHUNK + 17] {
            let sent = numbers(length);
            let (mut writer, mut reader) = pipe::<io::Error>();
            let (mut seen, mut received) = (0, Vec::new());
            std::thread::scope(|scope| {
                let source = &sent;
                scope.spawn(move || {
                    // in halves, by both ways of writing
                    let (first, second) = source.split_at(length / 2);
                    writer.put(first).unwrap();
                    writer.fill(&mut &*second, |piece| seen += piece.len()).unwrap();
                    assert_eq!(seen, second.len());
                    writer.finish().unwrap();
                });
                reader.read_to_end(&mut received).unwrap();
            });
            assert!(received == sent, "{length} bytes");
        }
    }

    #[test]
    fn what_is_passed_on_is_seen_and_comes_out() {
        for length in [0, 1, CHUNK + 1, 9 * CHUNK + 17] {
            let sent = numbers(length);
            let (mut writer, between) = pipe::<io::Error>();
            let (mut out, mut reader) = pipe();
            let (mut seen, mut received) = (Vec::new(), Vec::new());
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    writer.put(&sent).unwrap();
                    writer.finish().unwrap();
                });
                scope.spawn(|| {
                    between.pass_on(&mut out, |piece| seen.extend_from_slice(piece)).unwrap();
                    out.finish().unwrap();
                });
                reader.read_to_end(&mut received).unwrap();
            });
            assert!(received == sent && seen == sent, "{length} bytes");
        }
        let (writer, between) = pipe();
        writer.fail(io::Error::from_raw_os_error(5));
        let failed = between.pass_on(&mut pipe().0, |_| {});
        assert!(matches!(failed, Err(FillError::Source(error)) if error.raw_os_error() == Some(5)));
    }

    #[test]
    fn a_failing_writer_ends_the_stream_with_its_error() {
        let (mut writer, mut reader) = pipe();
        writer.put(&numbers(CHUNK + 7)).unwrap();
        writer.fail(io::Error::other("the disk is gone"));
        let mut received = Vec::new();
        let error = reader.read_to_end(&mut received).unwrap_err();
        assert_eq!((error.to_string().as_str(), received.len()), ("the disk is gone", CHUNK + 7));
    }

    #[test]
    fn a_writer_stops_when_its_reader_is_gone() {
        let (mut writer, reader) = pipe::<io::Error>();
        drop(reader);
        let endless = &mut io::repeat(7);
        assert!(matches!(writer.fill(endless, |_| {}), Err(FillError::ReaderGone)));
        assert_eq!(writer.put(&numbers(2 * CHUNK)), Err(ReaderGone));
    }

    #[test]
    fn a_failing_source_is_told_from_a_reader_that_is_gone() {
        struct Failing;
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::from_raw_os_error(5))
            }
        }
        let (mut writer, _reader) = pipe::<io::Error>();
        let error = writer.fill(&mut Failing, |_| {});
        assert!(matches!(error, Err(FillError::Source(error)) if error.raw_os_error() == Some(5)));
    }
}
