//! Where archives go: a new file, or standard output unless that is a terminal.

use crate::{
    error::{CliError, UsageError},
    new_file::NewFile,
    streams,
};
use std::{
    io::{self, BufWriter, IsTerminal, Write},
    path::Path,
};

/// Bytes gathered for one write.
const BUFFER: usize = 256 * 1024;

/// The place for one archive.
pub(super) enum ArchiveOutput<'a> {
    /// A file that only its owner may read, as Docker makes it, because images may hold secrets.
    File(&'a Path),
    /// Standard output.
    Stdout,
}

impl<'a> ArchiveOutput<'a> {
    /// What `-o` says; without it, or with nothing after it, standard output.
    ///
    /// # Errors
    /// [`UsageError`] when that is a terminal.
    pub(super) fn of(flag: Option<&'a Path>) -> Result<Self, UsageError> {
        match flag.filter(|path| !path.as_os_str().is_empty()) {
            Some(path) => Ok(Self::File(path)),
            None if streams::stdout().is_terminal() => {
                Err(UsageError::new("cowardly refusing to save to a terminal. Use the -o flag or redirect"))
            }
            None => Ok(Self::Stdout),
        }
    }

    /// Writes what `archive` gives. A file gets its name when all of it is there.
    ///
    /// # Errors
    /// Those of `archive`, and [`CliError::File`].
    pub(super) fn write<E: Into<CliError>>(
        self,
        archive: impl FnOnce(&mut dyn Write) -> Result<(), E>,
    ) -> Result<(), CliError> {
        match self {
            Self::Stdout => {
                let mut out = BufWriter::with_capacity(BUFFER, streams::stdout().lock());
                archive(&mut out).map_err(Into::into)?;
                out.flush().map_err(CliError::stdout)
            }
            Self::File(path) => {
                let fail = CliError::file("write", path);
                let mut out = BufWriter::with_capacity(BUFFER, Noted(NewFile::at(path, 0o600)?, None));
                if let Err(error) = archive(&mut out) {
                    // what writes the archive does not know the file's name
                    let errno = out.get_ref().1;
                    return Err(
                        errno.map_or_else(|| error.into(), |errno| fail(io::Error::from_raw_os_error(errno)))
                    );
                }
                let Noted(file, _) = out.into_inner().map_err(|error| fail(error.into_error()))?;
                file.finish()
            }
        }
    }
}

/// A file, and the number of the error that a write to it had.
struct Noted(NewFile, Option<i32>);

impl Write for Noted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(&mut self.0, bytes).inspect_err(|error| self.1 = lasting(error))
    }

    fn flush(&mut self) -> io::Result<()> {
        Write::flush(&mut self.0).inspect_err(|error| self.1 = lasting(error))
    }
}

fn lasting(error: &io::Error) -> Option<i32> {
    error.raw_os_error().filter(|_| error.kind() != io::ErrorKind::Interrupted)
}
