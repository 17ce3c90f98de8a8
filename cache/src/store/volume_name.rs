//! The name of a volume.

use crate::StoreError;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The most characters of a name: those of a file's.
const LONGEST: usize = 255;

/// The name of a volume, which is a safe file name: letters, digits, `_`, `.` and `-`, the first of them a letter or a digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VolumeName(String);

impl VolumeName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for VolumeName {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        text.to_owned().try_into()
    }
}

impl TryFrom<String> for VolumeName {
    type Error = StoreError;

    fn try_from(text: String) -> Result<Self, StoreError> {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        match text.len() {
            1 => Err(StoreError::VolumeNameTooShort),
            2..=LONGEST
                if text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(good) =>
            {
                Ok(Self(text))
            }
            _ => Err(StoreError::VolumeName(text)),
        }
    }
}

impl From<VolumeName> for String {
    fn from(name: VolumeName) -> Self {
        name.0
    }
}

impl fmt::Display for VolumeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_safe_file_name() {
        for text in ["data", "0.a_b-c", "a.", &"x".repeat(255)] {
            assert_eq!(text.parse::<VolumeName>().unwrap().as_str(), text);
        }
        for text in ["", "a", ".", "..", "../x", "a/b", "-a", ".hidden", "a b", "ä1", "a\0", &"x".repeat(256)]
        {
            assert!(text.parse::<VolumeName>().is_err(), "{text:?}");
            assert!(serde_json::from_value::<VolumeName>(text.into()).is_err(), "{text:?}");
        }
    }
}
