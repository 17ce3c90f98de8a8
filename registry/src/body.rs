//! Bodies of uploads: the source of their bytes, and how many of them were sent.
//!
//! The producer runs on a thread of its own, and a short channel makes it wait for the network. A transfer therefore
//! keeps a few chunks in memory, however large the blob is.

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use std::{
    io::{self, Read},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};
use tokio::{sync::mpsc, task};

const CHUNK: usize = 512 << 10;
const CHUNKS_AHEAD: usize = 2;

/// The bytes of a blob, in order.
pub struct BlobBody(Source);

enum Source {
    /// The whole content; empty after it was handed over.
    Memory(Bytes),
    Channel(mpsc::Receiver<io::Result<Bytes>>),
}

impl BlobBody {
    /// A body of bytes in memory.
    #[must_use]
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        Self(Source::Memory(bytes.into()))
    }

    /// A body of bytes that a thread sends (with `blocking_send`) until it drops its end. An error ends the upload.
    #[must_use]
    pub fn from_channel(chunks: mpsc::Receiver<io::Result<Bytes>>) -> Self {
        Self(Source::Channel(chunks))
    }

    /// A body of bytes that a blocking thread of the running tokio runtime reads from `reader`.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn from_reader(reader: impl Read + Send + 'static) -> Self {
        let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
        task::spawn_blocking(move || pump(reader, &sender));
        Self::from_channel(chunks)
    }
}

/// Sends the content of `reader` until its end, its first error, or until the receiver is gone.
fn pump(mut reader: impl Read, sender: &mpsc::Sender<io::Result<Bytes>>) {
    let mut buffer = BytesMut::new();
    loop {
        // reuses the memory of an earlier chunk that was sent
        buffer.reserve(CHUNK);
        buffer.resize(CHUNK, 0);
        let chunk = match reader.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => Ok(buffer.split_to(length).freeze()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let failed = chunk.is_err();
        if sender.blocking_send(chunk).is_err() || failed {
            return;
        }
        buffer.clear();
    }
}

/// The state of an upload, seen from outside while the HTTP client owns its body.
#[derive(Default)]
pub(crate) struct Progress {
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
    /// Number of bytes given to the HTTP client.
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

/// A [`BlobBody`] while it is sent.
pub(crate) struct Outgoing {
    source: Source,
    /// The rest of a piece that was cut because it is longer than [`CHUNK`].
    rest: Bytes,
    /// The size the blob must have, if that is known.
    size: Option<u64>,
    progress: Arc<Progress>,
}

/// Stands for the error kept in [`Progress`], so that the HTTP client breaks off.
#[derive(Debug, thiserror::Error)]
#[error("the content to upload could not be read")]
pub(crate) struct Broken;

impl Outgoing {
    pub(crate) fn new(body: BlobBody, size: Option<u64>) -> (Self, Arc<Progress>) {
        let progress = Arc::new(Progress::default());
        (Self { source: body.0, rest: Bytes::new(), size, progress: Arc::clone(&progress) }, progress)
    }

    /// Hands out at most [`CHUNK`] bytes, so that progress shows on slow networks.
    fn next_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        while self.rest.is_empty() {
            match &mut self.source {
                Source::Memory(bytes) if bytes.is_empty() => return Poll::Ready(None),
                Source::Memory(bytes) => self.rest = std::mem::take(bytes),
                Source::Channel(chunks) => match chunks.poll_recv(context) {
                    Poll::Ready(Some(Ok(chunk))) => self.rest = chunk,
                    other => return other,
                },
            }
        }
        let piece = self.rest.split_to(self.rest.len().min(CHUNK));
        Poll::Ready(Some(Ok(piece)))
    }

    /// Explains why `sent` bytes, with or without the end after them, do not fit the size.
    fn objection(&self, sent: u64, end: End) -> Option<io::Error> {
        let size = self.size?;
        let wrong = match end {
            End::Reached => sent != size,
            End::Ahead => sent > size,
        };
        wrong.then(|| io::Error::other(format!("{sent} bytes read of a blob of {size}")))
    }
}

#[derive(Clone, Copy)]
enum End {
    Reached,
    Ahead,
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = &mut *self;
        this.progress.asked.fetch_add(1, Ordering::Relaxed);
        let progress = Arc::clone(&this.progress);
        let fail = |error| {
            progress.turn(State::Failed(error));
            Poll::Ready(Some(Err(Broken)))
        };
        let next = this.next_piece(context);
        match next {
            Poll::Pending => {
                this.progress.turn(State::Waiting);
                Poll::Pending
            }
            Poll::Ready(Some(Ok(chunk))) => {
                let sent =
                    this.progress.sent.fetch_add(chunk.len() as u64, Ordering::Relaxed) + chunk.len() as u64;
                if let Some(error) = this.objection(sent, End::Ahead) {
                    return fail(error);
                }
                // the HTTP client does not ask for the end of a body of known size
                this.progress.turn(if this.size == Some(sent) { State::Ended } else { State::Moving });
                Poll::Ready(Some(Ok(Frame::data(chunk))))
            }
            Poll::Ready(Some(Err(error))) => fail(error),
            Poll::Ready(None) => match this.objection(this.progress.sent(), End::Reached) {
                Some(error) => fail(error),
                None => {
                    this.progress.turn(State::Ended);
                    Poll::Ready(None)
                }
            },
        }
    }

    /// Sends a known size as `Content-Length`, and a body of unknown size in chunks.
    fn size_hint(&self) -> SizeHint {
        let left = self.size.map(|size| size.saturating_sub(self.progress.sent()));
        left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }

    fn is_end_stream(&self) -> bool {
        self.size == Some(0)
    }
}
