//! Recorders, which watch a tar while it is read.

/// Receives every byte of a tar, in order, as one of two things. Concatenated they are the tar: a recorder that keeps the
/// literal bytes, and can read the contents again, can make the tar again.
pub trait Recorder {
    /// Receives the bytes that come next: headers, padding, bytes after the last entry, and content that does not become a file.
    fn literal(&mut self, bytes: &[u8]);

    /// Learns that the `size` bytes that come next are the content of the file at `path`.
    fn content(&mut self, path: &[u8], size: u64);
}

/// The recorder that ignores everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unrecorded;

impl Recorder for Unrecorded {
    fn literal(&mut self, _: &[u8]) {}

    fn content(&mut self, _: &[u8], _: u64) {}
}

/// A recorder that may be missing.
impl<T: Recorder> Recorder for Option<T> {
    fn literal(&mut self, bytes: &[u8]) {
        if let Some(recorder) = self {
            recorder.literal(bytes);
        }
    }

    fn content(&mut self, path: &[u8], size: u64) {
        if let Some(recorder) = self {
            recorder.content(path, size);
        }
    }
}
