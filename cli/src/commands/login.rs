//! `login` and `logout`: the `auths` of Docker's `config.json`, which all other tools read too.

use crate::{
    app::App,
    args::{LoginArgs, LogoutArgs},
    credentials::{configuration, document},
    error::{CliError, UsageError},
    exit,
    new_file::NewFile,
    options::Certificates,
    progress::Style,
    streams::print,
    working::work,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use rbuild::{ClientOptions, Credentials, Login, Secret, check_login};
use serde_json::{Map, Value, json};
use std::{
    fs::{self, DirBuilder},
    io::{self, BufRead, IsTerminal, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, fchown},
    path::Path,
};

const HUB: &str = "docker.io";
/// Docker's name for its own registry in the file.
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// Remembers credentials, once the registry has taken them.
pub(super) fn login(app: &App, args: LoginArgs) -> Result<(), CliError> {
    let (domain, key) = server(args.server.as_deref());
    let path = app.environment.docker_config();
    let mut config = document(&path)?.map_or_else(|| json!({}), |(value, _)| value);
    if config["credsStore"].is_string() || config["credHelpers"][&key].is_string() {
        let what = format!("storing credentials with a credential helper (named in {})", path.display());
        return Err(UsageError::unsupported(what).into());
    }
    if args.password.is_some() {
        exit::warn("Using --password via the CLI is insecure. Use --password-stdin.");
    }
    let (username, password) = credentials(args)?;
    let stored = BASE64_STANDARD.encode(format!("{username}:{password}"));
    let login = Login::Password { username, password: Secret::new(password) };
    let known = configuration(&app.environment, Certificates::Checked)?.registry;
    let options = ClientOptions { credentials: Credentials::of(&domain, login), ..known };
    work(Style::Quiet, async |_| check_login(options, &domain).await)?;
    let auths = object(&mut config, "auths");
    auths.insert(key, json!({"auth": stored}));
    write(&path, &config)?;
    print("Login Succeeded\n")
}

/// Forgets credentials.
pub(super) fn logout(app: &App, args: &LogoutArgs) -> Result<(), CliError> {
    let (domain, key) = server(args.server.as_deref());
    let path = app.environment.docker_config();
    let Some((mut config, _)) = document(&path)? else { return not_logged_in(&domain) };
    if object(&mut config, "auths").shift_remove(&key).is_none() {
        return not_logged_in(&domain);
    }
    write(&path, &config)?;
    print(&format!("Removing login credentials for {key}\n"))
}

fn not_logged_in(domain: &str) -> Result<(), CliError> {
    print(&format!("Not logged in to {domain}\n"))
}

/// The registry's host, and its key in the file.
fn server(written: Option<&str>) -> (String, String) {
    let bare = written.unwrap_or(HUB).trim_start_matches("https://").trim_start_matches("http://");
    let host = bare.split('/').next().unwrap_or_default();
    match host {
        "" | HUB | "index.docker.io" | "registry-1.docker.io" => (HUB.to_owned(), HUB_KEY.to_owned()),
        host => (host.to_owned(), host.to_owned()),
    }
}

/// User name and password, from the flags, standard input, or the person.
fn credentials(args: LoginArgs) -> Result<(String, String), CliError> {
    let stdin = |source| CliError::Stream { action: "read standard input", source };
    if args.password_stdin {
        let Some(username) = args.username else {
            return Err(UsageError::new("the --password-stdin option requires --username to be set").into());
        };
        let mut password = String::new();
        io::stdin().lock().read_to_string(&mut password).map_err(stdin)?;
        return filled(username, password.trim_end_matches(['\r', '\n']).to_owned());
    }
    if (args.username.is_none() || args.password.is_none()) && !io::stdin().is_terminal() {
        return Err(UsageError::new("Cannot perform an interactive login from a non TTY device").into());
    }
    let username = args.username.map_or_else(|| ask("Username: "), Ok).map_err(stdin)?;
    let password = args.password.map_or_else(ask_hidden, Ok).map_err(stdin)?;
    filled(username, password)
}

fn filled(username: String, password: String) -> Result<(String, String), CliError> {
    for (what, text) in [("username", &username), ("password", &password)] {
        if text.is_empty() {
            return Err(UsageError::new(format!("{what} is empty")).into());
        }
    }
    Ok((username, password))
}

fn ask(question: &str) -> io::Result<String> {
    exit::ask(question);
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim().to_owned())
}

/// Asks for the password with the terminal's echo off.
fn ask_hidden() -> io::Result<String> {
    let before = tcgetattr(io::stdin())?;
    let mut silent = before.clone();
    silent.local_flags.remove(LocalFlags::ECHO);
    tcsetattr(io::stdin(), SetArg::TCSANOW, &silent)?;
    let answer = ask("Password: ");
    tcsetattr(io::stdin(), SetArg::TCSANOW, &before)?;
    exit::tell("");
    answer
}

/// The object `name` of `config`, made if it is not there.
fn object<'a>(config: &'a mut Value, name: &str) -> &'a mut Map<String, Value> {
    if !config.is_object() {
        *config = json!({});
    }
    if !config[name].is_object() {
        config[name] = json!({});
    }
    config[name].as_object_mut().expect("just made an object")
}

/// Replaces the file, readable by its owner only, who stays the same. A link stays a link.
fn write(path: &Path, config: &Value) -> Result<(), CliError> {
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let directory = real.parent().unwrap_or(Path::new("/"));
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(CliError::file("create", directory))?;
    let mut new = NewFile::at(&real, 0o600)?;
    if let Ok(old) = fs::metadata(&real) {
        // `sudo rbuild login` in another user's home: only root can give the file away, and others need not
        let _ = fchown(new.file(), Some(old.uid()), Some(old.gid()));
    }
    // Docker indents this file with tabs
    let written = new.write_all(format!("{config:#}\n").as_bytes()).and_then(|()| new.file().sync_all());
    written.map_err(CliError::file("write", path))?;
    new.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn hub_has_one_key_and_others_their_host() {
        assert_eq!(server(None), (HUB.to_owned(), HUB_KEY.to_owned()));
        assert_eq!(server(Some("docker.io")).1, HUB_KEY);
        assert_eq!(server(Some("https://r.example:5000/v2/")).1, "r.example:5000");
    }

    #[test]
    fn the_rest_of_the_file_stays_and_nobody_else_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/config.json");
        let mut config = json!({"detachKeys": "ctrl-x", "auths": {"a": {"auth": "eA=="}}});
        object(&mut config, "auths").insert("b".to_owned(), json!({"auth": "eQ=="}));
        write(&path, &config).unwrap();
        let (read, _) = document(&path).unwrap().unwrap();
        assert_eq!(
            read,
            json!({"detachKeys": "ctrl-x", "auths": {"a": {"auth": "eA=="}, "b": {"auth": "eQ=="}}})
        );
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        write(&path, &config).unwrap();
        assert_eq!(mode(&path), 0o600, "others could read the old one");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
