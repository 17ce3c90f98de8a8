//! Files that may be tars, recognised by their bytes and never by their names.

use crate::{
    chunk_pipe::{ChunkWriter, FillError, pipe},
    decompress::{Codec, decompressed},
    field::{BLOCK, is_header},
    tar_reader::TarReader,
};
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek},
    thread,
};

/// Number of bytes that are read at once from an uncompressed tar.
const BUFFER: usize = 256 << 10;

/// A file that begins with a tar header and may be compressed.
#[derive(Debug)]
pub struct TarFile {
    file: File,
    codec: Codec,
}

impl TarFile {
    /// Opens the tar in `file`. Returns `None` when it is not a tar, or cannot be decompressed.
    ///
    /// # Errors
    /// Fails when `file` cannot be read, or not from its beginning.
    pub fn recognise(mut file: File) -> io::Result<Option<Self>> {
        let start = first_block(&mut file)?;
        file.rewind()?;
        let codec = Codec::of(&start);
        let header = match codec {
            Codec::Plain => start,
            compressed => {
                let decompressed = decompressed(compressed, &file).and_then(first_block);
                file.rewind()?;
                decompressed.unwrap_or_default()
            }
        };
        Ok(begins_tar(&header).then_some(Self { file, codec }))
    }

    /// Passes the entries to `read`, while a thread of its own decompresses a compressed tar.
    ///
    /// # Errors
    /// Fails when the thread cannot be started. The inner result is that of `read`.
    pub fn read<T>(self, read: impl FnOnce(TarReader<&mut dyn BufRead>) -> T) -> io::Result<T> {
        let Self { file, codec } = self;
        if codec == Codec::Plain {
            return Ok(read(TarReader::new(&mut BufReader::with_capacity(BUFFER, file))));
        }
        let (writer, mut reader) = pipe();
        thread::scope(|scope| {
            thread::Builder::new()
                .name("decompress".to_owned())
                .spawn_scoped(scope, move || decompress(codec, file, writer))?;
            let result = read(TarReader::new(&mut reader));
            // drop the reader, because the thread would wait for one that has stopped early
            drop(reader);
            Ok(result)
        })
    }
}

/// True if bytes that begin with `head` look like an archive: a tar, or anything compressed. `head` should have 512 bytes
/// if there are so many.
#[must_use]
pub fn begins_archive(head: &[u8]) -> bool {
    Codec::of(head) != Codec::Plain || begins_tar(head)
}

fn begins_tar(head: &[u8]) -> bool {
    head.first_chunk::<BLOCK>().is_some_and(is_header)
}

fn first_block(source: impl Read) -> io::Result<Vec<u8>> {
    let mut block = Vec::with_capacity(BLOCK);
    source.take(BLOCK as u64).read_to_end(&mut block)?;
    Ok(block)
}

fn decompress(codec: Codec, file: File, mut out: ChunkWriter<io::Error>) {
    let filled = match decompressed(codec, file) {
        Ok(mut source) => out.fill(&mut source, |_| {}),
        Err(error) => Err(FillError::Source(error)),
    };
    match filled {
        // a reader that was dropped has read enough
        Ok(()) => drop(out.finish()),
        Err(FillError::ReaderGone) => {}
        Err(FillError::Source(error)) => out.fail(error),
    }
}
