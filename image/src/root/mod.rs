//! The root filesystem of an image as files for others: a tar, or a directory of the host. Nothing of it is hashed.

mod descent;
mod directory;
mod remove;

pub use directory::{DirectoryOptions, StaleFiles, export_root_directory};

use crate::{
    ImageError,
    layer::{EntryTimes, plain_tar},
};
use rbuild_archive::{END, EntryKind, TarHeader};
use rbuild_cache::Cancel;
use std::{
    io::Write,
    os::fd::{AsRawFd, BorrowedFd},
    path::PathBuf,
};

/// The files of a platform.
#[derive(Clone, Copy, Debug)]
pub struct PlatformRoot<'a> {
    /// The directory that they are in.
    pub root: BorrowedFd<'a>,
    /// Where they are in the tar, when it is not the top.
    pub directory: Option<&'a str>,
}

/// Writes the files below `roots` to `out` as one tar.
///
/// # Errors
/// [`ImageError::ArchiveWrite`] when `out` fails, [`ImageError::LayerFile`] for a file that cannot be read,
/// [`ImageError::Canceled`] when `cancel` was called.
pub fn export_root_tar(
    roots: &[PlatformRoot<'_>],
    times: EntryTimes,
    out: &mut dyn Write,
    cancel: &Cancel,
) -> Result<(), ImageError> {
    for PlatformRoot { root, directory } in roots {
        let path = PathBuf::from(format!("/proc/self/fd/{}", root.as_raw_fd()));
        let mut put = |piece: &[u8]| {
            cancel.check().map_err(|_| ImageError::Canceled)?;
            out.write_all(piece).map_err(ImageError::ArchiveWrite)
        };
        let prefix = directory.unwrap_or_default().as_bytes();
        if !prefix.is_empty() {
            let name = [prefix, b"/"].concat();
            let mut header = Vec::new();
            let mtime = times.of(0);
            TarHeader { mtime, ..TarHeader::new(EntryKind::Directory, &name, 0o755, 0) }.write(&mut header);
            put(&header)?;
        }
        plain_tar(&path, prefix, None, times)?.each_piece(put)?;
    }
    out.write_all(&END).map_err(ImageError::ArchiveWrite)?;
    out.flush().map_err(ImageError::ArchiveWrite)
}
