//! The tar of a directory as a stream, of which nothing is known beforehand and nothing is hashed.

use super::{
    tar_writer::{EntryTimes, Stop, write_tar},
    whiteout::Marks,
};
use crate::ImageError;
use rbuild_archive::{ChunkReader, pipe};
use std::{
    io::{self, Read},
    path::Path,
};

/// A tar being read. Another thread makes it and is at most a few MiB ahead; it ends when this is dropped.
pub(crate) struct PlainTar(ChunkReader<ImageError>);

/// Streams the tar of the directory `root`, without its end, each name below `prefix`: of a layer with `marks`, of a whole
/// root filesystem without.
///
/// # Errors
/// When no thread can be started. Later failures are errors of the stream.
pub(crate) fn plain_tar(
    root: &Path,
    prefix: &[u8],
    marks: Option<Marks>,
    times: EntryTimes,
) -> Result<PlainTar, ImageError> {
    let (mut out, reader) = pipe();
    let (path, prefix) = (root.to_owned(), prefix.to_owned());
    let write = move || match write_tar((&path, prefix), marks, times, &mut out) {
        // a reader that is gone wants nothing
        Ok(_) => drop(out.finish()),
        Err(Stop::Gone) => {}
        Err(Stop::Failed(error)) => out.fail(named(error, &path)),
    };
    let started = std::thread::Builder::new().name("plain-tar".to_owned()).spawn(write);
    let failed = |source| ImageError::LayerFile { action: "read", path: root.to_owned(), source };
    started.map(|_| PlainTar(reader)).map_err(failed)
}

/// The same error with the name that a file has in the tar, where the directory `root` is known by a descriptor alone.
fn named(error: ImageError, root: &Path) -> ImageError {
    match error {
        ImageError::LayerFile { action, path, source } if root.starts_with("/proc/self/fd") => {
            let below = path.strip_prefix(root).unwrap_or(&path);
            let path = Path::new("/").join(below);
            ImageError::LayerFile { action, path, source }
        }
        error => error,
    }
}

impl PlainTar {
    /// Gives all bytes to `take`.
    ///
    /// # Errors
    /// That of the stream, or of `take`.
    pub(crate) fn each_piece(
        mut self,
        mut take: impl FnMut(&[u8]) -> Result<(), ImageError>,
    ) -> Result<(), ImageError> {
        loop {
            let piece = self.0.available()?;
            if piece.is_empty() {
                return Ok(());
            }
            take(piece)?;
            let length = piece.len();
            self.0.consume(length);
        }
    }
}

impl Read for PlainTar {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let available = self.0.available().map_err(io::Error::other)?;
        let count = available.len().min(into.len());
        into[..count].copy_from_slice(&available[..count]);
        self.0.consume(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_below_a_descriptor_are_called_by_their_paths() {
        let fail = |path: &str| {
            let error = ImageError::LayerFile {
                action: "open",
                path: path.into(),
                source: io::ErrorKind::NotFound.into(),
            };
            named(error, Path::new(path.split_once("/etc").map_or(path, |(root, _)| root))).to_string()
        };
        assert_eq!(fail("/proc/self/fd/7/etc/passwd"), "cannot open /etc/passwd");
        assert_eq!(fail("/store/layers/x/etc/passwd"), "cannot open /store/layers/x/etc/passwd");
    }
}
