//! The disk below the store: directories, locks, temporary space, trees and files that are there whole or not at all.
//! Nothing here knows what is stored.

mod boot;
mod directories;
mod fields;
mod file_lock;
mod file_stat;
mod index_writers;
mod machine;
mod private_file;
mod random_id;
mod temporary;
mod tree;
mod usage_count;
pub(crate) mod whole_file;

pub use boot::{BootId, Stamp};
pub use directories::make_dirs_with_mode;
pub(crate) use directories::{DIRECTORY_MODE, list, make_dirs, remove_files};
pub(crate) use fields::{FieldReader, FieldWriter, array, checksum};
pub(crate) use file_lock::{FileLock, LockMode, OnUnlock};
pub use file_stat::FileStat;
pub(crate) use index_writers::IndexWriters;
pub use machine::MachineId;
pub(crate) use private_file::FILE_MODE;
pub use private_file::create_private_file;
pub(crate) use private_file::{create_appended_file, open_private_file};
pub(crate) use random_id::random_id;
pub(crate) use temporary::TemporarySpace;
pub(crate) use tree::remove as remove_tree;
pub(crate) use tree::{content as tree_content, own_size as tree_own_size, size as tree_size};
pub(crate) use usage_count::{Counted, UsageCount};
