//! `--ssh`: the agent of the person who builds, another one, or private keys.

use crate::{environment::Environment, error::UsageError, failure::plain};
use rbuild::{SecretValue, SshKeys};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
};

/// The longest file with a key, in bytes.
const LONGEST_KEY: u64 = 100 << 10;

/// The keys that `values` of `--ssh` name, by id.
///
/// # Errors
/// [`UsageError`] in Docker's words.
pub(super) fn keys(
    values: &[String],
    environment: &Environment,
) -> Result<BTreeMap<String, SshKeys>, UsageError> {
    let mut keys = BTreeMap::new();
    for text in values.iter().filter(|text| !text.is_empty()) {
        let (id, paths) = text.split_once('=').unwrap_or((text, ""));
        let id = if id.is_empty() { "default" } else { id };
        let paths: Vec<&str> = paths.split(',').filter(|path| !path.is_empty()).collect();
        if keys.insert(id.to_owned(), source(&paths, environment)?).is_some() {
            return Err(UsageError::in_build(format!("duplicate --ssh ID {id}")));
        }
    }
    Ok(keys)
}

fn source(paths: &[&str], environment: &Environment) -> Result<SshKeys, UsageError> {
    let own = environment.variable("SSH_AUTH_SOCK").filter(|socket| !socket.is_empty());
    if paths.is_empty() {
        return own.map(|socket| SshKeys::Agent(PathBuf::from(socket))).ok_or_else(|| {
            UsageError::in_build("invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set")
        });
    }
    let (mut sockets, mut files) = (Vec::new(), Vec::new());
    for path in paths.iter().map(Path::new) {
        let failed = |error: io::Error| {
            UsageError::in_build(format!("failed to read {}: {}", path.display(), plain(&error.to_string())))
        };
        if std::fs::metadata(path).map_err(failed)?.file_type().is_socket() {
            sockets.push(std::path::absolute(path).map_err(failed)?);
        } else {
            files.push((path.to_owned(), key(path).map_err(failed)?));
        }
    }
    match (sockets.as_slice(), files.is_empty()) {
        ([], _) => Ok(SshKeys::Files(files)),
        ([socket], true) => Ok(SshKeys::Agent(socket.clone())),
        (_, true) => Err(UsageError::in_build("only single socket allowed")),
        (_, false) => Err(UsageError::in_build("invalid combination of keys and sockets")),
    }
}

fn key(path: &Path) -> io::Result<SecretValue> {
    let mut key = Vec::new();
    File::open(path)?.take(LONGEST_KEY + 1).read_to_end(&mut key)?;
    if key.len() as u64 > LONGEST_KEY {
        return Err(io::Error::other("this is more than 100 KiB, which no private key is"));
    }
    Ok(SecretValue::new(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::User;
    use std::os::unix::net::UnixListener;

    #[test]
    fn keys_come_from_agents_and_files() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name).display().to_string();
        let (socket, key, long) = (place("socket"), place("key"), place("long"));
        let listener = UnixListener::bind(&socket).unwrap();
        std::fs::write(&key, "k").unwrap();
        std::fs::write(&long, vec![0; 101 << 10]).unwrap();
        let environment = Environment::of(&[("SSH_AUTH_SOCK", "/own")], User::Ordinary);
        let none = Environment::of(&[], User::Ordinary);
        let agent = |path: &str| SshKeys::Agent(path.into());
        let file = (PathBuf::from(&key), SecretValue::new(*b"k"));
        for (text, id, expected) in [
            ("default".to_owned(), "default", agent("/own")),
            ("=".to_owned(), "default", agent("/own")),
            (format!("a={socket}"), "a", agent(&socket)),
            (format!("a={key}"), "a", SshKeys::Files(vec![file.clone()])),
            (format!("a={key},{key}"), "a", SshKeys::Files(vec![file.clone(), file])),
        ] {
            let read = keys(&[text.clone(), String::new()], &environment).unwrap();
            assert_eq!(read, BTreeMap::from([(id.to_owned(), expected)]), "{text}");
        }
        for (texts, message) in [
            (vec!["default".to_owned()], "invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set"),
            (vec![format!("a={socket},{key}")], "invalid combination of keys and sockets"),
            (vec![format!("a={socket},{socket}")], "only single socket allowed"),
            (vec!["a=/nope".to_owned()], "failed to read /nope: no such file or directory"),
            (vec![format!("a={key}"), format!("a={key}")], "duplicate --ssh ID a"),
            (vec![format!("a={long}")], "this is more than 100 KiB, which no private key is"),
        ] {
            let error = keys(&texts, &none).unwrap_err().to_string();
            assert!(error.starts_with("failed to build: ") && error.ends_with(message), "{error}");
        }
        drop(listener);
    }
}
