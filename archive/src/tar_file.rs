//! Files that may be tars: known by their bytes, never by their names.

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

/// Bytes read at once of a tar that is not compressed.
const BUFFER: usize = 256 << 10;

/// A file that begins with a tar header, perhaps compressed.
#[derive(Debug)]
pub struct TarFile {
    file: File,
    codec: Codec,
}

impl TarFile {
    /// The tar in `file`; `None` when it is not one, which includes what does not decompress.
    ///
    /// # Errors
    /// When `file` cannot be read, or not from its beginning.
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

    /// Gives its entries to `read`. A compressed tar is decompressed on a thread of its own meanwhile.
    ///
    /// # Errors
    /// When there can be no such thread; and inside, what `read` returns.
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
            // the thread must not wait for a reader that has stopped early
            drop(reader);
            Ok(result)
        })
    }
}

/// Whether bytes that begin with `head`, of which there should be 512 if there are as many, look like an archive: a tar,
/// or something compressed.
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
        // a reader that is gone has seen enough
        Ok(()) => drop(out.finish()),
        Err(FillError::ReaderGone) => {}
        Err(FillError::Source(error)) => out.fail(error),
    }
}
