//! The files in which people configure registries for other tools: `registries.conf` of the containers tools, `hosts.toml` of
//! containerd, `daemon.json` of Docker. Of two that speak of the same registry the earlier in this order counts.

use crate::{
    environment::{Environment, User},
    error::CliError,
    small_file,
};
use rbuild::{Proxies, Registries};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// What the files say of registries, and the proxies of the Docker daemon.
///
/// # Errors
/// [`CliError::File`], [`CliError::Engine`] for files that are there and cannot be used.
pub(crate) fn registries(environment: &Environment) -> Result<(Registries, Proxies), CliError> {
    let mut all = Registries::none();
    // a later file of a directory counts more than an earlier one, and all of them more than the main file
    for path in containers_files(environment).iter().rev() {
        if let Some(text) = text(path)? {
            all = all.or(Registries::from_registries_conf(path, &text).map_err(rbuild::Error::from)?);
        }
    }
    for (domain, path) in containerd_files(Path::new("/etc/containerd/certs.d")) {
        if let Some(text) = text(&path)? {
            let hosts = Registries::from_containerd_hosts(&domain, &path, &text);
            all = all.or(hosts.map_err(rbuild::Error::from)?);
        }
    }
    let mut proxies = Proxies::default();
    let daemon = match environment.user {
        User::Root => PathBuf::from("/etc/docker/daemon.json"),
        User::Ordinary => environment.config_home().join("docker/daemon.json"),
    };
    if let Some(text) = text(&daemon)? {
        let (docker, own) = Registries::from_docker_daemon(&daemon, &text).map_err(rbuild::Error::from)?;
        all = all.or(docker);
        proxies = own;
    }
    Ok((all, proxies))
}

/// The files of the containers tools, the most general first (containers-registries.conf.d(5)).
fn containers_files(environment: &Environment) -> Vec<PathBuf> {
    let system = Path::new("/etc/containers");
    let own = environment.config_home().join("containers");
    let main = match environment.filled("CONTAINERS_REGISTRIES_CONF") {
        Some(named) => PathBuf::from(named),
        None => match own.join("registries.conf") {
            path if path.exists() => path,
            _ => system.join("registries.conf"),
        },
    };
    let mut files = vec![main];
    for directory in [system.join("registries.conf.d"), own.join("registries.conf.d")] {
        let mut parts: Vec<PathBuf> = entries(&directory);
        parts.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
        files.extend(parts);
    }
    files
}

/// The `hosts.toml` of each registry in `directory`, with the registry's domain. That of `_default` comes last.
fn containerd_files(directory: &Path) -> Vec<(String, PathBuf)> {
    let mut files: Vec<(String, PathBuf)> = Vec::new();
    for path in entries(directory) {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        files.push((domain_of(name), path.join("hosts.toml")));
    }
    files.sort_by_key(|(domain, _)| domain == "*");
    files
}

/// The domain in the name of a directory, which may be written `host_5000_` because of file systems that take no colon.
fn domain_of(name: &str) -> String {
    if name == "_default" {
        return "*".to_owned();
    }
    let written = name.strip_suffix('_').and_then(|name| name.rsplit_once('_'));
    written.map_or_else(|| name.to_owned(), |(host, port)| format!("{host}:{port}"))
}

/// What is in a directory, sorted; nothing when it cannot be read.
fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths
}

/// The text of a file; `None` when it is not there, empty, or another user's.
fn text(path: &Path) -> Result<Option<String>, CliError> {
    match small_file::read_text(path) {
        Ok(text) => Ok(Some(text).filter(|text| !text.trim().is_empty())),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::PermissionDenied => {
                Ok(None)
            }
            _ => Err(CliError::file("read", path)(error)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(environment: &Environment, name: &str) -> Vec<String> {
        let (registries, _) = registries(environment).expect("the files are right");
        let places = registries.places(&name.parse().expect("a reference")).expect("nothing is blocked");
        places.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_part_counts_more_than_the_main_file_and_docker_s_file_least() {
        let home = tempfile::tempdir().unwrap();
        let config = home.path().join(".config");
        fs::create_dir_all(config.join("containers/registries.conf.d")).unwrap();
        fs::create_dir_all(config.join("docker")).unwrap();
        let write = |name: &str, text: &str| fs::write(config.join(name), text).unwrap();
        let rule = |prefix: &str, mirror: &str| {
            format!("[[registry]]\nprefix = \"{prefix}\"\n[[registry.mirror]]\nlocation = \"{mirror}\"\n")
        };
        write(
            "docker/daemon.json",
            r#"{"registry-mirrors": ["http://docker.example"], "proxies": {"http-proxy": "http://p:1"}}"#,
        );
        let home = home.path().to_str().unwrap();
        let environment = Environment::of(&[("HOME", home)], User::Ordinary);
        let proxies = registries(&environment).unwrap().1;
        assert_ne!(proxies.http, rbuild::Secret::default());
        assert_eq!(
            places(&environment, "debian"),
            ["docker.example/library/debian:latest", "docker.io/library/debian:latest"]
        );
        write("containers/registries.conf", &rule("docker.io", "main.example"));
        write("containers/registries.conf.d/a.conf", &rule("docker.io", "a.example"));
        assert_eq!(places(&environment, "debian")[0], "a.example/library/debian:latest");
        write("containers/registries.conf.d/b.conf", &rule("docker.io", "b.example/hub"));
        assert_eq!(places(&environment, "debian")[0], "b.example/hub/library/debian:latest");
        write("containers/registries.conf.d/b.conf", "[[registry]]\nprefix = 5\n");
        let error = registries(&environment).err().unwrap().to_string();
        assert!(error.contains("b.conf: line 2: "), "{error}");
    }

    #[test]
    fn directories_of_containerd_are_named_for_hosts() {
        assert_eq!(domain_of("r.example:5000"), "r.example:5000");
        assert_eq!(domain_of("r.example_5000_"), "r.example:5000");
        assert_eq!(domain_of("docker.io"), "docker.io");
        assert_eq!(domain_of("_default"), "*");
    }
}
