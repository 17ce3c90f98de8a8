//! What becomes of a finished target.

mod store;

pub(crate) use store::{Target, to_store};
