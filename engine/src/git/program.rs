//! Running `git` without anything that this machine or a repository could slip in.

use super::{GitAccess, GitError, access::scheme_and_host};
use nix::{
    errno::Errno,
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use rbuild_cache::ScratchDir;
use rbuild_executor::ExecutorError;
use std::{
    io::Read,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// The most that is kept of an output.
const MOST_OUTPUT: usize = 16 << 20;
/// The longest message that is shown.
const MOST_MESSAGE: usize = 2000;
/// The pauses between two looks at the program.
const FIRST_PAUSE: Duration = Duration::from_micros(200);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// Settings that no file of this machine has a say in. What follows a login or an address is not among them.
const SETTINGS: [(&str, &str); 17] = [
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.symlinks", "true"),
    ("core.protectNTFS", "false"),
    ("credential.helper", ""),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("init.defaultBranch", "main"),
    ("init.templateDir", ""),
    ("advice.detachedHead", "false"),
    ("protocol.allow", "never"),
    ("protocol.http.allow", "always"),
    ("protocol.https.allow", "always"),
    ("protocol.ssh.allow", "always"),
    ("protocol.git.allow", "always"),
    // as for files of the web: a server that sends less, in bytes a second, would not come to an end
    ("http.lowSpeedLimit", "34"),
    ("http.lowSpeedTime", "30"),
];

/// One run of `git`.
pub(super) struct Git<'a> {
    access: &'a GitAccess,
    action: &'static str,
    command: Command,
    settings: Vec<(String, String)>,
    /// The server that is reached.
    host: Option<String>,
    has_login: bool,
    /// Files that the settings name.
    files: Option<ScratchDir>,
}

impl<'a> Git<'a> {
    /// `git ACTION`, which reaches the network through nothing but the transports that are allowed.
    pub(super) fn new(access: &'a GitAccess, action: &'static str) -> Self {
        // the shell sets the umask of files that are checked out, as BuildKit does
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "umask 022; exec git \"$@\"", "git", action]);
        command.env_clear().current_dir("/").stdin(Stdio::null());
        command.env("HOME", "/nonexistent").env("LC_ALL", "C");
        for (name, value) in [
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_ATTR_NOSYSTEM", "1"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_ASKPASS", "false"),
            ("SSH_ASKPASS", "false"),
            ("GIT_ALLOW_PROTOCOL", "http:https:ssh:git"),
            ("GIT_LFS_SKIP_SMUDGE", "1"),
        ] {
            command.env(name, value);
        }
        let settings =
            SETTINGS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { access, action, command, settings, host: None, has_login: false, files: None }
    }

    pub(super) fn arg(mut self, argument: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    pub(super) fn args<'t>(mut self, arguments: impl IntoIterator<Item = &'t str>) -> Self {
        self.command.args(arguments);
        self
    }

    pub(super) fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// In the repository at `directory`.
    pub(super) fn repository(self, directory: &Path) -> Self {
        self.env("GIT_DIR", directory)
    }

    pub(super) fn directory(mut self, directory: &Path) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// With files of this machine as remotes, for a fetch from the store's own repository.
    pub(super) fn with_files_as_remotes(mut self) -> Self {
        self.settings.push(("protocol.file.allow".to_owned(), "always".to_owned()));
        self.env("GIT_ALLOW_PROTOCOL", "file")
    }

    /// With `remote` as `origin`, and the logins for it.
    pub(super) fn remote(mut self, remote: &str) -> Result<Self, GitError> {
        self.settings.push(("remote.origin.url".to_owned(), remote.to_owned()));
        self.host = scheme_and_host(remote).map(|(_, host)| host.to_owned());
        let logins = self.access.logins(remote);
        self.has_login = !logins.is_empty();
        self.settings.extend(logins);
        self.files = self.access.add_certificates(remote, &mut self.settings)?;
        let ssh = self.access.ssh_command()?;
        Ok(self.env("GIT_SSH_COMMAND", ssh))
    }

    /// Runs it to its end, and returns its standard output.
    ///
    /// # Errors
    /// [`GitError`]; the message of the program is shown without logins.
    pub(super) fn run(mut self) -> Result<Vec<u8>, GitError> {
        let (access, action, has_login) = (self.access, self.action, self.has_login);
        let host = self.host.take();
        let (is_done, output, message) = self.ended()?;
        if is_done {
            return Ok(output);
        }
        if has_login && was_redirected(&message) {
            return Err(GitError::Redirected { action });
        }
        let refusal = Refusal::of(&message);
        let message = access.masked(&shortened(&message));
        Err(match host.zip(refusal) {
            Some((host, Refusal::Untrusted)) => GitError::Untrusted { action, message, host },
            Some((host, Refusal::Login)) if has_login => GitError::LoginRefused { action, host },
            Some((host, Refusal::Login)) => GitError::LoginWanted { action, host },
            None => GitError::Failed { action, message },
        })
    }

    /// True if it ends well; any other end than a failure is an error.
    ///
    /// # Errors
    /// [`GitError`].
    pub(super) fn succeeds(self) -> Result<bool, GitError> {
        Ok(self.ended()?.0)
    }

    fn ended(mut self) -> Result<(bool, Vec<u8>, Vec<u8>), GitError> {
        self.command.envs(self.access.surroundings()?);
        // in the environment, which only this user can read, because arguments are seen by all
        self.command.env("GIT_CONFIG_COUNT", self.settings.len().to_string());
        for (place, (name, value)) in self.settings.iter().enumerate() {
            self.command.env(format!("GIT_CONFIG_KEY_{place}"), name);
            self.command.env(format!("GIT_CONFIG_VALUE_{place}"), value);
        }
        self.command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = self.command.spawn().map_err(GitError::Program)?;
        let mut running = RunningGit { child, moved: Arc::default() };
        let output = reader(running.child.stdout.take(), &running.moved);
        let message = reader(running.child.stderr.take(), &running.moved);
        let code = running.wait(self.access, self.action)?;
        let text = |reader: JoinHandle<Vec<u8>>| reader.join().unwrap_or_default();
        let (output, message) = (text(output), text(message));
        if code == Some(127) {
            return Err(GitError::Program(Errno::ENOENT.into()));
        }
        Ok((code == Some(0), output, message))
    }
}

/// The program while it runs; its whole group is killed when this is dropped before its end.
struct RunningGit {
    child: Child,
    /// Bytes that it has written.
    moved: Arc<AtomicU64>,
}

impl RunningGit {
    fn wait(&mut self, access: &GitAccess, action: &'static str) -> Result<Option<i32>, GitError> {
        let (mut pause, mut last, mut since) = (FIRST_PAUSE, 0, Instant::now());
        loop {
            if let Some(status) = self.child.try_wait().map_err(GitError::Program)? {
                return Ok(status.code());
            }
            if access.is_canceled() {
                return Err(ExecutorError::Canceled.into());
            }
            let moved = self.moved.load(Ordering::Relaxed);
            if moved != last {
                (last, since) = (moved, Instant::now());
            } else if since.elapsed() > access.stall() {
                return Err(GitError::Stalled { action, seconds: access.stall().as_secs() });
            }
            thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

impl Drop for RunningGit {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = killpg(Pid::from_raw(self.child.id() as i32), Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }
}

/// Reads `stream` to its end and keeps its beginning.
fn reader(stream: Option<impl Read + Send + 'static>, moved: &Arc<AtomicU64>) -> JoinHandle<Vec<u8>> {
    let moved = moved.clone();
    thread::spawn(move || {
        let (mut kept, mut buffer) = (Vec::new(), [0; 16 << 10]);
        let Some(mut stream) = stream else { return kept };
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            moved.fetch_add(length as u64, Ordering::Relaxed);
            let room = MOST_OUTPUT.saturating_sub(kept.len()).min(length);
            kept.extend_from_slice(&buffer[..room]);
        }
        kept
    })
}

/// True if git says that it was sent elsewhere and did not go, as libcurl words it.
fn was_redirected(message: &[u8]) -> bool {
    String::from_utf8_lossy(message).contains("The requested URL returned error: 30")
}

/// Why git and a server do not come together, where a person can do something about it.
enum Refusal {
    /// Nobody whom git trusts has signed the server's certificate.
    Untrusted,
    /// The server wants a login, or another one.
    Login,
}

impl Refusal {
    /// As git words it; certificates as OpenSSL and GnuTLS do.
    fn of(message: &[u8]) -> Option<Self> {
        const UNTRUSTED: [&str; 3] =
            ["local issuer certificate", "self-signed certificate", "server certificate verification failed"];
        const LOGIN: [&str; 2] = ["could not read Username", "Authentication failed"];
        let text = String::from_utf8_lossy(message);
        let says = |words: &[&str]| words.iter().any(|words| text.contains(words));
        if says(&UNTRUSTED) {
            return Some(Self::Untrusted);
        }
        says(&LOGIN).then_some(Self::Login)
    }
}

/// The lines of a message that are not progress, on one line.
fn shortened(message: &[u8]) -> String {
    let text = String::from_utf8_lossy(message);
    let is_progress = |line: &&str| line.contains('%') || line.ends_with(", done.");
    let lines = text.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty() && !is_progress(line));
    let text = lines.collect::<Vec<_>>().join("; ");
    text.chars().take(MOST_MESSAGE).collect()
}
