//! Images of registries: pulled and pushed.

mod pull;
mod push;

pub use pull::{Pulled, pull};
pub use push::push;
