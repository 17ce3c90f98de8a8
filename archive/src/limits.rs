//! Limits of archives. Archives come from strangers, so each size that their bytes can name has a bound here, which is
//! the same for layers, loads and ADD.

/// Bounds on reading one archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest number of entries. Each may become a file, and a header needs half a KiB, which compresses to almost
    /// nothing.
    pub entries: u64,
    /// Largest number of bytes of the paths of all directories, which are kept in memory until the end because their times are set
    /// then.
    pub directories: u64,
    /// Largest number of bytes of all extension headers (PAX records, GNU long names) before one entry.
    pub extension: u64,
    /// Largest number of bytes of a name or link target (linux/limits.h, PATH_MAX, without its NUL).
    pub path: usize,
    /// Largest number of pieces of one sparse file.
    pub sparse_pieces: usize,
    /// Largest number of bytes that become no file: contents of entries that are left out, and what follows the last entry. They
    /// take no room on the disk, so nothing else would end them, and they compress to almost nothing.
    pub unused: u64,
    /// The largest zstd window, as a power of two; the zstd program has the same limit unless `--long` is given.
    pub zstd_window_log: u32,
    /// Largest number of bytes of memory that an xz decoder may use; the largest preset, `xz -9`, needs 65 MiB.
    pub xz_memory: u64,
}

impl Limits {
    /// The bounds that hold unless a caller gives others.
    pub const STANDARD: Self = Self {
        entries: 1 << 24,
        directories: 256 << 20,
        extension: 1 << 20,
        path: 4095,
        sparse_pieces: 1 << 20,
        unused: 1 << 30,
        zstd_window_log: 27,
        xz_memory: 256 << 20,
    };
}
