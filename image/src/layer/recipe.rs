//! Recipes: what a layer's directory does not say about the tar it came from, so that the very same bytes can be made
//! again (the idea of tar-split). A recipe is a blob:
//!
//! ```text
//! "rbuild-recipe 1\n"
//! u32 n, then n times: u64 index of a content, u32 number of a lost file     (little endian, as all numbers)
//! a zstd stream of records:
//!     0  u32 length, bytes               bytes as they stood: headers, padding, what follows the end
//!     1  u64 size, u16 length, path      the content of the file at `path`
//! ```
//!
//! When a tar has a name twice the earlier content is not in the tree any more; it is kept as `lost/<number>` beside the
//! layer's `fs`.

use super::tar_writer::Stop;
use crate::ImageError;
use rbuild_archive::{ChunkWriter, Recorder};
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::File,
    hash::{BuildHasher, RandomState},
    io::{self, BufRead, BufReader, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

const MAGIC: &[u8; 16] = b"rbuild-recipe 1\n";
const LITERAL: u8 = 0;
const CONTENT: u8 = 1;
/// Headers are alike, so the fastest level already shrinks them twentyfold.
const LEVEL: i32 = 1;
/// Literal bytes gathered into one record.
const GATHER: usize = 64 << 10;

/// The directory beside a layer's `fs` that holds contents the tar itself replaced.
pub(crate) const LOST_DIRECTORY: &str = "lost";

/// A recipe being recorded. It is kept in memory, compressed: some 30 bytes a file.
pub(crate) struct RecipeWriter {
    literal: Vec<u8>,
    out: zstd::stream::write::Encoder<'static, Vec<u8>>,
    contents: u64,
    /// The content that each path has at the moment, by the path's hash.
    current: HashMap<u64, u64>,
    hasher: RandomState,
    lost: Vec<(u64, u32)>,
    /// The first failure of the compressor, reported at the end.
    failure: Option<io::Error>,
}

impl std::fmt::Debug for RecipeWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecipeWriter").field("contents", &self.contents).finish_non_exhaustive()
    }
}

impl RecipeWriter {
    pub(crate) fn new() -> Result<Self, ImageError> {
        Ok(Self {
            literal: Vec::new(),
            out: zstd::stream::write::Encoder::new(Vec::new(), LEVEL).map_err(ImageError::Recipe)?,
            contents: 0,
            current: HashMap::new(),
            hasher: RandomState::new(),
            lost: Vec::new(),
            failure: None,
        })
    }

    /// States that the content of `path` is about to be replaced; returns the number of the lost file it must become,
    /// or `None` when no content of this tar stands there.
    pub(crate) fn lose(&mut self, path: &[u8]) -> Option<u32> {
        let content = self.current.remove(&self.hasher.hash_one(path))?;
        let number = self.lost.len() as u32;
        self.lost.push((content, number));
        Some(number)
    }

    /// The whole recipe.
    pub(crate) fn finish(mut self) -> Result<Vec<u8>, ImageError> {
        self.flush();
        if let Some(failure) = self.failure {
            return Err(ImageError::Recipe(failure));
        }
        let records = self.out.finish().map_err(ImageError::Recipe)?;
        let mut blob = Vec::with_capacity(MAGIC.len() + 4 + 12 * self.lost.len() + records.len());
        blob.extend_from_slice(MAGIC);
        blob.extend_from_slice(&(self.lost.len() as u32).to_le_bytes());
        for (content, number) in &self.lost {
            blob.extend_from_slice(&content.to_le_bytes());
            blob.extend_from_slice(&number.to_le_bytes());
        }
        blob.extend_from_slice(&records);
        Ok(blob)
    }

    fn flush(&mut self) {
        if !self.literal.is_empty() {
            let length = (self.literal.len() as u32).to_le_bytes();
            self.write(&[LITERAL]);
            self.write(&length);
            let mut literal = std::mem::take(&mut self.literal);
            self.write(&literal);
            literal.clear();
            self.literal = literal;
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.failure.is_none() {
            self.failure = self.out.write_all(bytes).err();
        }
    }
}

impl Recorder for RecipeWriter {
    fn literal(&mut self, bytes: &[u8]) {
        self.literal.extend_from_slice(bytes);
        if self.literal.len() >= GATHER {
            self.flush();
        }
    }

    fn content(&mut self, path: &[u8], size: u64) {
        self.flush();
        let length = (path.len() as u16).to_le_bytes();
        self.write(&[&[CONTENT], &size.to_le_bytes()[..], &length, path].concat());
        self.current.insert(self.hasher.hash_one(path), self.contents);
        self.contents += 1;
    }
}

/// Makes the tar again from `recipe` and the layer's directory `layer` (the one that holds `fs`).
pub(crate) fn replay(recipe: impl Read, layer: &Path, out: &mut ChunkWriter<ImageError>) -> Result<(), Stop> {
    let mut recipe = BufReader::new(recipe);
    let lost = read_lost(&mut recipe).map_err(damaged)?;
    let mut records =
        BufReader::with_capacity(GATHER, zstd::stream::read::Decoder::with_buffer(recipe).map_err(damaged)?);
    let files = layer.join("fs");
    // entries are opened beneath it, because together with the path of the store theirs can be too long
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(&files, flags, Mode::empty()).map_err(|errno| {
        Stop::Failed(ImageError::LayerFile { action: "open", path: files.clone(), source: errno.into() })
    })?;
    let mut contents = 0;
    while !records.fill_buf().map_err(damaged)?.is_empty() {
        match read_array::<1>(&mut records).map_err(damaged)? {
            [LITERAL] => {
                let length = u32::from_le_bytes(read_array(&mut records).map_err(damaged)?);
                copy(&mut records, length.into(), out).map_err(|stop| stop.unwrap_or_else(damaged))?;
            }
            [CONTENT] => {
                let size = u64::from_le_bytes(read_array(&mut records).map_err(damaged)?);
                let length = u16::from_le_bytes(read_array(&mut records).map_err(damaged)?);
                let mut path = vec![0; length.into()];
                records.read_exact(&mut path).map_err(damaged)?;
                let path = Path::new(OsStr::from_bytes(&path));
                match lost.get(&contents) {
                    Some(number) => {
                        let path = layer.join(LOST_DIRECTORY).join(number.to_string());
                        copy_file((CWD, &path), &path, size, out)?;
                    }
                    None => copy_file((root.as_fd(), path), &files.join(path), size, out)?,
                }
                contents += 1;
            }
            _ => return Err(damaged(io::ErrorKind::InvalidData.into())),
        }
    }
    Ok(())
}

fn read_lost(recipe: &mut impl Read) -> io::Result<HashMap<u64, u32>> {
    if &read_array::<16>(recipe)? != MAGIC {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let count = u32::from_le_bytes(read_array(recipe)?);
    (0..count)
        .map(|_| Ok((u64::from_le_bytes(read_array(recipe)?), u32::from_le_bytes(read_array(recipe)?))))
        .collect()
}

fn copy_file(
    (directory, path): (BorrowedFd<'_>, &Path),
    shown: &Path,
    size: u64,
    out: &mut ChunkWriter<ImageError>,
) -> Result<(), Stop> {
    let failed = |action: &'static str| {
        move |source| Stop::Failed(ImageError::LayerFile { action, path: shown.to_owned(), source })
    };
    // the tree was unpacked by us and committed: what stands there is a regular file or it was tampered with
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(directory, path, flags, Mode::empty()).map_err(|errno| failed("open")(errno.into()))?;
    copy(&mut File::from(file), size, out).map_err(|stop| stop.unwrap_or_else(failed("read")))
}

/// Copies exactly `size` bytes; the inner result is the reader's failure.
fn copy(
    from: &mut impl Read,
    size: u64,
    out: &mut ChunkWriter<ImageError>,
) -> Result<(), Result<Stop, io::Error>> {
    let mut left = size;
    while left > 0 {
        let space = out.space();
        let want = space.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = match from.read(&mut space[..want]) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(Err(e)),
            Ok(0) => return Err(Err(io::ErrorKind::UnexpectedEof.into())),
            Ok(count) => count,
        };
        out.advance(count).map_err(|gone| Ok(gone.into()))?;
        left -= count as u64;
    }
    Ok(())
}

fn read_array<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn damaged(source: io::Error) -> Stop {
    Stop::Failed(ImageError::Recipe(source))
}
