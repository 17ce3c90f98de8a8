//! Image archives: what `docker save`, `skopeo copy` and rbuild write, and what they load.

mod file;
mod load;
mod manifest;
mod save;
mod unpack_layers;

pub use file::ArchiveSource;
pub use load::{Loaded, load};
pub use save::{ArchiveFormat, SaveItem, save};
