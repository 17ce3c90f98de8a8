//! The store as its owner sees it: what it takes, what of it goes, what it keeps beside images.

pub(crate) mod builder_names;
pub(crate) mod cache_mounts;
pub(crate) mod machine;
pub(crate) mod remains;
pub(crate) mod space;
pub(crate) mod usage;
pub(crate) mod verify;
