//! The streams of the process in whose foreground a container runs. Other clients come and go; these are there from the beginning,
//! and one of them that nobody reads holds up what the program writes to it, and nothing else.

use super::packet::{OutputStream, PIECE};
use crate::{Error, containers::start::stream_failure};
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    unistd::{read, write},
};
use rbuild_executor::{CarriedOutput, OwnStream, carry_own_input};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The streams of this process as a container's.
pub(super) struct OwnStreams {
    /// Where standard input can be read, as long as there may be more.
    pub(super) input: Option<OwnedFd>,
    outputs: [OwnOutput; 2],
}

struct OwnOutput {
    stream: OutputStream,
    /// There once something was written.
    carried: Option<CarriedOutput>,
    /// What did not fit yet.
    waiting: Vec<u8>,
    /// True once nobody reads it.
    is_closed: bool,
}

impl OwnStreams {
    /// The outputs, and nothing to read.
    pub(super) fn new() -> Self {
        let of = |stream| OwnOutput { stream, carried: None, waiting: Vec::new(), is_closed: false };
        Self { input: None, outputs: [of(OutputStream::Stdout), of(OutputStream::Stderr)] }
    }

    /// Begins to read for the program behind `process`.
    pub(super) fn begin_input(&mut self, process: BorrowedFd<'_>) -> Result<(), Error> {
        self.input = Some(carry_own_input(process)?);
        Ok(())
    }

    /// What was read from standard input: empty at its end.
    pub(super) fn read_input(&mut self) -> Vec<u8> {
        let Some(input) = &self.input else { return Vec::new() };
        let mut bytes = vec![0; PIECE];
        let length = loop {
            match read(input.as_fd(), &mut bytes) {
                Err(Errno::EINTR) => {}
                read => break read.unwrap_or(0),
            }
        };
        bytes.truncate(length);
        if bytes.is_empty() {
            self.input = None;
        }
        bytes
    }

    /// Writes what the program wrote; false when nobody reads it.
    pub(super) fn write(&mut self, stream: OutputStream, bytes: &[u8]) -> bool {
        let output = self.output(stream);
        if output.waiting.is_empty() {
            let written = output.write(bytes);
            output.waiting.extend_from_slice(&bytes[written..]);
        } else {
            output.waiting.extend_from_slice(bytes);
        }
        !output.is_closed
    }

    /// Writes what did not fit before.
    pub(super) fn flush(&mut self, stream: OutputStream) {
        let output = self.output(stream);
        let waiting = std::mem::take(&mut output.waiting);
        let written = output.write(&waiting);
        output.waiting.extend_from_slice(&waiting[written..]);
    }

    /// Streams that have more to write, and where.
    pub(super) fn behind(&self) -> impl Iterator<Item = (OutputStream, BorrowedFd<'_>)> {
        let behind = self.outputs.iter().filter(|output| !output.waiting.is_empty());
        behind.filter_map(|output| Some((output.stream, output.carried.as_ref()?.as_fd())))
    }

    /// Waits until everything was taken, or nobody takes it.
    pub(super) fn finish(self) {
        for mut output in self.outputs {
            let Some(carried) = output.carried.take() else { continue };
            // it may wait now
            let _ = fcntl(&carried, FcntlArg::F_SETFL(OFlag::empty()));
            let mut rest = output.waiting.as_slice();
            while !rest.is_empty() {
                match write(&carried, rest) {
                    Ok(written) => rest = &rest[written..],
                    Err(Errno::EINTR) => {}
                    Err(_) => break,
                }
            }
            carried.finish();
        }
    }

    fn output(&mut self, stream: OutputStream) -> &mut OwnOutput {
        let [stdout, stderr] = &mut self.outputs;
        match stream {
            OutputStream::Stdout => stdout,
            OutputStream::Stderr => stderr,
        }
    }
}

impl OwnOutput {
    /// Writes what there is room for now, and returns how much that was: everything where nobody reads.
    fn write(&mut self, bytes: &[u8]) -> usize {
        if self.carried.is_none() && !self.is_closed {
            self.carried = begin(self.stream).ok();
        }
        let Some(carried) = &self.carried else {
            self.is_closed = true;
            return bytes.len();
        };
        let mut written = 0;
        while written < bytes.len() {
            match write(carried, &bytes[written..]) {
                Ok(length) => written += length,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return written,
                Err(_) => {
                    (self.is_closed, self.carried) = (true, None);
                    return bytes.len();
                }
            }
        }
        written
    }
}

fn begin(stream: OutputStream) -> Result<CarriedOutput, Error> {
    let carried = CarriedOutput::begin(match stream {
        OutputStream::Stdout => OwnStream::Output,
        OutputStream::Stderr => OwnStream::Error,
    })?;
    let set = fcntl(&carried, FcntlArg::F_SETFL(OFlag::O_NONBLOCK));
    set.map_err(|errno| stream_failure(errno.into()))?;
    Ok(carried)
}
