//! Names of builds.

use crate::disk::random_id;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Hexadecimal digits of a build's id.
const DIGITS: usize = 64;
/// The number of digits that people are shown.
const SHORT: usize = 12;

/// A build's id: 64 random hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct BuildId(String);

impl BuildId {
    /// A new random id, which no other build has.
    pub(crate) fn random() -> Self {
        Self((0..4).map(|_| random_id()).collect())
    }

    /// The id with these digits; `None` unless they are 64 lowercase hexadecimal digits.
    pub(super) fn parse(text: &str) -> Option<Self> {
        (text.len() == DIGITS && is_hexadecimal(text)).then(|| Self(text.to_owned()))
    }

    /// All digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 12 digits, which people are shown.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[..SHORT]
    }
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for BuildId {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("a build's id is 64 hexadecimal digits")
    }
}

pub(super) fn is_hexadecimal(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
