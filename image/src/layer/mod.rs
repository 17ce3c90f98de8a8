//! Layers: unpacked from tars into the store, and made tars again, byte for byte.

mod apply;
mod attributes;
mod beneath;
mod clamp;
mod compress;
mod content;
mod directories;
mod entry_failure;
mod entry_path;
mod examine;
mod links;
mod look_ahead;
mod note;
mod plain_tar;
mod recipe;
mod scout;
mod tar;
mod tar_writer;
mod unpack;
pub(crate) mod whiteout;

pub use apply::{Applied, BlobRetention, PendingLayer, apply_tar, unpack_layer};
pub use clamp::clamped_layer;
pub use compress::{
    Flow, GzipLevel, LayerCompression, Packing, PulledLayers, ZstdLevel, compress_layer, compress_tar,
    recall_compressed, remember_compressed,
};
pub use content::layer_content;
pub use examine::examine_layer;
pub use note::Note;
pub(crate) use plain_tar::plain_tar;
pub(crate) use tar::rehash;
pub use tar::{
    DirectoryTar, LayerTar, directory_tar, known_layer_diff, layer_diff, layer_diff_until, layer_tar,
};
pub use tar_writer::EntryTimes;
