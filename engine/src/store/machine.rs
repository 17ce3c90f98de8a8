//! What rbuild finds on this machine.

use crate::Engine;
use rbuild_executor::Machine;

impl Engine {
    /// Looks at this machine, as far as rbuild works with it.
    #[must_use]
    pub fn machine(&self) -> Machine {
        Machine::look(&self.store, &self.isolation)
    }
}
