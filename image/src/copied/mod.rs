//! Copying files between containers and the host, or a tar: Docker's `cp`.
//!
//! Both ends are paths below a directory descriptor, the root of a container or of the host. Every path is looked up beneath it, with
//! links followed inside, and what was looked at is what is opened. Files travel as a tar, whose names the destination decides; it is
//! extracted beneath the descriptor of one directory, and nothing of a container's that changes meanwhile leads out of that.

mod error;
mod path;
mod place;
mod placing;
mod source;

pub use error::CopyError;
pub use path::CopyPath;
pub use place::{CopyDestination, CopyRoot, LastLink};
pub use placing::{CopiedOwner, extract_archive, extract_copy};
pub use source::{CopySource, CopyTar};
