//! What the store holds, what of it nothing needs any more, and how it is removed.
//!
//! Nothing walks a tree while a lock is held that builds wait for: how big a layer is, is measured before (for a limit)
//! or while it is removed (for the report), and kept beside the layer.

mod inventory;
mod layer_facts;
mod policy;
mod prune;
mod usage;

pub use policy::{ImagePrune, MountPrune, PruneOptions, RecordPrune};
pub use prune::PruneReport;
pub use usage::{ImageUsage, LayerUsage, RecordUsage, Usage};
