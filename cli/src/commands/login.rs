//! `login` and `logout`: the `auths` of Docker's `config.json`, or of the file that `REGISTRY_AUTH_FILE` names, or the
//! credential helper that it names. All other tools read them too.

use crate::{
    app::App,
    args::{LoginArgs, LogoutArgs},
    credentials::{client_options, document},
    error::{CliError, UsageError},
    exit,
    failure::in_full,
    new_file::NewFile,
    options::Certificates,
    progress::Style,
    streams::print,
    working::work,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use rbuild::{ClientOptions, CredentialHelper, Credentials, Login, Secret, check_login};
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
    let path = app.environment.login_file();
    let mut config = document(&path)?.map_or_else(|| json!({}), |(value, _)| value);
    if args.password.is_some() {
        exit::warn("Using --password via the CLI is insecure. Use --password-stdin.");
    }
    let known = client_options(&app.environment, Certificates::Checked)?;
    let asks_nothing = args.username.is_none() && args.password.is_none() && !args.password_stdin;
    if asks_nothing && known.credentials.origin(&domain, "").is_some() {
        exit::tell("Authenticating with existing credentials...");
        match work(Style::Quiet, async |_| check_login(known.clone(), &domain).await.map_err(CliError::Login))
        {
            Ok(()) => return print("Login Succeeded\n"),
            Err(error) if !io::stdin().is_terminal() => return Err(error),
            Err(error) => exit::tell(&format!("Login did not succeed, error: {}", in_full(&error, None))),
        }
    }
    let (username, password) = credentials(args)?;
    let stored = BASE64_STANDARD.encode(format!("{username}:{password}"));
    let login = Login::Password { username, password: Secret::new(password) };
    let options = ClientOptions { credentials: Credentials::of(&domain, login.clone()), ..known.clone() };
    // to log in is no advice here
    work(Style::Quiet, async |_| check_login(options, &domain).await.map_err(CliError::Login))?;
    match helper(app, &config, &key) {
        Some(helper) => {
            work(Style::Quiet, async |_| helper.store(&key, &login).await.map_err(rbuild::Error::from))?;
            // docker leaves an entry without a login behind, by which it knows the server
            object(&mut config, "auths").insert(key, json!({}));
        }
        None => {
            object(&mut config, "auths").insert(key, json!({"auth": stored}));
            exit::tell(&format!(
                "WARNING! Your credentials are stored unencrypted in '{}'.\n\
                 Configure a credential helper to remove this warning. See\n\
                 https://docs.docker.com/go/credential-store/",
                path.display()
            ));
        }
    }
    write(&path, &config)?;
    tell_of_others(&known.credentials, &domain, &path, "comes before this one");
    print("Login Succeeded\n")
}

/// Forgets credentials.
pub(super) fn logout(app: &App, args: &LogoutArgs) -> Result<(), CliError> {
    let (domain, key) = server(args.server.as_deref());
    let path = app.environment.login_file();
    let known = client_options(&app.environment, Certificates::Checked)?;
    let mut removed = false;
    if let Some((mut config, _)) = document(&path)? {
        if let Some(helper) = helper(app, &config, &key) {
            removed = work(Style::Quiet, async |_| helper.erase(&key).await.map_err(rbuild::Error::from))?;
        }
        let auths = object(&mut config, "auths");
        let before = auths.len();
        // other tools and older ones write the scheme and the path of the API into the key
        auths.retain(|entry, _| server(Some(entry)).1 != key || has_path(entry));
        if auths.len() < before {
            removed = true;
            write(&path, &config)?;
        }
    }
    tell_of_others(&known.credentials, &domain, &path, "is still there");
    match removed {
        true => print(&format!("Removing login credentials for {key}\n")),
        false => print(&format!("Not logged in to {domain}\n")),
    }
}

/// The credential helper that keeps the login of `key`.
fn helper(app: &App, config: &Value, key: &str) -> Option<CredentialHelper> {
    let named = [&config["credHelpers"][key], &config["credsStore"]];
    let name = named.into_iter().filter_map(Value::as_str).find(|name| !name.is_empty())?;
    let search_path = app.environment.variable("PATH").unwrap_or_default().to_owned();
    Some(CredentialHelper { name: name.to_owned(), search_path })
}

/// True if an entry of `auths` is for a part of a registry, which has a login of its own.
fn has_path(entry: &str) -> bool {
    let bare = entry.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    bare.split_once('/').is_some_and(|(_, path)| path != "v1" && path != "v2")
}

/// Says that a login of another file is used, which a person who logs in or out may not think of.
fn tell_of_others(known: &Credentials, domain: &str, path: &Path, what: &str) {
    if let Some(origin) = known.origin(domain, "").filter(|origin| origin.file != path) {
        exit::warn(&format!("a login for {domain} in {} {what}", origin.file.display()));
    }
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
        assert!(has_path("r.example/team") && !has_path("https://r.example/v2/") && !has_path("r.example"));
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
