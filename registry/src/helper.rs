//! Credential helpers: programs `docker-credential-<name>` that give a login for a server
//! (protocol of github.com/docker/docker-credential-helpers: `get`, server on stdin, JSON on stdout; `store`, JSON on
//! stdin; `erase`, server on stdin).

use crate::{Cause, Login, RegistryError, Secret};
use serde::Deserialize;
use std::{
    io,
    path::PathBuf,
    pin::pin,
    process::{Output, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::Command,
    time,
};

/// Longest time a helper may take; it may have to ask the user to unlock a key ring.
const HELPER_LIMIT: Duration = Duration::from_secs(60);
/// How long the end of what a helper says is waited for when it has ended: a program that it has left behind may keep its streams open.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Most bytes of an answer, which is a name and a secret.
const HELPER_BYTES: usize = 1 << 20;
/// The user name that stands for none, because the secret is an identity token.
const IDENTITY: &str = "<token>";
/// The text that a helper prints when it has no login for the server.
const NOT_FOUND: &str = "credentials not found in native keychain";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: Secret,
}

/// The program `docker-credential-NAME`, which keeps logins.
#[derive(Clone, Debug)]
pub struct CredentialHelper {
    /// Its name, without `docker-credential-`.
    pub name: String,
    /// The directories in which it is looked for, in the form of `PATH`.
    pub search_path: String,
}

impl CredentialHelper {
    /// Its login to `server`; `None` when it has none.
    ///
    /// # Errors
    /// [`RegistryError::Helper`].
    pub async fn login(&self, server: &str) -> Result<Option<Login>, RegistryError> {
        let Some(output) = self.run("get", server, server).await? else { return Ok(None) };
        let answer: Answer =
            serde_json::from_slice(&output).map_err(|error| self.failed(server, error.into()))?;
        Ok(Some(match answer.username.as_str() {
            IDENTITY => Login::IdentityToken(answer.secret),
            _ => Login::Password { username: answer.username, password: answer.secret },
        }))
    }

    /// Lets it keep `login` to `server`.
    ///
    /// # Errors
    /// [`RegistryError::Helper`].
    pub async fn store(&self, server: &str, login: &Login) -> Result<(), RegistryError> {
        let (username, secret) = match login {
            Login::Password { username, password } => (username.as_str(), password),
            Login::IdentityToken(token) => (IDENTITY, token),
        };
        let entry = serde_json::json!({"ServerURL": server, "Username": username, "Secret": secret.expose()});
        self.run("store", server, &entry.to_string()).await.map(drop)
    }

    /// Lets it forget its login to `server`. True if it had one.
    ///
    /// # Errors
    /// [`RegistryError::Helper`].
    pub async fn erase(&self, server: &str) -> Result<bool, RegistryError> {
        // helpers erase what they do not have without a word
        let had = self.login(server).await?.is_some();
        if had {
            self.run("erase", server, server).await?;
        }
        Ok(had)
    }

    /// Runs it with `input`; `None` when it says that it does not know `server`.
    async fn run(&self, action: &str, server: &str, input: &str) -> Result<Option<Vec<u8>>, RegistryError> {
        let failed = |source: Cause| self.failed(server, source);
        let path =
            locate(&self.program(), &self.search_path).ok_or_else(|| failed("not found in PATH".into()))?;
        let mut command = Command::new(path);
        command.arg(action).env("PATH", &self.search_path).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let answered = time::timeout(HELPER_LIMIT, answer(command, input.as_bytes())).await;
        let silent = |_| failed(format!("it has not ended in {} s", HELPER_LIMIT.as_secs()).into());
        let output = answered.map_err(silent)?.map_err(|error| failed(error.into()))?;
        if output.status.success() {
            return Ok(Some(output.stdout));
        }
        // helpers print their errors on stdout
        let said = if output.stdout.is_empty() { &output.stderr } else { &output.stdout };
        let said = String::from_utf8_lossy(said);
        match said.trim() {
            NOT_FOUND => Ok(None),
            said => Err(failed(io::Error::other(format!("{}: {said}", output.status)).into())),
        }
    }

    fn failed(&self, server: &str, source: Cause) -> RegistryError {
        RegistryError::Helper { program: self.program(), server: server.to_owned(), source }
    }

    fn program(&self) -> String {
        format!("docker-credential-{}", self.name)
    }
}

/// The first file of that name in the search path. A name with a slash is refused, because it would leave the path.
fn locate(program: &str, search_path: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return None;
    }
    let directories = search_path.split(':').filter(|directory| directory.starts_with('/'));
    directories.map(|directory| PathBuf::from(directory).join(program)).find(|path| path.is_file())
}

/// Runs `command` with `input`; what it has said when it has ended.
async fn answer(mut command: Command, input: &[u8]) -> io::Result<Output> {
    let mut child = command.spawn()?;
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let said = child.stdout.take().expect("stdout is piped");
    let complained = child.stderr.take().expect("stderr is piped");
    let status = {
        let exchange = async {
            let tell = async {
                // a helper may exit without reading its input; its answer decides
                let _ = stdin.write_all(input).await;
                drop(stdin);
                Ok(())
            };
            tokio::try_join!(tell, collect(said, &mut stdout), collect(complained, &mut stderr))
        };
        let mut exchange = pin!(exchange);
        tokio::select! {
            ended = &mut exchange => {
                ended?;
                child.wait().await?
            }
            status = child.wait() => {
                if let Ok(ended) = time::timeout(LAST_WORDS, exchange).await {
                    ended?;
                }
                status?
            }
        }
    };
    Ok(Output { status, stdout, stderr })
}

/// Puts all that `stream` gives, which is a few lines, into `bytes`.
async fn collect(mut stream: impl AsyncRead + Unpin, bytes: &mut Vec<u8>) -> io::Result<()> {
    while stream.read_buf(bytes).await? > 0 {
        if bytes.len() > HELPER_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its answer is longer than 1 MiB"));
        }
    }
    Ok(())
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
        let helper = CredentialHelper { name: "t".to_owned(), search_path: search };
        runtime.block_on(helper.login("r.example"))
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
    fn a_program_that_a_helper_leaves_behind_is_not_waited_for() {
        // it keeps the streams open until the program's file is removed
        let login = run(r#"while [ -e "$0" ]; do sleep 0.1; done & echo '{"Username":"u","Secret":"s"}'"#);
        let expected = Login::Password { username: "u".to_owned(), password: Secret::new("s") };
        assert_eq!(login.unwrap(), Some(expected));
    }

    #[test]
    fn helper_without_login_is_no_failure_but_others_are() {
        assert_eq!(run("echo 'credentials not found in native keychain'; exit 1").unwrap(), None);
        let error = run("echo locked; exit 1").unwrap_err();
        assert_eq!(error.to_string(), "credential helper docker-credential-t failed for r.example");
        assert!(std::error::Error::source(&error).unwrap().to_string().contains("locked"));
        assert!(run("echo junk").is_err());
        for endless in ["cat /dev/zero", "cat /dev/zero >&2"] {
            let error = run(endless).unwrap_err();
            assert!(std::error::Error::source(&error).unwrap().to_string().contains("longer than 1 MiB"));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for (name, search_path) in [("none", "/nowhere"), ("../x", "/usr/bin")] {
            let helper = CredentialHelper { name: name.to_owned(), search_path: search_path.to_owned() };
            assert!(runtime.block_on(helper.login("r")).is_err());
        }
    }
}
