//! What a container does not do that is asked of it as it is.

/// A container that stays as it is. The words are Docker's where it has them.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// It is to be called what it is called.
    #[error("renaming a container with the same name as its current name")]
    NameUnchanged,
    /// Its log is asked for, and it keeps none.
    #[error("configured logging driver does not support reading: container {0} has --log-driver none")]
    LogNotKept(String),
    /// A signal could not be sent to it.
    #[error("container {name} does not take the signal: {reason}")]
    SignalRefused {
        /// The container.
        name: String,
        /// Why.
        reason: String,
    },
    /// The process that stays with it is stopped, and so can be asked nothing.
    #[error("container {name} hangs on process {monitor}, which is stopped")]
    MonitorStopped {
        /// The container.
        name: String,
        /// The process.
        monitor: i32,
    },
}
