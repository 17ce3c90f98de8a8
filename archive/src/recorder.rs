//! Watching a tar while it is read.

/// Sees every byte of a tar, in order, as one of two things. Concatenated they are the tar: whoever keeps the literal
/// bytes and can get the contents again, can make the tar again.
pub trait Recorder {
    /// These bytes stand next: headers, padding, what follows the last entry, and content that becomes no file.
    fn literal(&mut self, bytes: &[u8]);

    /// The content of the file that is made at `path` stands next, `size` bytes of it.
    fn content(&mut self, path: &[u8], size: u64);
}

/// Records nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unrecorded;

impl Recorder for Unrecorded {
    fn literal(&mut self, _: &[u8]) {}

    fn content(&mut self, _: &[u8], _: u64) {}
}

/// Records when there is a recorder.
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
