//! Why a container cannot have the network that it asks for.

/// A network that cannot be had. The words are Docker's where it has them.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// It is that of a container that does not run.
    #[error("cannot join network of a non running container: {0}")]
    NotRunning(String),
    /// It is that of a container that is not there any more.
    #[error("joining network namespace of container: No such container: {0}")]
    Removed(String),
}
