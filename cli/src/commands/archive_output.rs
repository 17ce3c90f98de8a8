//! Where archives go: a new file, or standard output unless that is a terminal.

use crate::{
    error::{CliError, UsageError},
    new_file::NewFile,
    streams,
};
use std::{
    io::{BufWriter, IsTerminal, Write},
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
                let mut out = BufWriter::with_capacity(BUFFER, NewFile::at(path, 0o600)?);
                archive(&mut out).map_err(Into::into)?;
                let file =
                    out.into_inner().map_err(|error| CliError::file("write", path)(error.into_error()))?;
                file.finish()
            }
        }
    }
}
