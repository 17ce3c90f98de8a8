//! Logs of steps: what a command wrote, whole, compressed with zstd. Each write reaches the kernel before it returns,
//! so a killed process loses nothing of a log; what is then missing is the end of the compressed stream, and the reader
//! takes that for the end of the log.

use super::build_id::BuildId;
use crate::{
    StoreError,
    disk::{list, make_dirs, open_private_file},
};
use std::{
    fmt,
    fs::File,
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    path::{Path, PathBuf},
};

/// Fast rather than small, because compression runs beside the build.
const LEVEL: i32 = 1;
const SUFFIX: &str = ".log.zst";

/// Where the logs of a build are, below `builds`.
pub(super) fn log_directory(builds: &Path, id: &BuildId) -> PathBuf {
    builds.join("logs").join(id.as_str())
}

/// The file of a step's log.
pub(super) fn log_path(builds: &Path, id: &BuildId, step: u32) -> PathBuf {
    log_directory(builds, id).join(format!("{step}{SUFFIX}"))
}

/// The builds that have logs.
pub(super) fn logged_builds(builds: &Path) -> Result<Vec<BuildId>, StoreError> {
    Ok(list(&builds.join("logs"))?.iter().filter_map(|name| BuildId::parse(name)).collect())
}

/// The step whose log has this name.
pub(super) fn logged_step(name: &str) -> Option<u32> {
    name.strip_suffix(SUFFIX)?.parse().ok()
}

/// A log being written. Dropping it ends it.
pub struct StepLog {
    path: PathBuf,
    encoder: Option<zstd::Encoder<'static, File>>,
}

impl StepLog {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, encoder: None }
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// An I/O error when they cannot be written.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        if bytes.is_empty() {
            return Ok(());
        }
        if self.encoder.is_none() {
            self.path.parent().map_or(Ok(()), make_dirs)?;
            let file = open_private_file(&self.path);
            let encoder = file.and_then(|file| zstd::Encoder::new(file, LEVEL));
            self.encoder = Some(encoder.map_err(StoreError::on("create", &self.path))?);
        }
        let encoder = self.encoder.as_mut().expect("it was made above");
        encoder.write_all(bytes).and_then(|()| encoder.flush()).map_err(StoreError::on("write", &self.path))
    }

    /// Ends the log.
    ///
    /// # Errors
    /// An I/O error when its last bytes cannot be written.
    pub fn finish(mut self) -> Result<(), StoreError> {
        self.end().map_err(StoreError::on("write", &self.path))
    }

    fn end(&mut self) -> io::Result<()> {
        self.encoder.take().map_or(Ok(()), |encoder| encoder.finish().map(drop))
    }
}

impl Drop for StepLog {
    fn drop(&mut self) {
        // only the mark of the end is missing then
        let _ = self.end();
    }
}

impl fmt::Debug for StepLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepLog").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Reads a log from its beginning, also while it is being written: at the end of what there is, a read that would have to wait
/// for more fails with [`ErrorKind::WouldBlock`] until [`LogReader::end`] says that nothing follows.
pub struct LogReader {
    decoder: zstd::Decoder<'static, BufReader<Growing>>,
    /// Everything that was there has been read.
    waits: bool,
}

/// A file that may grow.
struct Growing {
    file: File,
    grows: bool,
}

impl Read for Growing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.file.read(buffer)? {
            0 if self.grows => Err(ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }
}

impl LogReader {
    /// Opens a log that is read to the end of what it has now.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, StoreError> {
        let mut log = Self::follow(path)?;
        log.iter_mut().for_each(Self::end);
        Ok(log)
    }

    /// Opens a log that may still be written.
    pub(super) fn follow(path: &Path) -> Result<Option<Self>, StoreError> {
        match File::open(path) {
            Ok(file) => {
                let decoder = zstd::Decoder::new(Growing { file, grows: true });
                Ok(Some(Self { decoder: decoder.map_err(StoreError::on("read", path))?, waits: false }))
            }
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(StoreError::io("open", path, e)),
        }
    }

    /// Nothing is written any more.
    pub fn end(&mut self) {
        self.decoder.get_mut().get_mut().grows = false;
    }
}

impl Read for LogReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.waits {
            // zstd gives up on a stream that it is asked to go on with again and again without further input
            self.decoder.get_mut().fill_buf()?;
            self.waits = false;
        }
        match self.decoder.read(buffer) {
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => Ok(0),
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                self.waits = true;
                Err(e)
            }
            read => read,
        }
    }
}

impl fmt::Debug for LogReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogReader").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_pauses_is_followed_to_its_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("1.log.zst");
        let mut written = StepLog::new(path.clone());
        written.append(b"one\n").unwrap();
        let mut log = LogReader::follow(&path).unwrap().unwrap();
        let mut buffer = [0; 64];
        let mut next = |log: &mut LogReader| log.read(&mut buffer).map(|count| buffer[..count].to_vec());
        assert_eq!(next(&mut log).unwrap(), b"one\n");
        for _ in 0..100 {
            assert_eq!(next(&mut log).unwrap_err().kind(), ErrorKind::WouldBlock);
        }
        written.append(b"two\n").unwrap();
        assert_eq!(next(&mut log).unwrap(), b"two\n");
        assert_eq!(next(&mut log).unwrap_err().kind(), ErrorKind::WouldBlock);
        log.end();
        assert_eq!(next(&mut log).unwrap(), b"", "its writer may have been killed");
    }
}
