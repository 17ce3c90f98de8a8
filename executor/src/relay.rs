//! Carries a container's streams between pipes and those of this process.
//!
//! A container gets pipes and never the caller's own descriptors, because through a descriptor it could change what lies behind
//! it: truncate the file that its output goes to, give it another mode (a set-user-id program, owned by root), or read what a
//! terminal has to say to somebody else.

use crate::ExecutorError;
use nix::{
    errno::Errno,
    fcntl::OFlag,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    unistd::{pipe2, read},
};
use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    thread::{self, JoinHandle},
};

/// Bytes carried at a time.
const PIECE: usize = 64 << 10;

/// Whether a container reads what this process reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Input {
    /// Nothing: its own `/dev/null`.
    None,
    /// This process's standard input.
    Own,
}

/// Both ends of a container's pipes, before it starts.
pub(crate) struct Pipes {
    stdin: Option<(OwnedFd, OwnedFd)>,
    stdout: (OwnedFd, OwnedFd),
    stderr: (OwnedFd, OwnedFd),
}

/// Threads that carry the streams of a running container.
pub(crate) struct Relay {
    outputs: [JoinHandle<()>; 2],
}

impl Pipes {
    pub(crate) fn new(input: Input) -> Result<Self, ExecutorError> {
        let pipe = || pipe2(OFlag::O_CLOEXEC).map_err(|errno| ExecutorError::system("pipe2", b"", errno));
        let stdin = match input {
            Input::None => None,
            Input::Own => Some(pipe()?),
        };
        Ok(Self { stdin, stdout: pipe()?, stderr: pipe()? })
    }

    /// The container's ends.
    pub(crate) fn stdio(&self) -> rbuild_sys::spawn::Stdio<'_> {
        rbuild_sys::spawn::Stdio {
            stdin: self.stdin.as_ref().map(|(reader, _)| reader.as_fd()),
            stdout: self.stdout.1.as_fd(),
            stderr: self.stderr.1.as_fd(),
        }
    }

    /// Carries until the container behind `process` has ended; its ends close here.
    #[expect(clippy::disallowed_methods, reason = "a container's bytes go where its caller's would")]
    pub(crate) fn relay(self, process: BorrowedFd<'_>) -> Result<Relay, ExecutorError> {
        if let Some((_, writer)) = self.stdin {
            let process = process.try_clone_to_owned();
            let process = process.map_err(|error| ExecutorError::system("dup", b"a pidfd", error))?;
            // It ends with the container, but for a read that has begun; so nothing waits for it.
            start(move || carry_input(&process, File::from(writer)))?;
        }
        let (stdout, stderr) = (File::from(self.stdout.0), File::from(self.stderr.0));
        Ok(Relay {
            outputs: [
                start(move || carry_output(stdout, io::stdout()))?,
                start(move || carry_output(stderr, io::stderr()))?,
            ],
        })
    }
}

impl Relay {
    /// Waits until everything that the container wrote has been handed on. It must have ended.
    pub(crate) fn finish(self) {
        for output in self.outputs {
            // a thread that panicked has nothing more to hand on
            let _ = output.join();
        }
    }
}

fn start(carry: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, ExecutorError> {
    thread::Builder::new()
        .spawn(carry)
        .map_err(|error| ExecutorError::system("clone", b"a thread for a container's streams", error))
}

fn carry_output(mut from: File, mut to: impl Write) {
    let mut buffer = vec![0; PIECE];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return,
            // who reads this process's output has gone: as the pipe closes, the container learns of it
            Ok(count) => {
                if to.write_all(&buffer[..count]).and_then(|()| to.flush()).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

fn carry_input(process: &OwnedFd, mut to: File) {
    let own = io::stdin();
    let mut buffer = vec![0; PIECE];
    loop {
        let mut watched =
            [PollFd::new(own.as_fd(), PollFlags::POLLIN), PollFd::new(process.as_fd(), PollFlags::POLLIN)];
        match poll(&mut watched, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            Err(_) => return,
            Ok(_) if watched[1].any() == Some(true) => return,
            Ok(_) => {}
        }
        // past the buffer of `Stdin`, which would keep what the container has not asked for
        match read(own.as_fd(), &mut buffer) {
            Err(Errno::EINTR) => {}
            Ok(0) | Err(_) => return,
            Ok(count) => {
                if to.write_all(&buffer[..count]).is_err() {
                    return;
                }
            }
        }
    }
}
