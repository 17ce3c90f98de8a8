//! The signals that are meant for a container.

use crate::error::CliError;
use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::{SfdFlags, SignalFd},
};

/// Signals that come to this process and go on to a container.
pub(super) struct Signals(SignalFd);

impl Signals {
    /// Takes them from now on. To be called while there is one thread.
    pub(super) fn take() -> Result<Self, CliError> {
        let set: SigSet = [
            Signal::SIGINT,
            Signal::SIGTERM,
            Signal::SIGHUP,
            Signal::SIGQUIT,
            Signal::SIGUSR1,
            Signal::SIGUSR2,
            Signal::SIGWINCH,
        ]
        .into_iter()
        .collect();
        let taken = set
            .thread_block()
            .and_then(|()| SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK));
        taken
            .map(Self)
            .map_err(|error| CliError::Stream { action: "take over signals", source: error.into() })
    }

    /// Where they come from.
    pub(super) fn source(&self) -> &SignalFd {
        &self.0
    }
}
