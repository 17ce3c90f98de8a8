//! Image archives: what `docker save`, `skopeo copy` and rbuild write, and what they load.

mod export;
mod file;
mod layout;
mod load;
mod manifest;
mod save;
mod unpack_layers;

pub use export::{ExportedImage, export_archive, export_layout};
pub use file::ArchiveSource;
pub use layout::{Layout, LayoutImage};
pub use load::{Loaded, load, load_as, name_known};
pub(crate) use save::tar_size;
pub use save::{ArchiveFormat, SaveItem, archive_index, archive_manifest, save, save_partly};
