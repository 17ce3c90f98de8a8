//! Bodies of uploads while they are sent: all at once, or in parts that each have a request of their own.
//!
//! A [`Supply`] outlives the requests that send it, so that the next part begins where the last one ended. When a part
//! fails, the supply is opened anew and skips the bytes that the registry has.

use crate::{
    Pulse,
    body::{BlobBody, CHUNK},
};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

/// The state of an upload, seen from outside while the HTTP client owns its body.
#[derive(Default)]
pub(crate) struct Progress {
    /// Number of bytes given to the HTTP client, with those that were skipped.
    sent: AtomicU64,
    /// Number of times the HTTP client asked for bytes. It stands still only when the network does.
    asked: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
enum State {
    /// The HTTP client asked for the next bytes, and the producer has not delivered them yet.
    Waiting,
    #[default]
    Moving,
    Ended,
    Failed(io::Error),
}

impl Progress {
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// True if the upload waits for the producer and not for the network.
    pub(crate) fn waits_for_producer(&self) -> bool {
        matches!(*self.state.lock().unwrap_or_else(PoisonError::into_inner), State::Waiting)
    }

    pub(crate) fn is_ended(&self) -> bool {
        matches!(*self.state.lock().unwrap_or_else(PoisonError::into_inner), State::Ended)
    }

    /// Takes the producer's error, if that made the upload fail.
    pub(crate) fn take_error(&self) -> Option<io::Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::take(&mut *state) {
            State::Failed(error) => Some(error),
            other @ (State::Waiting | State::Moving | State::Ended) => {
                *state = other;
                None
            }
        }
    }

    fn turn(&self, state: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

/// The bytes of one blob, which one request or several send in order.
#[derive(Clone)]
pub(crate) struct Supply {
    shared: Arc<Mutex<Shared>>,
    /// The size the blob must have, if that is known.
    size: Option<u64>,
    progress: Arc<Progress>,
    /// Counts what is given to the HTTP client.
    pulse: Pulse,
}

struct Shared {
    body: BlobBody,
    /// What the source gave and no request has taken yet.
    rest: Bytes,
    /// Number of bytes to drop before the first that is sent.
    skip: u64,
}

impl Supply {
    /// The bytes of `body` after the first `skip`.
    pub(crate) fn new(body: BlobBody, (size, skip): (Option<u64>, u64), pulse: &Pulse) -> Self {
        let progress = Progress { sent: AtomicU64::new(skip), ..Progress::default() };
        let shared = Shared { body, rest: Bytes::new(), skip };
        let (shared, progress) = (Arc::new(Mutex::new(shared)), Arc::new(progress));
        Self { shared, size, progress, pulse: pulse.clone() }
    }

    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }

    pub(crate) fn size(&self) -> Option<u64> {
        self.size
    }

    /// The rest of the blob, as the body of one request.
    pub(crate) fn rest(&self) -> Outgoing {
        self.next(self.size.map(|size| size.saturating_sub(self.progress.sent())))
    }

    /// The next `length` bytes of the blob, as the body of one request.
    pub(crate) fn part(&self, length: u64) -> Outgoing {
        self.next(Some(length))
    }

    fn next(&self, left: Option<u64>) -> Outgoing {
        self.progress.turn(State::Moving);
        Outgoing { supply: self.clone(), left }
    }
}

impl Shared {
    /// Hands out at most [`CHUNK`] bytes and at most `limit`, so that progress shows on slow networks.
    fn next_piece(&mut self, limit: u64, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            let skipped = self.skip.min(self.rest.len() as u64);
            self.skip -= skipped;
            drop(self.rest.split_to(skipped as usize));
            if !self.rest.is_empty() {
                let length = (self.rest.len().min(CHUNK) as u64).min(limit);
                return Poll::Ready(Some(Ok(self.rest.split_to(length as usize))));
            }
            match self.body.poll_bytes(context) {
                Poll::Ready(Some(Ok(bytes))) => self.rest = bytes,
                other => return other,
            }
        }
    }
}

/// The body of one request.
pub(crate) struct Outgoing {
    supply: Supply,
    /// Number of bytes that are left for this request; `None` for all that come.
    left: Option<u64>,
}

/// Stands for the error kept in [`Progress`], so that the HTTP client breaks off.
#[derive(Debug, thiserror::Error)]
#[error("the content to upload could not be read")]
pub(crate) struct Broken;

impl Outgoing {
    /// Explains why the blob cannot have its size, if `given` bytes were read and `surplus` more are there.
    fn objection(&self, given: u64, surplus: usize) -> Option<io::Error> {
        let size = self.supply.size?;
        let read = given + surplus as u64;
        (read > size).then(|| io::Error::other(format!("{read} bytes read of a blob of {size}")))
    }

    /// Explains the end of the source after `given` bytes, if more were due.
    fn early_end(&self, given: u64) -> Option<io::Error> {
        let size = self.supply.size?;
        (given < size).then(|| io::Error::other(format!("{given} bytes read of a blob of {size}")))
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let supply = self.supply.clone();
        let progress = &supply.progress;
        progress.asked.fetch_add(1, Ordering::Relaxed);
        let fail = |error| {
            progress.turn(State::Failed(error));
            Poll::Ready(Some(Err(Broken)))
        };
        if self.left == Some(0) {
            progress.turn(State::Ended);
            return Poll::Ready(None);
        }
        let mut shared = supply.shared.lock().unwrap_or_else(PoisonError::into_inner);
        match shared.next_piece(self.left.unwrap_or(u64::MAX), context) {
            Poll::Pending => {
                progress.turn(State::Waiting);
                Poll::Pending
            }
            Poll::Ready(Some(Ok(piece))) => {
                let length = piece.len() as u64;
                let given = progress.sent.fetch_add(length, Ordering::Relaxed) + length;
                supply.pulse.sent(length);
                self.left = self.left.map(|left| left - length);
                let surplus = if supply.size == Some(given) { shared.rest.len() } else { 0 };
                if let Some(error) = self.objection(given, surplus) {
                    return fail(error);
                }
                // the HTTP client does not ask for the end of a body of known size
                progress.turn(if self.left == Some(0) { State::Ended } else { State::Moving });
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Poll::Ready(Some(Err(error))) => fail(error),
            Poll::Ready(None) => match self.early_end(progress.sent()) {
                Some(error) => fail(error),
                None => {
                    progress.turn(State::Ended);
                    Poll::Ready(None)
                }
            },
        }
    }

    /// Sends a known size as `Content-Length`, and a body of unknown size in chunks.
    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }
}
