//! Reads a tar as a stream: one entry at a time, with the values of its PAX and GNU extensions (pax(1); GNU tar manual,
//! "Basic Tar Format").
//!
//! Where formats leave a choice, this reader chooses as Go's archive/tar does, because docker reads tars with that. It
//! shows every byte that is not the content of a file to a [`Recorder`].

use crate::{
    entry::{Entry, EntryKind, Time},
    error::{ArchiveError, TarProblem},
    field::{self, BLOCK, number, padding, size},
    limits::Limits,
    pax::Extensions,
    recorder::{Recorder, Unrecorded},
    sparse::{MapText, SparseMap},
};
use std::io::{BufRead, ErrorKind, Seek};

/// Fields of old GNU sparse headers: four pieces, a flag for further blocks of pieces, and the file's length.
const GNU_PIECES: std::ops::Range<usize> = 386..482;
const GNU_IS_EXTENDED: usize = 482;
const GNU_REAL_SIZE: std::ops::Range<usize> = 483..495;
/// The same fields in the blocks that follow.
const GNU_MORE_PIECES: std::ops::Range<usize> = 0..504;
const GNU_MORE_IS_EXTENDED: usize = 504;

/// A tar that is being read.
#[derive(Debug)]
pub struct TarReader<R, T = Unrecorded> {
    input: R,
    recorder: T,
    limits: Limits,
    /// Number of bytes read so far.
    position: u64,
    /// Number of bytes of the present entry's content that were not read yet, without its padding.
    unread: u64,
    /// Number of zeros after that content.
    padding: usize,
    entries: u64,
    /// Number of bytes of contents that were left out.
    unused: u64,
}

impl<R: BufRead> TarReader<R> {
    /// Reads the tar `input` within the usual limits.
    pub fn new(input: R) -> Self {
        Self::recording(input, Unrecorded)
    }
}

impl<R: BufRead, T: Recorder> TarReader<R, T> {
    /// Reads the tar `input` within the usual limits, and shows its bytes to `recorder`.
    pub fn recording(input: R, recorder: T) -> Self {
        let (position, unread, padding, entries, unused) = (0, 0, 0, 0, 0);
        Self { input, recorder, limits: Limits::STANDARD, position, unread, padding, entries, unused }
    }

    /// Sets other limits. Those of decompression have no effect here.
    #[must_use]
    pub fn within(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// The recorder, which has received every byte before the content of the present entry.
    pub fn recorder(&mut self) -> &mut T {
        &mut self.recorder
    }

    /// Number of bytes read so far. Right after [`Self::next_entry`] this is where the entry's content begins.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Reads the next entry, and skips the unread content of the one before. Returns `None` at the end, which is two
    /// blocks of zeros or the end of the stream.
    ///
    /// # Errors
    /// [`ArchiveError::Damaged`] when the bytes are not a tar or exceed a limit; the error of `input`.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, ArchiveError> {
        self.skip()?;
        let mut extensions = Extensions::default();
        let mut extension_bytes = 0;
        loop {
            let mut block = [0; BLOCK];
            if !self.block(&mut block)? {
                return Ok(None);
            }
            if block == [0; BLOCK] {
                return self.end().map(|()| None);
            }
            if !field::is_header(&block) {
                return Err(TarProblem::Header.into());
            }
            let flag = block[field::FLAG];
            if !matches!(flag, b'x' | b'g' | b'L' | b'K') {
                return self.entry(&block, extensions).map(Some);
            }
            let length = size("size", number("size", &block[field::SIZE])?)?;
            extension_bytes += length;
            if extension_bytes > self.limits.extension {
                let (size, limit) = (extension_bytes, self.limits.extension);
                return Err(TarProblem::ExtensionTooLong { size, limit }.into());
            }
            let body = self.extension(length)?;
            match flag {
                b'x' => extensions.add_pax(&body)?,
                b'L' => extensions.add_name(&body),
                b'K' => extensions.add_link(&body),
                // docker ignores global headers too
                _ => {}
            }
        }
    }

    /// Passes the content of the present entry to `take` in pieces. The recorder receives its bytes literally.
    ///
    /// # Errors
    /// [`ArchiveError::Damaged`] when the tar ends too early; the error of `input`. The inner result is that of `take`.
    pub fn content<E>(
        &mut self,
        take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Result<(), E>, ArchiveError> {
        self.pass(Recorder::literal, take)
    }

    /// Passes the content of the present entry, which becomes the file at `path`, to `take`. The recorder receives it as
    /// the content of that file.
    ///
    /// # Errors
    /// As [`Self::content`].
    pub fn content_of<E>(
        &mut self,
        path: &[u8],
        take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Result<(), E>, ArchiveError> {
        self.recorder.content(path, self.unread);
        self.pass(|_, _| {}, take)
    }

    /// Counts the content of the present entry, which becomes no file.
    ///
    /// # Errors
    /// [`ArchiveError::Damaged`] when there is more of such content than the limit.
    pub(crate) fn leave_out(&mut self) -> Result<(), ArchiveError> {
        self.count_unused(self.unread)
    }

    /// Reads to the end of the stream, because the bytes after the last entry are recorded too. Returns the recorder.
    ///
    /// # Errors
    /// The error of `input`; [`ArchiveError::Damaged`] when there is no end to it.
    pub fn finish(mut self) -> Result<T, ArchiveError> {
        loop {
            let available = available(&mut self.input)?;
            if available.is_empty() {
                return Ok(self.recorder);
            }
            self.recorder.literal(available);
            let count = available.len();
            self.input.consume(count);
            self.count_unused(count as u64)?;
        }
    }

    fn count_unused(&mut self, bytes: u64) -> Result<(), ArchiveError> {
        self.unused = self.unused.saturating_add(bytes);
        let limit = self.limits.unused;
        if self.unused > limit { Err(TarProblem::TooMuchUnused { limit }.into()) } else { Ok(()) }
    }

    fn entry(&mut self, block: &[u8; BLOCK], extensions: Extensions) -> Result<Entry, ArchiveError> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(TarProblem::TooManyEntries { limit: self.limits.entries }.into());
        }
        let id = |field: &'static str, given: Option<u64>, bytes: &[u8]| {
            let id = given.map_or_else(|| number(field, bytes), Ok)?;
            u32::try_from(id).map_err(|_| TarProblem::Number { field })
        };
        let flag = block[field::FLAG];
        let name = self.path(extensions.name.unwrap_or_else(|| field::name(block)))?;
        let link = extensions.link.unwrap_or_else(|| field::until_nul(&block[field::LINK]).to_vec());
        let kind = EntryKind::of(flag, &name);
        let length = extensions.size.map_or_else(|| number("size", &block[field::SIZE]), Ok)?;
        let mtime = number("mtime", &block[field::MTIME])?;
        let mut entry = Entry {
            kind,
            name,
            link: self.path(link)?,
            mode: (number("mode", &block[field::MODE])? & 0o7777) as u32,
            uid: id("uid", extensions.uid, &block[field::UID])?,
            gid: id("gid", extensions.gid, &block[field::GID])?,
            mtime: extensions.mtime.unwrap_or(Time { seconds: mtime.cast_signed(), nanoseconds: 0 }),
            atime: extensions.atime,
            // as in Go's reader, the other kinds have no content, even if their size is not zero
            stored: match kind {
                EntryKind::File | EntryKind::Unknown(_) => size("size", length)?,
                _ => 0,
            },
            sparse: None,
            device: device_numbers(kind, block)?,
            attributes: extensions.attributes,
        };
        // the padding depends on the header's size, which includes the map of a sparse file
        self.padding = padding(entry.stored);
        if flag == b'S' {
            entry.sparse = Some(self.gnu_sparse(block)?);
        } else if let Some(length) = extensions.sparse.size() {
            let map = SparseMap::new(length, self.limits.sparse_pieces);
            entry.sparse = Some(if extensions.sparse.is_in_content() {
                self.map_in_content(map, &mut entry.stored)?
            } else {
                extensions.sparse.map(map)?
            });
        }
        if entry.sparse.as_ref().is_some_and(|map| map.stored() != entry.stored) {
            return Err(TarProblem::Sparse.into());
        }
        self.unread = entry.stored;
        Ok(entry)
    }

    fn path(&self, path: Vec<u8>) -> Result<Vec<u8>, TarProblem> {
        let (length, limit) = (path.len(), self.limits.path);
        if length > limit { Err(TarProblem::PathTooLong { length, limit }) } else { Ok(path) }
    }

    /// Reads the map of an old GNU sparse file, whose further blocks may follow the header.
    fn gnu_sparse(&mut self, header: &[u8; BLOCK]) -> Result<SparseMap, ArchiveError> {
        let length = number("size", &header[GNU_REAL_SIZE]).and_then(|length| size("size", length));
        let mut map = SparseMap::new(length.map_err(|_| TarProblem::Sparse)?, self.limits.sparse_pieces);
        map.add_gnu(&header[GNU_PIECES])?;
        let mut more = header[GNU_IS_EXTENDED] == 1;
        while more {
            let mut block = [0; BLOCK];
            if !self.block(&mut block)? {
                return Err(TarProblem::Truncated.into());
            }
            map.add_gnu(&block[GNU_MORE_PIECES])?;
            more = block[GNU_MORE_IS_EXTENDED] == 1;
        }
        Ok(map)
    }

    /// Reads the map before the content. Its blocks count as stored bytes.
    fn map_in_content(&mut self, map: SparseMap, stored: &mut u64) -> Result<SparseMap, ArchiveError> {
        let mut text = MapText::new(map);
        loop {
            *stored = stored.checked_sub(BLOCK as u64).ok_or(TarProblem::Sparse)?;
            let mut block = [0; BLOCK];
            if !self.block(&mut block)? {
                return Err(TarProblem::Truncated.into());
            }
            match text.add(&block)? {
                Ok(map) => return Ok(map),
                Err(more) => text = more,
            }
        }
    }

    /// Reads the content of an extension header.
    fn extension(&mut self, length: u64) -> Result<Vec<u8>, ArchiveError> {
        // no memory is reserved, because the stated size may be far larger than the rest of the stream
        let mut body = Vec::new();
        self.unread = length;
        self.padding = padding(length);
        let read = self.content(|piece| {
            body.extend_from_slice(piece);
            Ok::<(), ArchiveError>(())
        })?;
        read.map(|()| body)
    }

    /// Skips the unread content of the present entry.
    fn skip(&mut self) -> Result<(), ArchiveError> {
        self.content(|_| Ok::<(), ArchiveError>(()))?
    }

    /// Reads the rest of the content, and the zeros after it.
    fn pass<E>(
        &mut self,
        record: impl Fn(&mut T, &[u8]),
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Result<(), E>, ArchiveError> {
        while self.unread > 0 {
            let available = available(&mut self.input)?;
            if available.is_empty() {
                return Err(TarProblem::Truncated.into());
            }
            let count = available.len().min(usize::try_from(self.unread).unwrap_or(usize::MAX));
            if let Err(error) = take(&available[..count]) {
                return Ok(Err(error));
            }
            record(&mut self.recorder, &available[..count]);
            self.input.consume(count);
            self.unread -= count as u64;
            self.position += count as u64;
        }
        let mut zeros = [0; BLOCK];
        let zeros = &mut zeros[..std::mem::take(&mut self.padding)];
        if self.fill(zeros)? < zeros.len() { Err(TarProblem::Truncated.into()) } else { Ok(Ok(())) }
    }

    /// Checks that after the first block of zeros another follows, or nothing.
    fn end(&mut self) -> Result<(), ArchiveError> {
        let mut block = [0; BLOCK];
        if self.fill(&mut block)? == BLOCK && block != [0; BLOCK] {
            return Err(TarProblem::Header.into());
        }
        Ok(())
    }

    /// Reads one block. Returns `false` at the end of the stream.
    fn block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, ArchiveError> {
        match self.fill(block)? {
            0 => Ok(false),
            BLOCK => Ok(true),
            _ => Err(TarProblem::Truncated.into()),
        }
    }

    /// Fills `into`, or less of it at the end of the stream, and records the bytes.
    fn fill(&mut self, into: &mut [u8]) -> Result<usize, ArchiveError> {
        let mut filled = 0;
        while filled < into.len() {
            let available = available(&mut self.input)?;
            if available.is_empty() {
                break;
            }
            let count = available.len().min(into.len() - filled);
            into[filled..filled + count].copy_from_slice(&available[..count]);
            self.input.consume(count);
            filled += count;
        }
        self.position += filled as u64;
        self.recorder.literal(&into[..filled]);
        Ok(filled)
    }
}

impl<R: BufRead + Seek> TarReader<R> {
    /// Skips the content of the present entry without reading it.
    ///
    /// # Errors
    /// [`ArchiveError::Damaged`] when the tar ends too early; the error of seeking.
    pub fn seek_past_content(&mut self) -> Result<(), ArchiveError> {
        // read the last byte, because seeking past the end of a file does not fail
        if let Some(most) = (self.unread + self.padding as u64).checked_sub(1) {
            let offset = i64::try_from(most).map_err(|_| TarProblem::Truncated)?;
            self.input.seek_relative(offset).map_err(ArchiveError::Read)?;
            self.position += most;
            (self.unread, self.padding) = (0, 0);
            if self.fill(&mut [0])? == 0 {
                return Err(TarProblem::Truncated.into());
            }
        }
        Ok(())
    }
}

/// The next bytes of `input`, without copying them; empty at the end.
fn available(input: &mut impl BufRead) -> Result<&[u8], ArchiveError> {
    // the call is repeated below, because a borrow that is returned cannot be retried
    while let Err(error) = input.fill_buf() {
        if error.kind() != ErrorKind::Interrupted {
            return Err(ArchiveError::Read(error));
        }
    }
    input.fill_buf().map_err(ArchiveError::Read)
}

fn device_numbers(kind: EntryKind, block: &[u8; BLOCK]) -> Result<(u32, u32), TarProblem> {
    if !matches!(kind, EntryKind::CharDevice | EntryKind::BlockDevice) {
        return Ok((0, 0));
    }
    let part = |bytes: &[u8]| {
        u32::try_from(number("device", bytes)?).map_err(|_| TarProblem::Number { field: "device" })
    };
    Ok((part(&block[field::MAJOR])?, part(&block[field::MINOR])?))
}
