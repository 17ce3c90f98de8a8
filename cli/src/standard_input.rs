//! What a build reads from standard input: a Dockerfile, or an archive that is its context.

use crate::{
    environment::Environment,
    error::{CliError, UsageError},
    options::ContextKind,
};
use std::{
    fs::File,
    io::{self, Read},
};

/// Bytes at the beginning that tell an archive from a Dockerfile.
const HEAD: u64 = 512;

/// The result of reading standard input.
pub(crate) enum StandardInput {
    /// Nothing: a directory holds all.
    Unread,
    /// The text of the Dockerfile.
    Dockerfile(Vec<u8>),
    /// An archive, in a file without a name.
    Context(File),
}

/// Reads what `kind` says is there. An archive goes to the directory for temporary files, because it is read twice.
///
/// # Errors
/// [`UsageError`] when it is something else, [`CliError::Stream`] when it cannot be read or kept.
pub(crate) fn read(kind: ContextKind, environment: &Environment) -> Result<StandardInput, CliError> {
    if kind == ContextKind::Directory {
        return Ok(StandardInput::Unread);
    }
    let failed = |source| CliError::Stream { action: "read standard input", source };
    let mut input = io::stdin().lock();
    let mut text = Vec::new();
    input.by_ref().take(HEAD).read_to_end(&mut text).map_err(failed)?;
    let is_archive = rbuild::begins_archive(&text);
    if text.len() as u64 == HEAD && text.iter().all(|byte| *byte == 0) {
        let message =
            "standard input is an archive without files, or no Dockerfile at all: it begins with zeros";
        return Err(UsageError::in_build(message).into());
    }
    match (kind, is_archive) {
        (ContextKind::Stdin | ContextKind::StdinWithFile, true) => {
            let kept = keep(&text, &mut input, environment);
            let keeping = |source| CliError::Stream { action: "keep the context of standard input", source };
            kept.map(StandardInput::Context).map_err(keeping)
        }
        (ContextKind::StdinWithFile, false) => {
            let message = "ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles";
            Err(UsageError::in_build(message).into())
        }
        (ContextKind::Directory | ContextKind::DirectoryWithDockerfileOnStdin, true) => {
            Err(UsageError::in_build("the Dockerfile on standard input is an archive").into())
        }
        (
            ContextKind::Directory | ContextKind::DirectoryWithDockerfileOnStdin | ContextKind::Stdin,
            false,
        ) => {
            input.take(rbuild::MAX_DEFINITION).read_to_end(&mut text).map_err(failed)?;
            if text.len() as u64 > rbuild::MAX_DEFINITION {
                let limit = rbuild::MAX_DEFINITION >> 20;
                return Err(UsageError::in_build(format!(
                    "the Dockerfile on standard input is longer than {limit} MiB, the most that it may have"
                ))
                .into());
            }
            Ok(StandardInput::Dockerfile(text))
        }
    }
}

fn keep(head: &[u8], rest: &mut impl Read, environment: &Environment) -> io::Result<File> {
    let mut file = tempfile::tempfile_in(environment.filled("TMPDIR").unwrap_or("/tmp"))?;
    io::copy(&mut head.chain(rest), &mut file)?;
    Ok(file)
}
