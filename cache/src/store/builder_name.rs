//! Names that `buildx create` has given to the one builder, which is the program: `builders/<name>`, an empty file for each, and
//! `builders/.chosen`, which holds the one that `buildx use` has chosen.

use crate::{
    Store, StoreError,
    disk::{
        list,
        whole_file::{self, Durability},
    },
};
use std::{fmt, path::PathBuf, str::FromStr};

/// The most characters of a name: those of a file's.
const LONGEST: usize = 255;
/// The file that holds the chosen name. No name begins with a dot.
const CHOSEN: &str = ".chosen";

/// A name of the builder, which is a safe file name: letters, digits, `_`, `.` and `-`, the first of them a letter. As with docker,
/// large letters mean small ones.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BuilderName(String);

/// What is no name of a builder.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBuilderName {
    /// It has other characters. The words are Docker's.
    #[error("invalid name {0}, name needs to start with a letter and may not contain symbols, except ._-")]
    Symbols(String),
    /// No file could have that name.
    #[error("invalid name of {0} bytes, a name has at most {LONGEST}")]
    Long(usize),
}

impl FromStr for BuilderName {
    type Err = InvalidBuilderName;

    fn from_str(text: &str) -> Result<Self, InvalidBuilderName> {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        if text.len() > LONGEST {
            return Err(InvalidBuilderName::Long(text.len()));
        }
        let is_name = text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(good);
        if is_name {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(InvalidBuilderName::Symbols(text.to_owned()))
        }
    }
}

impl fmt::Display for BuilderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Store {
    /// The names of the builder, in order.
    ///
    /// # Errors
    /// An I/O error when they cannot be listed.
    pub fn builders(&self) -> Result<Vec<BuilderName>, StoreError> {
        let listed = list(&self.at("builders"))?;
        let mut names: Vec<BuilderName> = listed.iter().filter_map(|name| name.parse().ok()).collect();
        names.sort();
        Ok(names)
    }

    /// Gives the builder the name `name`.
    ///
    /// # Errors
    /// An I/O error when that cannot be written down.
    pub fn add_builder(&self, name: &BuilderName) -> Result<(), StoreError> {
        whole_file::write(self.space(), &self.builder_path(&name.0), b"", Durability::DiskFirst)
    }

    /// Forgets a name of the builder; returns true if it was there.
    ///
    /// # Errors
    /// An I/O error when it cannot be removed.
    pub fn remove_builder(&self, name: &BuilderName) -> Result<bool, StoreError> {
        whole_file::remove(&self.builder_path(&name.0))
    }

    /// The name that was chosen last, if it is still there.
    ///
    /// # Errors
    /// An I/O error when it cannot be read.
    pub fn chosen_builder(&self) -> Result<Option<BuilderName>, StoreError> {
        let bytes = whole_file::read_short(&self.builder_path(CHOSEN), LONGEST)?.unwrap_or_default();
        let chosen = std::str::from_utf8(&bytes).ok().and_then(|text| text.parse().ok());
        Ok(chosen.filter(|name: &BuilderName| self.builder_path(&name.0).exists()))
    }

    /// Chooses a name of the builder, or none of those that were given to it.
    ///
    /// # Errors
    /// An I/O error when that cannot be written down.
    pub fn choose_builder(&self, name: Option<&BuilderName>) -> Result<(), StoreError> {
        let path = self.builder_path(CHOSEN);
        match name {
            Some(name) => whole_file::write(self.space(), &path, name.0.as_bytes(), Durability::DiskFirst),
            None => whole_file::remove(&path).map(drop),
        }
    }

    fn builder_path(&self, file: &str) -> PathBuf {
        self.at("builders").join(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Writer;
    use rbuild_oci::Clock;
    use rbuild_testkit::now;
    use std::fs::File;

    #[test]
    fn what_is_damaged_is_no_choice() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("s"), &Writer::Root, Clock::new(now)).unwrap();
        let name: BuilderName = "a".parse().unwrap();
        store.add_builder(&name).unwrap();
        store.choose_builder(Some(&name)).unwrap();
        assert_eq!(store.chosen_builder().unwrap(), Some(name));
        // far more than is ever read
        File::options().write(true).open(store.builder_path(CHOSEN)).unwrap().set_len(5 << 30).unwrap();
        assert_eq!(store.chosen_builder().unwrap(), None);
    }

    #[test]
    fn a_name_is_a_safe_file_name() {
        for (text, name) in [("a", "a"), ("Builder-1.x_y", "builder-1.x_y")] {
            assert_eq!(text.parse::<BuilderName>().unwrap().to_string(), name);
        }
        for text in ["", ".chosen", "..", "a/b", "1a", "-a", "a b", "ä", &"x".repeat(256)] {
            assert!(text.parse::<BuilderName>().is_err(), "{text}");
        }
    }
}
