//! What the store holds, what of it nothing needs any more, and how it is removed.

mod inventory;
mod prune;
mod usage;

pub use prune::{ImagePrune, MountPrune, PruneOptions, PruneReport, RecordPrune};
pub use usage::{ImageUsage, LayerUsage, RecordUsage, Usage};
