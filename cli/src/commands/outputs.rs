//! Opening what a build writes to, before it begins: a wrong path costs no build, and a file has its name only when the
//! build was successful.

use crate::{
    error::{CliError, UsageError},
    new_file::NewFile,
    options::{ArchivePlace, BuildOutput, FilePlace, Removal, TargetOutputs},
    streams,
};
use nix::unistd::{AccessFlags, access};
use rbuild::{ArchiveDestination, FilesDestination, ImageName, Output, OutputFile, StaleFiles};
use std::{
    fs::{self, File},
    io::IsTerminal,
    os::{
        fd::AsFd,
        unix::fs::{DirBuilderExt, FileTypeExt},
    },
    path::Path,
};

/// Outputs that can be written to.
pub(super) struct OpenedOutputs {
    /// Those of each target.
    pub(super) targets: Vec<OpenedTarget>,
    /// Files that get their names when the build was successful.
    pub(super) files: Vec<NewFile>,
    /// True if standard output is one of them.
    pub(super) stdout_is_taken: bool,
}

/// The outputs of a target that can be written to.
pub(super) struct OpenedTarget {
    /// Its name.
    pub(super) target: Option<String>,
    /// For the engine.
    pub(super) outputs: Vec<Output>,
    /// The names that its image gets, each once.
    pub(super) names: Vec<ImageName>,
}

/// Opens everything.
///
/// # Errors
/// [`UsageError`] for a destination of the wrong kind, in Docker's words; [`CliError::File`].
pub(super) fn open(targets: &[TargetOutputs], removal: Removal) -> Result<OpenedOutputs, CliError> {
    let stdout_is_taken = targets.iter().flat_map(|target| &target.outputs).any(BuildOutput::is_stdout);
    let mut opened = OpenedOutputs { targets: Vec::new(), files: Vec::new(), stdout_is_taken };
    for TargetOutputs { target, outputs, loads } in targets {
        let mut names: Vec<ImageName> = Vec::new();
        let loaded = loads.iter().flat_map(|load| &load.names);
        for name in outputs.iter().flat_map(BuildOutput::names).chain(loaded) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        let outputs =
            outputs.iter().map(|output| opened.output(output, removal)).collect::<Result<_, _>>()?;
        opened.targets.push(OpenedTarget { target: target.clone(), outputs, names });
    }
    Ok(opened)
}

impl OpenedOutputs {
    fn output(&mut self, output: &BuildOutput, removal: Removal) -> Result<Output, CliError> {
        Ok(match output {
            BuildOutput::Store { names } => Output::Store { names: names.clone() },
            BuildOutput::Pin { repository } => Output::Pin { repository: repository.clone() },
            BuildOutput::Registry { names, place, form, canonical } => Output::Registry {
                names: names.clone(),
                place: *place,
                form: form.clone(),
                canonical: *canonical,
            },
            BuildOutput::Archive { destination, format, names, form } => Output::Archive {
                destination: match destination {
                    ArchivePlace::File(place) => {
                        let kind = if *format == rbuild::ArchiveFormat::Oci { "oci" } else { "docker" };
                        ArchiveDestination::Tar(self.file(place, kind)?)
                    }
                    ArchivePlace::Directory(path) => {
                        make_directory(path, 0o755)?;
                        ArchiveDestination::Directory(path.clone())
                    }
                },
                format: *format,
                names: names.clone(),
                form: form.clone(),
            },
            BuildOutput::Tar(place) => Output::Files(FilesDestination::Tar(self.file(place, "tar")?)),
            BuildOutput::Directory { path, stale, split } => {
                make_directory(path, 0o700)?;
                if (*stale, removal) == (StaleFiles::Removed, Removal::Inside) {
                    check_inside(path)?;
                }
                let (path, split, stale) = (path.clone(), *split, *stale);
                Output::Files(FilesDestination::Directory { path, split, stale })
            }
        })
    }

    fn file(&mut self, place: &FilePlace, kind: &str) -> Result<OutputFile, CliError> {
        match place {
            FilePlace::Stdout => {
                let stdout = streams::stdout();
                if stdout.is_terminal() {
                    return Err(UsageError::in_build(format!(
                        "dest file is required for {kind} exporter. refusing to write to console"
                    ))
                    .into());
                }
                let stdout = stdout.as_fd().try_clone_to_owned().map_err(CliError::stdout)?;
                Ok(OutputFile::new(stdout.into()))
            }
            FilePlace::Path(path) => {
                let there = fs::metadata(path).ok().map(|there| there.file_type());
                if there.is_some_and(|there| there.is_dir()) {
                    let message = format!("destination file {} is a directory", path.display());
                    return Err(UsageError::in_build(message).into());
                }
                if there.is_some_and(|there| there.is_char_device() || there.is_fifo()) {
                    // /dev/null, /dev/stdout and the pipe of another program are written to where they are
                    let open = File::options().write(true).open(path);
                    return Ok(OutputFile::new(open.map_err(CliError::file("write", path))?));
                }
                let file = NewFile::at(path, 0o644)?;
                let open = file.file().try_clone().map_err(CliError::file("write", path))?;
                self.files.push(file);
                Ok(OutputFile::new(open))
            }
        }
    }
}

/// Makes the directory `path` where it is missing, and sees that files can be made in it.
fn make_directory(path: &Path, mode: u32) -> Result<(), CliError> {
    if fs::metadata(path).is_ok_and(|there| !there.is_dir()) {
        let message = format!("destination directory {} is a file", path.display());
        return Err(UsageError::in_build(message).into());
    }
    let made = fs::DirBuilder::new().recursive(true).mode(mode).create(path);
    let usable = made.and_then(|()| Ok(access(path, AccessFlags::W_OK | AccessFlags::X_OK)?));
    usable.map_err(CliError::file("write to", path))
}

/// Sees that `path`, in which files will be removed, is in the working directory.
fn check_inside(path: &Path) -> Result<(), CliError> {
    let working = fs::canonicalize(".").map_err(CliError::file("open", "."))?;
    // what is not there yet has nothing that could be removed
    let Ok(path) = fs::canonicalize(path) else { return Ok(()) };
    if path.starts_with(working) {
        return Ok(());
    }
    Err(UsageError::in_build(format!(
        "mode=delete would remove files in {}, which is outside of the working directory: add --allow buildx.local.delete",
        path.display()
    ))
    .into())
}
