//! A name that nothing has.

use std::fmt;

/// A name or id that no container, image, network or volume has, and a name that is near it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownName {
    /// What was asked for.
    pub name: String,
    /// What may have been meant.
    pub near: Option<String>,
}

impl UnknownName {
    /// `name`, which is none of `known`.
    pub(crate) fn among(name: &str, known: &[&str]) -> Self {
        Self { name: name.to_owned(), near: rbuild_parser::alike(name, known).map(str::to_owned) }
    }

    /// A name with which nothing is compared.
    pub(crate) fn alone(name: impl Into<String>) -> Self {
        Self { name: name.into(), near: None }
    }
}

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
