//! A name that no container has.

use std::fmt;

/// A name or id that no container has, and the name of one that is near it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownContainer {
    /// What was asked for.
    pub name: String,
    /// What may have been meant.
    pub near: Option<String>,
}

impl fmt::Display for UnknownContainer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
