//! The streams of one program in a container: what it reads and writes, through pipes or through a terminal.

use super::packet::{OutputStream, PIECE};
use crate::{Error, containers::start::stream_failure};
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    unistd::{pipe2, read, write},
};
use rbuild_cache::ContainerStreams;
use rbuild_executor::{GivenPipes, Stdio};
use std::{
    collections::VecDeque,
    os::fd::{AsFd, OwnedFd},
};

/// Input that is kept until the program takes it; more is not read from who sends it.
const KEPT_INPUT: usize = 4 * PIECE;

/// This process's ends of a program's streams.
pub(super) struct Session {
    input: Option<OwnedFd>,
    typed: VecDeque<u8>,
    /// True once `input` is to be closed when everything typed was taken.
    input_ends: bool,
    pub(super) outputs: Vec<(OutputStream, OwnedFd)>,
    /// Indexes of those that have ended.
    ended: Vec<usize>,
    terminal: Option<OwnedFd>,
}

impl Session {
    /// New streams: this process's ends and the program's.
    pub(super) fn new(streams: ContainerStreams, with_input: bool) -> Result<(Self, Stdio), Error> {
        let (session, stdio) = match streams {
            ContainerStreams::Terminal => {
                let (master, slave) = rbuild_executor::open_terminal(24, 80)?;
                let copy = || master.try_clone().map_err(stream_failure);
                let input = with_input.then(copy).transpose()?;
                let outputs = vec![(OutputStream::Stdout, copy()?)];
                (Self::of(input, outputs, Some(master)), Stdio::Terminal(slave))
            }
            ContainerStreams::Pipes => {
                let pipe = || pipe2(OFlag::O_CLOEXEC).map_err(|errno| stream_failure(errno.into()));
                let ((out, stdout), (err, stderr)) = (pipe()?, pipe()?);
                let (stdin, input) = with_input.then(pipe).transpose()?.unzip();
                let outputs = vec![(OutputStream::Stdout, out), (OutputStream::Stderr, err)];
                (Self::of(input, outputs, None), Stdio::Pipes(GivenPipes { stdin, stdout, stderr }))
            }
        };
        for end in session.input.iter().chain(session.outputs.iter().map(|(_, end)| end)) {
            let set = fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK));
            set.map_err(|errno| stream_failure(errno.into()))?;
        }
        Ok((session, stdio))
    }

    fn of(input: Option<OwnedFd>, outputs: Vec<(OutputStream, OwnedFd)>, terminal: Option<OwnedFd>) -> Self {
        Self { input, typed: VecDeque::new(), input_ends: false, outputs, ended: Vec::new(), terminal }
    }

    /// Where the program's input goes, when there is something for it.
    pub(super) fn waiting_input(&self) -> Option<&OwnedFd> {
        self.input.as_ref().filter(|_| !self.typed.is_empty())
    }

    /// True if more input can be kept.
    pub(super) fn takes_input(&self) -> bool {
        self.typed.len() < KEPT_INPUT
    }

    /// Takes bytes for the program; they are dropped when it reads nothing.
    pub(super) fn type_in(&mut self, bytes: &[u8]) {
        if self.input.is_some() && !self.input_ends {
            self.typed.extend(bytes);
            self.feed();
        }
    }

    /// Closes the program's input once it has taken everything typed. A terminal has no end of input but a key.
    pub(super) fn end_input(&mut self) {
        if self.terminal.is_none() {
            self.input_ends = true;
            self.feed();
        }
    }

    /// Hands on what was typed, as far as the program takes it.
    pub(super) fn feed(&mut self) {
        while let (Some(input), false) = (&self.input, self.typed.is_empty()) {
            match write(input, self.typed.as_slices().0) {
                Ok(taken) => drop(self.typed.drain(..taken)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return,
                // it has closed its end
                Err(_) => {
                    self.typed.clear();
                    self.input = None;
                }
            }
        }
        if self.input_ends {
            self.input = None;
        }
    }

    /// What can be read from the output at `index` now; `None` when there is nothing.
    pub(super) fn read_output(&mut self, index: usize) -> Option<(OutputStream, Vec<u8>)> {
        let (stream, end) = self.outputs.get(index)?;
        let mut bytes = vec![0; PIECE];
        match read(end.as_fd(), &mut bytes) {
            Ok(length) if length > 0 => {
                bytes.truncate(length);
                Some((*stream, bytes))
            }
            Err(Errno::EINTR | Errno::EAGAIN) => None,
            // EIO: the last program that had the terminal open is gone
            Ok(_) | Err(_) => {
                self.ended.push(index);
                None
            }
        }
    }

    /// Lets go of an output that nobody reads, so that the program learns of it.
    pub(super) fn close_output(&mut self, stream: OutputStream) {
        let is_it = |(_, (other, _)): &(usize, &(OutputStream, OwnedFd))| *other == stream;
        self.ended.extend(self.outputs.iter().enumerate().find(is_it).map(|(index, _)| index));
    }

    /// Lets go of the outputs that were seen to have ended.
    pub(super) fn forget_ended(&mut self) {
        self.ended.sort_unstable();
        self.ended.dedup();
        for index in self.ended.drain(..).rev() {
            self.outputs.remove(index);
        }
    }

    /// Tells the terminal its size.
    pub(super) fn resize(&self, rows: u16, columns: u16) {
        if let Some(terminal) = &self.terminal {
            rbuild_executor::resize_terminal(terminal.as_fd(), rows, columns);
        }
    }
}
