//! Tar archives as streams, compressed or not: recognises, decompresses and reads them entry by entry, and writes
//! headers.
//!
//! Invariants: an archive is not trusted. Numbers are checked, every size that an archive can ask for has a bound in
//! [`Limits`], and reading ends with an error, never a panic, whatever the bytes are. Names are returned as written: the
//! crates that extract (`rbuild-image` for layers, `rbuild-executor` for ADD) decide what they mean, and [`extract`] makes
//! the files in the directories that they open. This crate does not know the store.

#![forbid(unsafe_code)]

mod chunk_pipe;
mod decompress;
mod entry;
mod error;
mod extract;
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
pub use extract::{Action, Birth, LinkSource, Metadata, Refusal, Site, Tree, extract};
pub use field::{BLOCK, padding};
pub use header::{END, TarHeader};
pub use limits::Limits;
pub use recorder::{Recorder, Unrecorded};
pub use sparse::{Places, SparseMap};
pub use tar_file::{TarFile, begins_archive};
pub use tar_reader::TarReader;
