//! Why a container cannot be used as it stands, or stands still.

/// A container is paused or is not, and should not be or should. The words are Docker's.
#[derive(Debug, thiserror::Error)]
pub enum PauseError {
    /// No further program is started in one that is paused.
    #[error("container {0} is paused, unpause the container before exec")]
    Exec(String),
    /// It is to be started.
    #[error("cannot start a paused container, try unpause instead: {0}")]
    Start(String),
    /// Somebody wants to go to it.
    #[error("cannot attach to paused container {0}, unpause it first")]
    Attach(String),
    /// It is to be removed.
    #[error("cannot remove container {0}: container is paused and must be unpaused first")]
    StillThere(String),
    /// It is to be paused.
    #[error("container {0} is already paused")]
    Already(String),
    /// It is to go on.
    #[error("container {0} is not paused")]
    Not(String),
    /// It cannot be paused here.
    #[error(
        "container {0} cannot be paused: it has no control group that can be frozen; on a machine with systemd, one that \
         `systemd-run --user --scope -p Delegate=yes` starts has one"
    )]
    NoGroup(String),
}
