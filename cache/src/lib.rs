//! rbuild's disk store: blobs, layers, images and references, the build cache's index, locks, temporary space and
//! garbage collection. `docs/cache-format.md` has every format and rule in full.
//!
//! Two laws hold at every instant. *The cache is advice*: what the index says may be lost or wrong without harm, for
//! whoever uses a record checks that its layers are there. *The store is truth*: a thing has its name only when it is
//! whole. All code here is synchronous; what a layer or an image means is left to `rbuild-image` and `rbuild-executor`.

#![forbid(unsafe_code)]

mod blob;
mod context_index;
mod durability;
mod error;
mod file_lock;
mod image_record;
mod index;
mod index_database;
mod key;
mod layer;
mod lease;
mod live;
mod prune;
mod recent;
mod record;
mod recorder;
mod reference_record;
mod step_lock;
mod store;
mod temporary;
mod tree;
mod usage;
mod whole_file;

pub use blob::{BlobReader, BlobWriter};
pub use context_index::{ContextIndex, ContextIndexBuilder, FileStat, Saved};
pub use durability::{BootId, Stamp};
pub use error::{CacheError, Warning};
pub use image_record::{ImageLayer, ImageRecord};
pub use index::{Index, Lookup, Miss};
pub use key::{CacheKey, FactKey, KeyBuilder, SiteHash, StepHash};
pub use layer::{LayerDraft, LayerId, LayerMeta, LayerSource};
pub use lease::{Lease, Missing};
pub use live::ContainerUse;
pub use prune::{ImagePrune, MountPrune, PruneOptions, PruneReport, RecordPrune};
pub use recent::RecentRecords;
pub use record::{CacheRecord, StepInputs};
pub use recorder::Recorder;
pub use reference_record::RefRecord;
pub use step_lock::{MountUse, StepLock};
pub use store::Store;
pub use temporary::ScratchDir;
pub use tree::remove as remove_tree;
pub use usage::{ImageUsage, LayerUsage, RecordUsage, Usage};
