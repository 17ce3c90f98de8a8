//! Tar archives as streams, compressed or not: recognised, decompressed, read entry by entry, and their headers written.
//!
//! Invariants: nothing that an archive says is believed. Numbers are checked, every size that an archive can ask for has
//! a bound in [`Limits`], and reading ends with an error, never a panic, whatever the bytes are. Names come out as they
//! stand: what they may mean, and how an entry becomes a file, is for those who extract (layers: `rbuild-image`, ADD:
//! `rbuild-executor`). Nothing here knows of the store.

#![forbid(unsafe_code)]

mod chunk_pipe;
mod decompress;
mod entry;
mod error;
mod field;
mod header;
mod limits;
mod pax;
mod recorder;
mod sparse;
mod tar_file;
mod tar_reader;

pub use chunk_pipe::{ChunkReader, ChunkWriter, FillError, ReaderGone, pipe};
pub use decompress::{Codec, Sniffed, decompressed, sniff};
pub use entry::{Entry, EntryKind, Time};
pub use error::{ArchiveError, TarProblem};
pub use field::{BLOCK, padding};
pub use header::{END, TarHeader};
pub use limits::Limits;
pub use recorder::{Recorder, Unrecorded};
pub use sparse::{Places, SparseMap};
pub use tar_file::{TarFile, begins_archive};
pub use tar_reader::TarReader;
