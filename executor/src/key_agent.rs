//! An agent for keys that are files (`--ssh ID=KEY`): OpenSSH's own, with a socket in memory, for as long as the build.

use crate::ExecutorError;
use rbuild_sys::{
    host_program::end_with_this_thread,
    mount::{MountAttributes, detached_tmpfs},
};
use std::{
    io::{self, BufRead, BufReader, Write},
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Sender},
    thread::{self, JoinHandle},
};

/// A running agent. Dropping it ends it, and it also ends with this process.
pub struct KeyAgent {
    socket: PathBuf,
    _memory: OwnedFd,
    /// Closed to end it.
    stop: Option<Sender<()>>,
    keeper: Option<JoinHandle<()>>,
}

impl KeyAgent {
    /// Starts an agent with `keys`, each with the name by which errors call it and its text in one of the forms that OpenSSH
    /// reads.
    ///
    /// # Errors
    /// [`ExecutorError::AgentProgram`] when OpenSSH is not installed or fails, [`ExecutorError::KeyRefused`].
    pub fn start(keys: &[(&Path, &[u8])]) -> Result<Self, ExecutorError> {
        let fail = |source| ExecutorError::AgentProgram { program: "ssh-agent", source };
        let attributes = MountAttributes::NO_SUID.and(MountAttributes::NO_DEV).and(MountAttributes::NO_EXEC);
        let memory = detached_tmpfs(&[(c"source", c"tmpfs"), (c"size", c"64k")], attributes)
            .map_err(rbuild_sys::SandboxError::from)?;
        // the agent and its users are other processes, so the name begins with this one's
        let socket = PathBuf::from(format!("/proc/{}/fd/{}/agent", std::process::id(), memory.as_raw_fd()));
        let (stop, stopped) = mpsc::channel::<()>();
        let (ready, is_ready) = mpsc::channel();
        let path = socket.clone();
        // a thread of its own, because the agent ends with the thread that started it
        let keeper = thread::Builder::new().name("ssh keys".to_owned()).spawn(move || {
            match start_program(&path) {
                Ok(mut child) => {
                    let _ = ready.send(Ok(()));
                    // an error is the end of the one who could send
                    let _ = stopped.recv();
                    let _ = child.kill();
                    let _ = child.wait();
                }
                Err(error) => drop(ready.send(Err(error))),
            }
        });
        let keeper = keeper.map_err(fail)?;
        let agent = Self { socket, _memory: memory, stop: Some(stop), keeper: Some(keeper) };
        is_ready.recv().unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into())).map_err(fail)?;
        keys.iter().try_for_each(|(name, key)| agent.add(name, key))?;
        Ok(agent)
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    fn add(&self, name: &Path, key: &[u8]) -> Result<(), ExecutorError> {
        let fail = |source| ExecutorError::AgentProgram { program: "ssh-add", source };
        let mut command = Command::new("ssh-add");
        command.args(["-q", "-"]).env("SSH_AUTH_SOCK", &self.socket);
        // a key with a passphrase is refused, because a build asks nothing
        command.env("SSH_ASKPASS_REQUIRE", "force").env("SSH_ASKPASS", "false");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(fail)?;
        let mut stdin = child.stdin.take().expect("standard input is piped");
        // one that does not read its input says why below
        let _ = stdin.write_all(key);
        drop(stdin);
        let output = child.wait_with_output().map_err(fail)?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(ExecutorError::KeyRefused { key: name.to_owned(), said })
    }
}

impl Drop for KeyAgent {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

/// Starts `ssh-agent` with the socket `path`, and waits until it listens, which it says in its first line.
fn start_program(path: &Path) -> io::Result<Child> {
    let mut command = Command::new("ssh-agent");
    command.args(["-D", "-s", "-a"]).arg(path);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    end_with_this_thread(&mut command);
    let mut child = command.spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("standard output is piped")).read_line(&mut line)?;
    if line.is_empty() {
        let output = child.wait_with_output()?;
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    Ok(child)
}
