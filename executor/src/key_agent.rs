//! An agent for keys that are files (`--ssh ID=KEY`): OpenSSH's own, with a socket in memory, for as long as the build.

use crate::{ExecutorError, host_program::HostProgram};
use rbuild_sys::mount::{MountAttributes, detached_tmpfs};
use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// A running agent. Dropping it ends it, and it also ends with this process.
pub struct KeyAgent {
    socket: PathBuf,
    _memory: OwnedFd,
    _program: HostProgram,
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
        let mut command = Command::new("ssh-agent");
        command.args(["-D", "-s", "-a"]).arg(&socket);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let program = HostProgram::start(command, listens).map_err(fail)?;
        let agent = Self { socket, _memory: memory, _program: program };
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

/// Waits until `agent` listens, which it says in its first line.
fn listens(agent: &mut Child) -> io::Result<()> {
    let mut line = String::new();
    BufReader::new(agent.stdout.take().expect("standard output is piped")).read_line(&mut line)?;
    if !line.is_empty() {
        return Ok(());
    }
    let mut said = String::new();
    agent.stderr.take().expect("standard error is piped").read_to_string(&mut said)?;
    Err(io::Error::other(said.trim().to_owned()))
}
