//! Base images: what FROM leads to, where it is looked for, and what a lock file demands.

pub(crate) mod base_images;
pub(crate) mod image_lock;
pub(crate) mod image_source;
pub(crate) mod resolve;
