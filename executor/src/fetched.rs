//! Remote sources of an ADD that have been brought here.

use crate::ContextDirectory;
use std::path::PathBuf;

/// A remote source whose files are here.
#[derive(Clone, Debug)]
pub enum FetchedSource {
    /// A file of the web.
    File(FetchedFile),
    /// The files of a repository, all of which are copied as those of a directory.
    Tree(ContextDirectory),
}

/// A file of the web. It belongs to root, and root alone may read it, unless flags say otherwise.
#[derive(Clone, Debug)]
pub struct FetchedFile {
    /// The file that has its bytes, which do not change.
    pub bytes: PathBuf,
    /// Its length in bytes.
    pub size: u64,
    /// Its name in the image.
    pub name: Vec<u8>,
    /// The time of its last change, in seconds since 1970.
    pub modified: i64,
}
