//! Images: applying layer tars and making them again, archives, assembling, validating, pulling and pushing.
//!
//! Invariants: a layer tar is a pure function of what the store holds, and no tar is ever stored; nothing a tar, an
//! archive or a registry says is believed before its digest is checked; a reference is set once everything it leads to
//! is on the disk. The disk's layout is `rbuild-cache`'s, the registry protocol `rbuild-registry`'s, running steps
//! `rbuild-executor`'s.

#![forbid(unsafe_code)]

mod archive;
mod assemble;
mod copied;
mod distribution;
mod error;
mod event;
mod failure;
mod file_tree;
mod form;
mod import;
mod known_layers;
mod layer;
mod other_stores;
mod platform_choice;
mod root;
mod several_platforms;
mod validate;

pub use archive::{
    ArchiveFormat, ArchiveSource, ExportedImage, Layout, LayoutImage, Loaded, SaveItem, archive_index,
    archive_manifest, export_archive, export_layout, load, load_as, name_known, save, save_partly,
};
pub use assemble::{assemble, unrecorded};
pub use copied::{
    CopiedOwner, CopyDestination, CopyError, CopyPath, CopyRoot, CopySource, CopyTar, LastLink,
    extract_archive, extract_copy,
};
pub use distribution::{Pulled, PushedAs, RemoteImages, known_blob, remember_blob};
pub use error::{EntryProblem, ImageError};
pub use event::{ImageEvent, OnEvent};
pub use file_tree::{Change, Difference, FileChange, FileTree, LayerEffect};
pub use form::{ImageAnnotations, ImageForm, MediaTypes};
pub use import::{Import, import_tar};
pub use known_layers::{fact_of_layer, known_or_elsewhere, make_findable};
pub use layer::{
    Applied, BlobRetention, DirectoryTar, EntryTimes, Flow, GzipLevel, LayerCompression, LayerTar, Note,
    Packing, PendingLayer, PulledLayers, ZstdLevel, apply_tar, clamped_layer, compress_layer, compress_tar,
    directory_tar, examine_layer, known_layer_diff, layer_content, layer_diff, layer_diff_until, layer_tar,
    recall_compressed, remember_compressed, unpack_layer,
};
pub use other_stores::{bring_from_layout, bring_from_podman};
pub use root::{DirectoryOptions, PlatformRoot, StaleFiles, export_root_directory, export_root_tar};
pub use several_platforms::{assemble_index, record_several, store_manifest, unrecorded_index};
pub use validate::{Depth, validate};
