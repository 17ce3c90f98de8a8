//! Where base images come from and how they are locked, as `build` takes it.

use crate::{args::PullFlag, error::UsageError};
use rbuild::{BuildRequest, ContextSource, DockerfileSource, PullPolicy};
use std::path::{Path, PathBuf};

/// The name of the lock file, beside the Dockerfile.
const LOCK_FILE: &str = "rbuild.lock";

/// What becomes of the lock file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LockUse {
    /// Nothing.
    None,
    /// This file is written after the build (`--lock`).
    Write(PathBuf),
    /// This file decides (`--locked`).
    Obey(PathBuf),
}

/// The meaning of `--pull`.
pub(super) fn pull(flag: PullFlag) -> PullPolicy {
    match flag {
        PullFlag::Missing => PullPolicy::Missing,
        PullFlag::Always => PullPolicy::Always,
        PullFlag::Never => PullPolicy::Never,
    }
}

/// What was typed after `--image-source`; where the daemons are is found out later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SourceWord {
    /// `docker`
    Docker,
    /// `podman`
    Podman,
    /// `containers-storage`
    ContainersStorage,
    /// `oci:DIR`
    Layout(PathBuf),
}

/// The meaning of each `--image-source`.
pub(super) fn sources(words: &[String]) -> Result<Vec<SourceWord>, UsageError> {
    let source = |word: &String| match word.as_str() {
        "docker" => Ok(SourceWord::Docker),
        "podman" => Ok(SourceWord::Podman),
        "containers-storage" => Ok(SourceWord::ContainersStorage),
        word => match word.strip_prefix("oci:").filter(|path| !path.is_empty()) {
            Some(path) => Ok(SourceWord::Layout(path.into())),
            None => Err(UsageError::new(format!(
                "invalid image source {word:?}: must be one of docker, podman, containers-storage, oci:DIR"
            ))),
        },
    };
    words.iter().filter(|word| !word.is_empty()).map(source).collect()
}

/// The meaning of `--lock` and `--locked` for the Dockerfile of `request`.
pub(super) fn lock(write: bool, obey: bool, request: &BuildRequest) -> Result<LockUse, UsageError> {
    let flag = match (write, obey) {
        (false, false) => return Ok(LockUse::None),
        (true, true) => return Err(UsageError::new("--lock and --locked cannot be used together")),
        (true, false) => "--lock",
        (false, true) => "--locked",
    };
    let directory = match (&request.context, &request.dockerfile) {
        (_, DockerfileSource::File(path)) if path.is_absolute() => path.parent(),
        // what is not here has its lock file in the working directory
        (ContextSource::Remote(_), _) => Some(Path::new("")),
        (ContextSource::Directory(context), DockerfileSource::InContext) => Some(context.as_path()),
        (ContextSource::Directory(_), DockerfileSource::File(path)) => path.parent(),
        _ => None,
    };
    let path = directory.map(|directory| directory.join(LOCK_FILE));
    let path = path.ok_or_else(|| UsageError::new(format!("{flag} needs a Dockerfile that is a file")))?;
    Ok(if write { LockUse::Write(path) } else { LockUse::Obey(path) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_docker_s_podman_s_or_directories() {
        let words = ["docker", "", "podman", "containers-storage", "oci:a/b"].map(str::to_owned);
        let expected = [
            SourceWord::Docker,
            SourceWord::Podman,
            SourceWord::ContainersStorage,
            SourceWord::Layout("a/b".into()),
        ];
        assert_eq!(sources(&words).unwrap(), expected);
        for wrong in ["oci:", "registry", "oci"] {
            let error = sources(&[wrong.to_owned()]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("invalid image source \"{wrong}\"")), "{error}");
        }
    }

    #[test]
    fn the_lock_file_stands_beside_the_dockerfile() {
        let mut request = BuildRequest::new("ctx");
        assert_eq!(lock(true, false, &request), Ok(LockUse::Write("ctx/rbuild.lock".into())));
        request.dockerfile = DockerfileSource::File("d/Dockerfile.dev".into());
        assert_eq!(lock(false, true, &request), Ok(LockUse::Obey("d/rbuild.lock".into())));
        request.dockerfile = DockerfileSource::File("Dockerfile".into());
        assert_eq!(lock(false, true, &request), Ok(LockUse::Obey("rbuild.lock".into())));
        assert_eq!(lock(false, false, &request), Ok(LockUse::None));
        assert!(lock(true, true, &request).is_err());
        request.dockerfile = DockerfileSource::Text(Vec::new());
        assert_eq!(
            lock(true, false, &request).unwrap_err().to_string(),
            "--lock needs a Dockerfile that is a file"
        );
    }
}
