//! `save`, `load` and `import`.

use super::{archive_output::ArchiveOutput, registry::fetch_layers};
use crate::{
    app::App,
    args::{ExportArgs, ImportArgs, LoadArgs, SaveArgs},
    error::{CliError, UsageError},
    options::{Certificates, image_name, platform, platforms, size},
    progress::Style,
    streams::print,
    working::{show, style_for_people, work},
};
use nix::unistd::{Whence, lseek};
use rbuild::{ArchiveFormat, ArchiveSource, Platform};
use rbuild_docker_api::with_tag;
use std::{
    fs::{self, File},
    io::{self, IsTerminal},
    path::{Path, PathBuf},
};

/// Writes images to an archive.
pub(super) fn save(app: &App, args: &SaveArgs) -> Result<(), CliError> {
    let platforms = platforms(&args.platform)?;
    let asked = (args.images.as_slice(), platforms.as_slice());
    let format = match args.format.as_str() {
        "docker" | "docker-archive" => ArchiveFormat::Docker,
        "oci" | "oci-archive" => ArchiveFormat::Oci,
        other => {
            return Err(UsageError::new(format!("invalid archive format {other}: use docker or oci")).into());
        }
    };
    let output = ArchiveOutput::of(args.output.as_deref())?;
    complete(app, asked)?;
    output.write(|out| app.engine()?.save(asked, format, out).map_err(CliError::from))
}

/// Fetches those layers of the images that builds have left at their registries.
fn complete(app: &App, (images, platforms): (&[String], &[Platform])) -> Result<(), CliError> {
    let engine = app.engine()?;
    for image in images {
        let tags = engine.tags_to_save(image)?;
        let asked = tags.is_empty().then(|| image.clone());
        for name in tags.iter().map(ToString::to_string).chain(asked) {
            if engine.lacks_layers(&name, platforms)? {
                let engine = app.engine_with_registries(Certificates::Checked)?;
                fetch_layers(app, &engine, (&name, platforms))?;
            }
        }
    }
    Ok(())
}

/// Writes the files of a container to an archive.
pub(super) fn export(app: &App, args: &ExportArgs) -> Result<(), CliError> {
    let output = ArchiveOutput::of(args.output.as_deref())?;
    output.write(|out| app.engine()?.export(&args.container, out).map_err(CliError::from))
}

/// Reads images from an archive.
pub(super) fn load(app: &App, args: &LoadArgs) -> Result<(), CliError> {
    let platform = platform(args.platform.as_deref())?;
    let limits = size::limits(&args.budget)?;
    let source = match &args.input {
        Some(path) if !matches!(path.as_os_str().as_encoded_bytes(), b"" | b"-") => existing(path)?,
        _ if io::stdin().is_terminal() => {
            return Err(UsageError::new("requested load from stdin, but stdin is empty").into());
        }
        _ => standard_input(),
    };
    let style = if args.quiet { Style::Quiet } else { style_for_people(&app.environment) };
    let engine = app.limited(app.engine()?, limits)?;
    let loaded = show(style, |events| engine.load(source, platform.as_ref(), events))?;
    let mut text = String::new();
    for image in loaded {
        if image.names.is_empty() {
            text.push_str(&format!("Loaded image ID: {}\n", image.id));
        }
        for name in &image.names {
            text.push_str(&format!("Loaded image: {}\n", with_tag(name.as_reference())));
        }
    }
    print(&text)
}

/// Makes an image of a root filesystem.
pub(super) fn import(app: &App, args: &ImportArgs) -> Result<(), CliError> {
    let platform = platform(args.platform.as_deref())?;
    let name = args.name.as_deref().map(image_name).transpose()?;
    let (of, message) = ((name.as_ref(), platform.as_ref()), args.message.as_deref());
    let image = match args.file.as_str() {
        url if url.starts_with("http://") || url.starts_with("https://") => {
            let engine = app.engine_with_registries(Certificates::Checked)?;
            let changes = (args.change.as_slice(), message);
            work(style_for_people(&app.environment), async |events| {
                engine.import_url(url, of, changes, events).await
            })?
        }
        "-" => app.engine()?.import(standard_input(), of, &args.change, message)?,
        path => app.engine()?.import(existing(Path::new(path))?, of, &args.change, message)?,
    };
    print(&format!("{image}\n"))
}

/// A file that is there.
fn existing(path: &Path) -> Result<ArchiveSource, CliError> {
    fs::metadata(path).map_err(CliError::file("open", path))?;
    Ok(ArchiveSource::File(path.to_owned()))
}

/// Standard input; as a file when it is one, so that it can be read from several places at once.
fn standard_input() -> ArchiveSource {
    let path = PathBuf::from("/proc/self/fd/0");
    let whole_file = fs::metadata(&path).is_ok_and(|there| there.is_file())
        && lseek(io::stdin(), 0, Whence::SeekCur) == Ok(0)
        && File::open(&path).is_ok();
    if whole_file { ArchiveSource::File(path) } else { ArchiveSource::Stream(Box::new(io::stdin())) }
}
