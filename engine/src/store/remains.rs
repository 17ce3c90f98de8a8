//! What becomes of the files of a step that failed.

/// What a failed step has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remains {
    /// Its files, which [`Engine::look_into`] shows.
    ///
    /// [`Engine::look_into`]: crate::Engine::look_into
    Kept {
        /// The number of the step.
        step: u32,
    },
    /// Files that are not kept, because there are too many of them.
    TooLarge {
        /// Their bytes.
        bytes: u64,
        /// The most that is kept.
        most: u64,
    },
    /// Nothing that could be kept.
    Nothing,
}
