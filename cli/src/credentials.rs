//! What registries need to know from outside: Docker's and the containers tools' configuration, certificates, proxies.
//! Read only by commands that may talk to a registry.

use crate::{
    environment::{Environment, User},
    error::CliError,
    options::{Certificates, Proxies as BuildProxies},
    registries::registries,
    small_file,
};
use rbuild::{ClientOptions, Credentials, Proxies, Secret, Tls};
use serde_json::Value;
use std::{
    io,
    path::{Path, PathBuf},
};

/// The options of a client of registries, by the files that people have in the places where the other tools look for them.
///
/// # Errors
/// [`CliError::Configuration`] and [`CliError::File`] for files that are there and cannot be used.
pub(crate) fn client_options(
    environment: &Environment,
    certificates: Certificates,
) -> Result<ClientOptions, CliError> {
    let (registries, daemon_proxies) = registries(environment)?;
    let mut client = client_proxies(environment).or(daemon_proxies);
    let mut credentials = Credentials::none();
    for path in environment.containers_auth() {
        if let Some((_, text)) = document(&path)? {
            credentials = credentials.or(logins(&path, &text)?);
        }
    }
    let docker = environment.docker_config();
    if let Some((value, text)) = document(&docker)? {
        credentials = credentials.or(logins(&docker, &text)?);
        client = client.or(configured_proxies(&value));
    }
    Ok(ClientOptions {
        credentials,
        helper_path: environment.variable("PATH").unwrap_or_default().to_owned(),
        certificate_directories: certificate_directories(environment),
        tls: match certificates {
            Certificates::Checked => Tls::Verify,
            Certificates::Unchecked => Tls::SkipVerifyOrPlainHttp,
        },
        registries,
        proxies: client,
        ..ClientOptions::default()
    })
}

/// The proxies that Docker's client gives to builds as arguments.
///
/// # Errors
/// [`CliError::Configuration`] and [`CliError::File`] for a file that is there and cannot be used.
pub(crate) fn build_proxies(environment: &Environment) -> Result<BuildProxies, CliError> {
    let configuration = document(&environment.docker_config())?;
    Ok(configuration.map(|(value, _)| BuildProxies::from_configuration(&value)).unwrap_or_default())
}

/// A JSON file, read and as text; `None` when it is not there or empty.
///
/// # Errors
/// [`CliError::Configuration`], [`CliError::File`].
pub(crate) fn document(path: &Path) -> Result<Option<(Value, String)>, CliError> {
    let text = match small_file::read_text(path) {
        Ok(text) if text.trim().is_empty() => return Ok(None),
        Ok(text) => text,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        // the configuration of another user is not read: root's home is closed to others
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(None),
        Err(error) => return Err(CliError::file("read", path)(error)),
    };
    let value = serde_json::from_str(&text)
        .map_err(|source| CliError::Configuration { path: path.to_owned(), source })?;
    Ok(Some((value, text)))
}

fn logins(path: &Path, text: &str) -> Result<Credentials, CliError> {
    Credentials::from_file(path, text).map_err(|error| CliError::Engine(error.into()))
}

fn certificate_directories(environment: &Environment) -> Vec<PathBuf> {
    let mut directories =
        vec![PathBuf::from("/etc/docker/certs.d"), PathBuf::from("/etc/containers/certs.d")];
    match environment.user {
        User::Root => {}
        User::Ordinary => {
            let config = environment.config_home();
            directories.insert(0, config.join("docker/certs.d"));
            directories.insert(0, config.join("containers/certs.d"));
        }
    }
    directories
}

fn client_proxies(environment: &Environment) -> Proxies {
    let either = |upper: &str, lower: &str| {
        environment.filled(upper).or_else(|| environment.filled(lower)).unwrap_or_default().to_owned()
    };
    Proxies {
        http: Secret::new(either("HTTP_PROXY", "http_proxy")),
        https: Secret::new(either("HTTPS_PROXY", "https_proxy")),
        except: either("NO_PROXY", "no_proxy"),
    }
}

/// The proxies that Docker's client gives to builds. Its daemon has others, which rbuild has not.
fn configured_proxies(configuration: &Value) -> Proxies {
    let default = &configuration["proxies"]["default"];
    let text = |name: &str| default[name].as_str().unwrap_or_default().to_owned();
    Proxies {
        http: Secret::new(text("httpProxy")),
        https: Secret::new(text("httpsProxy")),
        except: text("noProxy"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn files_that_are_not_there_are_no_mistake_and_broken_ones_are() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().to_str().unwrap();
        let environment = Environment::of(&[("HOME", dir), ("DOCKER_CONFIG", dir)], User::Ordinary);
        assert!(client_options(&environment, Certificates::Checked).is_ok());
        fs::write(home.path().join("config.json"), "{").unwrap();
        let error = client_options(&environment, Certificates::Checked).err().unwrap();
        assert!(error.to_string().ends_with("config.json is not a docker configuration"), "{error}");
        fs::write(home.path().join("config.json"), r#"{"auths":{"r.example":{"auth":"YTpi"}}}"#).unwrap();
        assert!(client_options(&environment, Certificates::Unchecked).is_ok());
    }
}
