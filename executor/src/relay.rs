//! Carries a container's streams between pipes and those of this process.
//!
//! A container gets pipes and never the caller's own descriptors, because through a descriptor it could change what lies behind
//! it: truncate the file that its output goes to, give it another mode (a set-user-id program, owned by root), or read what is
//! typed into a terminal for another program.

use crate::ExecutorError;
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
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

/// Bytes that wait in a pipe of this process with itself.
const CARRIED: i32 = 32 << 10;

/// A container's standard input.
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

/// This process's ends of what a running container writes.
pub(crate) struct Relay {
    stdout: File,
    stderr: File,
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

    /// Closes the container's ends, and carries what this process reads until the container behind `process` has ended.
    pub(crate) fn relay(self, process: BorrowedFd<'_>) -> Result<Relay, ExecutorError> {
        if let Some((_, writer)) = self.stdin {
            let process = process.try_clone_to_owned();
            let process = process.map_err(|error| ExecutorError::system("dup", b"a pidfd", error))?;
            // It ends with the container, but for a read that has begun; so nothing waits for it.
            start(move || carry_input(&process, File::from(writer)))?;
        }
        Ok(Relay { stdout: File::from(self.stdout.0), stderr: File::from(self.stderr.0) })
    }
}

impl Relay {
    /// Hands on what the container writes until it has closed both streams, as it does at its end. While both are open and
    /// one has something to say, the other one gets a thread of its own: a reader of the first that is slow must not keep
    /// the second waiting.
    #[expect(clippy::disallowed_methods, reason = "a container's bytes go where its caller's would")]
    pub(crate) fn carry(self) -> Result<(), ExecutorError> {
        let Self { stdout, stderr } = self;
        let [is_stdout_closed, is_stderr_closed] = first_news(&stdout, &stderr)?;
        if is_stdout_closed {
            carry_output(stderr, io::stderr());
        } else if is_stderr_closed {
            carry_output(stdout, io::stdout());
        } else {
            let other = start(move || carry_output(stderr, io::stderr()))?;
            carry_output(stdout, io::stdout());
            // a thread that panicked has nothing more to hand on
            let _ = other.join();
        }
        Ok(())
    }
}

/// Carries this process's standard input until that ends or the process behind `process` has; returns where it can be read.
///
/// # Errors
/// [`ExecutorError::System`].
pub fn carry_own_input(process: BorrowedFd<'_>) -> Result<OwnedFd, ExecutorError> {
    let process = process.try_clone_to_owned();
    let process = process.map_err(|error| ExecutorError::system("dup", b"a pidfd", error))?;
    let (reader, writer) = carried_pipe()?;
    start(move || carry_input(&process, File::from(writer)))?;
    Ok(reader)
}

/// One of this process's own output streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnStream {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// A pipe whose bytes a thread writes to one of this process's own streams, however long that takes.
#[derive(Debug)]
pub struct CarriedOutput {
    writer: OwnedFd,
    carrier: JoinHandle<()>,
}

impl CarriedOutput {
    /// Begins to carry.
    ///
    /// # Errors
    /// [`ExecutorError::System`].
    #[expect(clippy::disallowed_methods, reason = "a container's bytes go where its caller's would")]
    pub fn begin(stream: OwnStream) -> Result<Self, ExecutorError> {
        let (reader, writer) = carried_pipe()?;
        let carrier = start(move || match stream {
            OwnStream::Output => carry_output(File::from(reader), io::stdout()),
            OwnStream::Error => carry_output(File::from(reader), io::stderr()),
        })?;
        Ok(Self { writer, carrier })
    }

    /// Waits until everything has been taken, or nobody takes it.
    pub fn finish(self) {
        drop(self.writer);
        // a thread that panicked has nothing more to hand on
        let _ = self.carrier.join();
    }
}

impl AsFd for CarriedOutput {
    /// The pipe, to write to.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.writer.as_fd()
    }
}

/// A pipe that holds little, so that who writes notices soon that nobody reads.
fn carried_pipe() -> Result<(OwnedFd, OwnedFd), ExecutorError> {
    let failed = |errno| ExecutorError::system("pipe2", b"", errno);
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).map_err(failed)?;
    fcntl(&writer, FcntlArg::F_SETPIPE_SZ(CARRIED)).map_err(failed)?;
    Ok((reader, writer))
}

/// Waits until there is something to read from one of two streams, or one is closed; says which of them are closed with
/// nothing left to read.
fn first_news(stdout: &File, stderr: &File) -> Result<[bool; 2], ExecutorError> {
    let mut watched = [stdout, stderr].map(|stream| PollFd::new(stream.as_fd(), PollFlags::POLLIN));
    loop {
        match poll(&mut watched, PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(ExecutorError::system("poll", b"a container's streams", errno)),
            Ok(_) => break,
        }
    }
    Ok(watched.map(|stream| {
        let news = stream.revents().unwrap_or(PollFlags::POLLIN);
        !news.is_empty() && !news.contains(PollFlags::POLLIN)
    }))
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
