//! Bodies of uploads: the source of their bytes. [`crate::outgoing`] sends them.
//!
//! The producer runs on a thread of its own, and a short channel makes it wait for the network. A transfer therefore
//! keeps a few chunks in memory, however large the blob is.

use bytes::{Bytes, BytesMut};
use std::{
    io::{self, Read},
    task::{Context, Poll},
};
use tokio::{sync::mpsc, task};

/// The most bytes of one piece of a body.
pub(crate) const CHUNK: usize = 512 << 10;
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

impl BlobBody {
    /// The next bytes, as many as the source has ready; `None` after the last.
    pub(crate) fn poll_bytes(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        match &mut self.0 {
            Source::Memory(bytes) if bytes.is_empty() => Poll::Ready(None),
            Source::Memory(bytes) => Poll::Ready(Some(Ok(std::mem::take(bytes)))),
            Source::Channel(chunks) => chunks.poll_recv(context),
        }
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
