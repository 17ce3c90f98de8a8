//! Lists what the store holds, finds what nothing needs any more, and removes it.
//!
//! No tree is walked while a lock is held that builds wait for. The size of a layer is measured before that (for a
//! limit) and kept beside the layer, or measured while the layer is removed (for the report).

mod inventory;
mod layer_facts;
mod policy;
mod price;
mod prune;
mod room;
mod space;
mod usage;

pub(crate) use inventory::Inventory;
pub(crate) use layer_facts::layer_ids;
pub use policy::{Effect, ImagePrune, MountPrune, PruneOptions, RecordPrune};
pub use price::CachePart;
pub use prune::PruneReport;
pub use room::Room;
pub use space::{DiskSpace, Limit};
pub use usage::{ImageUsage, LayerUsage, RecordUsage, Usage};
