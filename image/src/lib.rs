//! What an image is: layer tars applied and made again, archives, assembling, validating, pulling and pushing.
//!
//! Invariants: a layer tar is a pure function of what the store holds, and no tar is ever stored; nothing a tar, an
//! archive or a registry says is believed before its digest was checked; a reference is set when everything it leads to
//! is on the disk. The disk's layout is `rbuild-cache`'s, the registry protocol `rbuild-registry`'s, running steps
//! `rbuild-executor`'s.

#![forbid(unsafe_code)]

mod apply;
mod archive;
mod assemble;
mod attributes;
mod beneath;
mod compress;
mod directories;
mod entry_path;
mod error;
mod event;
mod failure;
mod import;
mod known_layers;
mod layer_content;
mod layer_tar;
mod note;
mod overlay;
mod platform_choice;
mod pull;
mod push;
mod recipe;
mod tar_writer;
mod together;
mod unpack;
mod validate;

pub use apply::{Applied, Keep, PendingLayer, apply_tar, unpack_layer};
pub use archive::{ArchiveFormat, ArchiveSource, Layout, LayoutImage, Loaded, SaveItem, load, save};
pub use assemble::assemble;
pub use error::{EntryProblem, ImageError};
pub use event::{ImageEvent, OnEvent};
pub use import::{Import, import_tar};
pub use layer_content::layer_content;
pub use layer_tar::{LayerDiff, LayerTar, known_layer_diff, layer_diff, layer_diff_while, layer_tar};
pub use note::Note;
pub use pull::{Pulled, pull};
pub use push::push;
pub use validate::{Depth, validate};
