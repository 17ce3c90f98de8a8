//! What a request asks for, target by target.

use crate::{BuildRequest, Output};
use rbuild_oci::Platform;

impl BuildRequest {
    /// `platform`, if a person has to be shown it because the build is for several.
    pub(crate) fn shown_platform(&self, platform: &Platform) -> Option<Platform> {
        (self.platforms.len() > 1).then(|| platform.clone())
    }

    /// The outputs of each target.
    pub(crate) fn outputs_by_target(&self) -> impl Iterator<Item = &[Output]> {
        let further = self.further_targets.iter().map(|further| further.outputs.as_slice());
        std::iter::once(self.outputs.as_slice()).chain(further)
    }

    /// The outputs of all targets.
    pub(crate) fn all_outputs(&self) -> impl Iterator<Item = &Output> {
        self.outputs_by_target().flatten()
    }

    /// The names of the targets, as far as they have some.
    pub(crate) fn targets(&self) -> impl Iterator<Item = Option<&str>> {
        let further = self.further_targets.iter().map(|further| Some(further.target.as_str()));
        std::iter::once(self.target.as_deref()).chain(further)
    }
}
