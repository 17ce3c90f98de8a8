//! Where files come from: the context, the Dockerfile, named contexts.

use crate::error::UsageError;
use rbuild::{
    ContextSource, DockerfileSource, LayoutReference, NamedContextSource, Reference, RemoteContext,
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The part of a build that is read from standard input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ContextKind {
    /// Nothing.
    Directory,
    /// The Dockerfile; the context is a directory.
    DirectoryWithDockerfileOnStdin,
    /// An archive that is the context, or the Dockerfile, without a context.
    Stdin,
    /// An archive that is the context, since `-f` names the Dockerfile in it.
    StdinWithFile,
}

/// Where context and Dockerfile come from.
pub(super) fn sources(
    context: &str,
    file: Option<&str>,
) -> Result<(ContextKind, ContextSource, DockerfileSource), UsageError> {
    let file = file.filter(|text| !text.is_empty());
    if context.is_empty() {
        return Err(UsageError::in_build(
            "please specify build context (e.g. \".\" for the current directory)",
        ));
    }
    let on_stdin = || DockerfileSource::Text(Vec::new());
    match (context, file) {
        ("-", Some("-")) => Err(UsageError::in_build(
            "invalid argument: can't use stdin for both build context and dockerfile",
        )),
        ("-", Some(file)) => Ok((ContextKind::StdinWithFile, ContextSource::Empty, dockerfile(file))),
        ("-", None) => Ok((ContextKind::Stdin, ContextSource::Empty, on_stdin())),
        (place, Some("-")) => Ok((ContextKind::DirectoryWithDockerfileOnStdin, source(place), on_stdin())),
        (place, Some(file)) => Ok((ContextKind::Directory, source(place), dockerfile(file))),
        (place, None) => Ok((ContextKind::Directory, source(place), DockerfileSource::InContext)),
    }
}

/// As in buildx, a file is fetched from a URL, and a repository is none.
fn dockerfile(file: &str) -> DockerfileSource {
    if file.starts_with("http://") || file.starts_with("https://") {
        DockerfileSource::Url(file.to_owned())
    } else {
        DockerfileSource::File(file.into())
    }
}

fn source(place: &str) -> ContextSource {
    match RemoteContext::parse(place) {
        Some(remote) => ContextSource::Remote(remote),
        None => ContextSource::Directory(place.into()),
    }
}

/// True if Docker takes `text` for a place on the network. A directory of that name does not change it.
pub(crate) fn is_url(text: &str) -> bool {
    RemoteContext::parse(text).is_some()
}

/// The meaning of each `--build-context NAME=VALUE`; the last of a name counts.
pub(super) fn named(words: &[String]) -> Result<BTreeMap<String, NamedContextSource>, UsageError> {
    words.iter().filter(|text| !text.is_empty()).map(|text| named_context(text)).collect()
}

fn named_context(text: &str) -> Result<(String, NamedContextSource), UsageError> {
    let Some((name, value)) = text.split_once('=') else {
        return Err(UsageError::new(format!("invalid context value: {text}, expected key=value")));
    };
    // names are references to docker, so that `FROM name` finds them
    let name = name.parse::<Reference>().map_or_else(
        |error| Err(UsageError::new(format!("invalid context name {name}: {error}"))),
        |reference| Ok(reference.familiar()),
    )?;
    let source = if value == "docker-image://scratch" {
        NamedContextSource::Scratch
    } else if let Some(image) = value.strip_prefix("docker-image://") {
        let bad = |error| UsageError::new(format!("invalid context value {value}: {error}"));
        NamedContextSource::Image(image.parse().map_err(bad)?)
    } else if let Some(layout) = value.strip_prefix("oci-layout://") {
        NamedContextSource::OciLayout(layout_reference(layout)?)
    } else if let Some(target) = value.strip_prefix("target:") {
        let message = format!("failed to find target {target} for context {name}");
        return Err(UsageError::in_build(message));
    } else if let Some(place) = RemoteContext::parse(value) {
        NamedContextSource::Remote(place)
    } else {
        NamedContextSource::Directory(Path::new(value).to_owned())
    };
    Ok((name, source))
}

/// `PATH[:TAG][@DIGEST]`. A `:` or `@` before a slash belongs to the path.
fn layout_reference(text: &str) -> Result<LayoutReference, UsageError> {
    let is_name = |(_, end): &(&str, &str)| !end.contains('/');
    let (rest, digest) = match text.rsplit_once('@').filter(is_name) {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    let bad = |error| {
        UsageError::in_build(format!("could not parse oci-layout reference \"oci-layout://{text}\": {error}"))
    };
    let digest = digest.map(|digest| digest.parse().map_err(bad)).transpose()?;
    let (path, tag) = match rest.rsplit_once(':').filter(is_name) {
        Some((path, tag)) => (path, Some(tag.to_owned())),
        None => (rest, None),
    };
    Ok(LayoutReference { path: PathBuf::from(path), tag, digest })
}
