//! The caches for other machines that a build is asked for.

use rbuild_remote_cache::{CacheDestination, CacheSource};

/// A cache of other machines that a build reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheInput {
    /// Its place.
    pub source: CacheSource,
    /// The cache mounts that are filled from it when the store has nothing in them and a step uses them.
    pub mounts: Vec<String>,
}

/// A cache for other machines that a build writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheOutput {
    /// Its place and its form.
    pub destination: CacheDestination,
    /// The steps whose results it gets.
    pub mode: CacheMode,
    /// The cache mounts whose files it gets.
    pub mounts: Vec<String>,
    /// What a failure to write it does to the build.
    pub failure: CacheFailure,
}

/// The steps whose results a cache gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheMode {
    /// Those whose layers are in the targets' images.
    #[default]
    Min,
    /// All of them.
    Max,
}

/// What a failure to write a cache does to a build.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheFailure {
    /// The build fails, after its outputs.
    #[default]
    Fatal,
    /// There is a warning (`ignore-error=true`).
    Ignored,
}

/// The choice to write the cache of an image into its config.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InlineCache {
    /// The config has none.
    #[default]
    Absent,
    /// It has the steps of the image, where a target becomes one that is not squashed.
    Written,
}
