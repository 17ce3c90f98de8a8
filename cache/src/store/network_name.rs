//! The name of a network, and other names that containers have in it.

use crate::StoreError;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The most characters of a name.
const LONGEST: usize = 255;

/// What `--network` means by itself, which no network can be called.
const WORDS: [&str; 5] = ["bridge", "default", "host", "none", "private"];

/// The name of a network: letters, digits, `_`, `.` and `-`, the first of them a letter or a digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NetworkName(String);

impl NetworkName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True for a word that `--network` has a meaning for.
    #[must_use]
    pub fn is_predefined(text: &str) -> bool {
        WORDS.contains(&text)
    }
}

/// True if a container can be found by `text` in a network: it goes into lists of names with blanks and commas between, and into
/// questions to name servers (RFC 1035 section 2.3.4).
#[must_use]
pub fn is_alias(text: &str) -> bool {
    is_plain(text) && text.len() <= 253 && text.split('.').all(|label| (1..=63).contains(&label.len()))
}

fn is_plain(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

impl FromStr for NetworkName {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        text.to_owned().try_into()
    }
}

impl TryFrom<String> for NetworkName {
    type Error = StoreError;

    fn try_from(text: String) -> Result<Self, StoreError> {
        if text.is_empty() {
            return Err(StoreError::NetworkNameEmpty);
        }
        if Self::is_predefined(&text) {
            return Err(StoreError::NetworkNamePredefined(text));
        }
        if text.len() > LONGEST || !is_plain(&text) {
            return Err(StoreError::NetworkName(text));
        }
        Ok(Self(text))
    }
}

impl From<NetworkName> for String {
    fn from(name: NetworkName) -> Self {
        name.0
    }
}

impl fmt::Display for NetworkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_plain_and_means_nothing_else() {
        for text in ["a", "my_net.1-x", &"x".repeat(255)] {
            assert_eq!(text.parse::<NetworkName>().unwrap().as_str(), text);
        }
        for text in [
            "",
            "host",
            "none",
            "bridge",
            "default",
            "private",
            "container:x",
            "a b",
            "a,b",
            "a/b",
            "..",
            "-a",
            "ä",
        ] {
            assert!(text.parse::<NetworkName>().is_err(), "{text:?}");
            assert!(serde_json::from_value::<NetworkName>(text.into()).is_err(), "{text:?}");
        }
        assert!(is_alias("db.shop") && is_alias("c_1"));
        for text in ["", "a..b", "a b", "a,b", "a\nb", ".a", &"x".repeat(64)] {
            assert!(!is_alias(text), "{text:?}");
        }
    }
}
