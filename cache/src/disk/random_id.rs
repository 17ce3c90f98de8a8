//! Random names, which nothing has yet.

use std::hash::{BuildHasher, Hasher, RandomState};

/// 16 random hexadecimal digits. Short, because overlayfs gets many of them in one string.
pub(crate) fn random_id() -> String {
    format!("{:016x}", RandomState::new().build_hasher().finish())
}
