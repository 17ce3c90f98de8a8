//! Caches that machines share: what a build takes from them and gives them.

pub(crate) mod cache_export;
pub(crate) mod cache_output;
pub(crate) mod imports;
pub(crate) mod inline_cache;
pub(crate) mod shared_mounts;
pub(crate) mod shared_records;
