//! Why a cache mount cannot be exported, imported or removed.

/// A cache mount that nothing can be done with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CacheMountError {
    /// There is none.
    #[error("No such cache mount: {0}")]
    Absent(String),
    /// A step uses it.
    #[error("cache mount {0} is in use: wait for the build that uses it")]
    InUse(String),
    /// It is larger than what may travel with a cache.
    #[error(
        "cache mount {id} has {bytes} bytes, and {limit} may travel: --cache-mount id={id},max-size=SIZE allows more"
    )]
    TooLarge {
        /// The mount.
        id: String,
        /// Its size, or that of its compressed tar.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// A tar that is to become one does not say which.
    #[error("the archive does not say which cache mount it is: give an id")]
    WithoutId,
}
