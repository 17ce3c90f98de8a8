//! Ctrl-C: the first one cancels what goes on, the second ends the program at once.

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
    },
    unistd::pipe,
};
use std::{
    os::fd::{AsFd, OwnedFd},
    thread::{self, JoinHandle},
};
use tokio::sync::oneshot;

/// Tells of the first signal that asks the program to stop. Dropping it gives signals their usual effect back.
pub(crate) struct Interrupt {
    first: oneshot::Receiver<i32>,
    watcher: Option<(OwnedFd, JoinHandle<()>)>,
}

impl Interrupt {
    /// Watches from now on. To be called before any other thread is started, because threads inherit which signals
    /// are blocked. When the kernel does not let us watch, signals keep their usual effect.
    pub(crate) fn watch() -> Self {
        let (sender, first) = oneshot::channel();
        let watcher = pipe().ok().and_then(|(over, dropped)| {
            let signals = stopping();
            signals.thread_block().ok()?;
            let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
            let received = SignalFd::with_flags(&signals, flags).ok()?;
            Some((dropped, thread::spawn(move || wait(&received, &over, sender))))
        });
        Self { first, watcher }
    }

    /// Waits for the signal and gives its number; never ends when there is nothing to wait for.
    pub(crate) async fn received(&mut self) -> i32 {
        match (&mut self.first).await {
            Ok(signal) => signal,
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        if let Some((dropped, watcher)) = self.watcher.take() {
            drop(dropped);
            // it only waits: there is no panic to hear of
            let _ = watcher.join();
            let _ = stopping().thread_unblock();
        }
    }
}

/// Hands on the first signal, ends the program at the second, and returns when `over` hangs up.
fn wait(signals: &SignalFd, over: &OwnedFd, sender: oneshot::Sender<i32>) {
    let mut sender = Some(sender);
    loop {
        let mut watched =
            [PollFd::new(signals.as_fd(), PollFlags::POLLIN), PollFd::new(over.as_fd(), PollFlags::POLLIN)];
        let polled = poll(&mut watched, PollTimeout::NONE);
        let is_over = watched[1].revents().is_some_and(|events| !events.is_empty());
        while let Ok(Some(received)) = signals.read_signal() {
            let signal = received.ssi_signo as i32;
            let delivered = sender.take().is_some_and(|sender| sender.send(signal).is_ok());
            if !delivered {
                std::process::exit(128 + signal);
            }
        }
        if is_over || polled.is_err_and(|error| error != nix::errno::Errno::EINTR) {
            return;
        }
    }
}

/// The signals that ask a program to stop.
fn stopping() -> SigSet {
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect()
}
