//! Credential helpers: programs `docker-credential-<name>` that give a login for a server
//! (protocol of github.com/docker/docker-credential-helpers: `get`, server on stdin, JSON on stdout).

use crate::{Cause, Login, RegistryError, Secret};
use serde::Deserialize;
use std::{io, path::PathBuf, process::Stdio, time::Duration};
use tokio::{io::AsyncWriteExt, process::Command, time};

/// Longest time a helper may take; it may have to ask the user to unlock a key ring.
const HELPER_LIMIT: Duration = Duration::from_secs(120);
/// The text that a helper prints when it has no login for the server.
const NOT_FOUND: &str = "credentials not found in native keychain";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: Secret,
}

/// Asks helper `name`, found in `search_path` (the form of `PATH`), for its login to `server`.
pub(crate) async fn ask(name: &str, server: &str, search_path: &str) -> Result<Option<Login>, RegistryError> {
    let program = format!("docker-credential-{name}");
    let failed =
        |source: Cause| RegistryError::Helper { program: program.clone(), server: server.to_owned(), source };
    let path = locate(&program, search_path).ok_or_else(|| failed("not found in PATH".into()))?;
    let mut command = Command::new(path);
    command.arg("get").env("PATH", search_path).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let exchange = async {
        let mut child = command.spawn()?;
        let mut stdin = child.stdin.take().expect("stdin is piped");
        // a helper may exit without reading its input; its answer decides
        let _ = stdin.write_all(server.as_bytes()).await;
        drop(stdin);
        child.wait_with_output().await
    };
    let output = time::timeout(HELPER_LIMIT, exchange)
        .await
        .map_err(|_| failed("no answer".into()))?
        .map_err(|error| failed(error.into()))?;
    if !output.status.success() {
        // helpers print their errors on stdout
        let said =
            String::from_utf8_lossy(if output.stdout.is_empty() { &output.stderr } else { &output.stdout });
        let said = said.trim();
        return if said == NOT_FOUND {
            Ok(None)
        } else {
            Err(failed(io::Error::other(format!("{}: {said}", output.status)).into()))
        };
    }
    let answer: Answer = serde_json::from_slice(&output.stdout).map_err(|error| failed(error.into()))?;
    Ok(Some(match answer.username.as_str() {
        "<token>" => Login::IdentityToken(answer.secret),
        _ => Login::Password { username: answer.username, password: answer.secret },
    }))
}

/// The first file of that name in the search path. A name with a slash is refused, because it would leave the path.
fn locate(program: &str, search_path: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return None;
    }
    let directories = search_path.split(':').filter(|directory| directory.starts_with('/'));
    directories.map(|directory| PathBuf::from(directory).join(program)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str) -> Result<Option<Login>, RegistryError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("docker-credential-t");
        rbuild_testkit::write_program(&path, &format!("#!/bin/sh\n{script}\n"));
        let search = format!("{}:/usr/bin:/bin", directory.path().display());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(ask("t", "r.example", &search))
    }

    #[test]
    fn helper_is_asked_for_the_server() {
        let login = run(
            r#"read s; [ $1 = get ] && echo "{\"ServerURL\":\"$s\",\"Username\":\"u@$s\",\"Secret\":\"p\"}""#,
        );
        let expected = Login::Password { username: "u@r.example".to_owned(), password: Secret::new("p") };
        assert_eq!(login.unwrap(), Some(expected));
        let token = run(r#"echo '{"Username":"<token>","Secret":"t"}'"#).unwrap();
        assert_eq!(token, Some(Login::IdentityToken(Secret::new("t"))));
    }

    #[test]
    fn helper_without_login_is_no_failure_but_others_are() {
        assert_eq!(run("echo 'credentials not found in native keychain'; exit 1").unwrap(), None);
        let error = run("echo locked; exit 1").unwrap_err();
        assert_eq!(error.to_string(), "credential helper docker-credential-t failed for r.example");
        assert!(std::error::Error::source(&error).unwrap().to_string().contains("locked"));
        assert!(run("echo junk").is_err());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        assert!(runtime.block_on(ask("none", "r", "/nowhere")).is_err());
        assert!(runtime.block_on(ask("../x", "r", "/usr/bin")).is_err());
    }
}
