//! Names of the builder, which scripts for docker give it before they build. There is one builder: the program.

use crate::{Engine, Error, random_id::random_id};
use rbuild_cache::BuilderName;

/// Random digits of a name that was made up.
const DIGITS: usize = 12;

impl Engine {
    /// The names that the builder was given, in order.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn builders(&self) -> Result<Vec<BuilderName>, Error> {
        Ok(self.store.builders()?)
    }

    /// A name that the builder does not have.
    ///
    /// # Errors
    /// [`Error::Io`] when the machine gives no random bytes.
    pub fn unused_builder_name(&self) -> Result<BuilderName, Error> {
        let name = format!("builder-{}", &random_id()?[..DIGITS]);
        Ok(name.parse().expect("letters, digits and a dash"))
    }

    /// Gives the builder another name.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn add_builder(&self, name: &BuilderName) -> Result<(), Error> {
        Ok(self.store.add_builder(name)?)
    }

    /// Forgets a name of the builder; returns true if it was there.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn remove_builder(&self, name: &BuilderName) -> Result<bool, Error> {
        Ok(self.store.remove_builder(name)?)
    }

    /// The name that was chosen, if there is one.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn chosen_builder(&self) -> Result<Option<BuilderName>, Error> {
        Ok(self.store.chosen_builder()?)
    }

    /// Chooses a name of the builder, or none.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn choose_builder(&self, name: Option<&BuilderName>) -> Result<(), Error> {
        Ok(self.store.choose_builder(name)?)
    }
}
