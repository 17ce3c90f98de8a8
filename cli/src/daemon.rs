//! Where the running docker or podman is that `--load` means: found as docker's client finds it, then in podman's places.

use crate::{
    credentials::document,
    environment::{Environment, User},
    error::CliError,
    options::SourceWord,
};
use rbuild::{DaemonAddress, Digest, ImageSource, TlsFiles};
use std::path::{Path, PathBuf};

/// Where images of docker's or podman's own are looked for.
///
/// # Errors
/// As [`address`].
pub(crate) fn image_source(word: &SourceWord, environment: &Environment) -> Result<ImageSource, CliError> {
    let unix = |path: PathBuf| DaemonAddress::Unix(path);
    Ok(match word {
        SourceWord::Docker => ImageSource::Docker(match docker(environment)? {
            Some(address) => address,
            None => unix("/var/run/docker.sock".into()),
        }),
        SourceWord::Podman => ImageSource::Podman(match environment.filled("CONTAINER_HOST") {
            Some(host) => parsed(host, None)?,
            None => {
                let run = environment.filled("XDG_RUNTIME_DIR").unwrap_or("/run");
                unix(Path::new(run).join("podman/podman.sock"))
            }
        }),
        SourceWord::ContainersStorage => ImageSource::ContainersStorage,
        SourceWord::Layout(path) => ImageSource::Layout(path.clone()),
    })
}

/// The address that the environment, docker's contexts or the usual sockets give; `None` when nothing is configured and no
/// socket is there.
///
/// # Errors
/// [`CliError::Engine`] for an address that makes no sense, [`CliError::Configuration`] and [`CliError::File`] for files that
/// are there and cannot be used, [`CliError::NoSuchDockerContext`].
pub(crate) fn address(environment: &Environment) -> Result<Option<DaemonAddress>, CliError> {
    if let Some(address) = docker(environment)? {
        return Ok(Some(address));
    }
    if let Some(host) = environment.filled("CONTAINER_HOST") {
        return parsed(host, None).map(Some);
    }
    Ok(sockets(environment).into_iter().find(|path| path.exists()).map(DaemonAddress::Unix))
}

/// The address in docker's context `name`, of which `default` is the one that needs no file.
///
/// # Errors
/// As [`address`].
pub(crate) fn in_context(environment: &Environment, name: &str) -> Result<DaemonAddress, CliError> {
    match name {
        "default" => Ok(DaemonAddress::Unix("/var/run/docker.sock".into())),
        name => of_context(environment, name),
    }
}

/// The address that docker's client is set up for.
fn docker(environment: &Environment) -> Result<Option<DaemonAddress>, CliError> {
    if let Some(host) = environment.filled("DOCKER_HOST") {
        return parsed(host, tls(environment)).map(Some);
    }
    match context(environment)? {
        Some(context) => of_context(environment, &context).map(Some),
        None => Ok(None),
    }
}

fn parsed(text: &str, tls: Option<TlsFiles>) -> Result<DaemonAddress, CliError> {
    DaemonAddress::parse(text, tls).map_err(|error| CliError::Engine(error.into()))
}

/// Docker's variables for TLS: both need a daemon that shows a certificate, and `DOCKER_TLS` alone accepts any.
fn tls(environment: &Environment) -> Option<TlsFiles> {
    let verify = environment.filled("DOCKER_TLS_VERIFY").is_some();
    if !verify && environment.filled("DOCKER_TLS").is_none() {
        return None;
    }
    let home = || environment.docker_config().parent().map_or_else(PathBuf::new, Path::to_owned);
    let directory = environment.filled("DOCKER_CERT_PATH").map_or_else(home, PathBuf::from);
    Some(TlsFiles { directory, verify })
}

/// The name of docker's context, unless it is the default one.
fn context(environment: &Environment) -> Result<Option<String>, CliError> {
    let name = match environment.filled("DOCKER_CONTEXT") {
        Some(name) => Some(name.to_owned()),
        None => document(&environment.docker_config())?
            .and_then(|(config, _)| Some(config.get("currentContext")?.as_str()?.to_owned())),
    };
    Ok(name.filter(|name| !name.is_empty() && name != "default"))
}

/// The address in a context of docker's, which lies in files named by the digest of its name.
fn of_context(environment: &Environment, name: &str) -> Result<DaemonAddress, CliError> {
    let contexts = environment.docker_config().with_file_name("contexts");
    let id = Digest::of(name.as_bytes()).hex();
    let missing = || CliError::NoSuchDockerContext { name: name.to_owned() };
    let (meta, _) = document(&contexts.join("meta").join(&id).join("meta.json"))?.ok_or_else(missing)?;
    let endpoint = &meta["Endpoints"]["docker"];
    let host = endpoint["Host"].as_str().ok_or_else(missing)?;
    let directory = contexts.join("tls").join(&id).join("docker");
    let verify = !endpoint["SkipTLSVerify"].as_bool().unwrap_or(false);
    parsed(host, directory.is_dir().then_some(TlsFiles { directory, verify }))
}

/// The sockets of docker and podman, in the order in which they are tried.
fn sockets(environment: &Environment) -> Vec<PathBuf> {
    let runtime = environment.filled("XDG_RUNTIME_DIR").map(Path::new);
    let own = runtime.map(|runtime| [runtime.join("docker.sock"), runtime.join("podman/podman.sock")]);
    let machine = [PathBuf::from("/var/run/docker.sock"), PathBuf::from("/run/podman/podman.sock")];
    let own = own.into_iter().flatten();
    match environment.user {
        User::Root => machine.into_iter().chain(own).collect(),
        User::Ordinary => own.chain(machine).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn found(variables: &[(&str, &str)]) -> Result<Option<String>, String> {
        let found = address(&Environment::of(variables, User::Ordinary));
        found.map(|found| found.map(|address| address.to_string())).map_err(|error| error.to_string())
    }

    #[test]
    fn the_daemon_is_where_docker_s_client_looks_for_it() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().to_str().unwrap();
        let config = ("DOCKER_CONFIG", dir);
        assert_eq!(
            found(&[config, ("DOCKER_HOST", "unix:///x"), ("DOCKER_CONTEXT", "c")]),
            Ok(Some("unix:///x".to_owned()))
        );
        assert_eq!(found(&[config, ("DOCKER_CONTEXT", "c")]), Err("docker has no context \"c\"".to_owned()));
        assert_eq!(
            found(&[config, ("DOCKER_CONTEXT", "default"), ("CONTAINER_HOST", "unix:///p")]),
            Ok(Some("unix:///p".to_owned()))
        );
        let id = Digest::of(b"c").hex();
        let meta = home.path().join("contexts/meta").join(id);
        fs::create_dir_all(&meta).unwrap();
        fs::write(meta.join("meta.json"), r#"{"Name":"c","Endpoints":{"docker":{"Host":"tcp://h:1"}}}"#)
            .unwrap();
        fs::write(home.path().join("config.json"), r#"{"currentContext":"c"}"#).unwrap();
        assert_eq!(found(&[config]), Ok(Some("tcp://h:1".to_owned())));
        assert_eq!(found(&[config, ("DOCKER_CONTEXT", "c")]), Ok(Some("tcp://h:1".to_owned())));
    }

    #[test]
    fn a_socket_that_is_there_is_taken() {
        let runtime = tempfile::tempdir().unwrap();
        let dir = runtime.path().to_str().unwrap();
        fs::create_dir(runtime.path().join("podman")).unwrap();
        let socket = runtime.path().join("podman/podman.sock");
        fs::write(&socket, "").unwrap();
        let variables = [("DOCKER_CONFIG", dir), ("XDG_RUNTIME_DIR", dir)];
        assert_eq!(found(&variables), Ok(Some(format!("unix://{}", socket.display()))));
    }
}
