//! Ctrl-C: the first one cancels what goes on, the second ends the program at once, whatever it does at that moment. There is
//! no thread that waits for signals, because most commands are over before a thread would have started.

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag,
};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};
use tokio::signal::unix::{SignalKind, signal};

/// Tells of the first signal that asks the program to stop. Dropping it gives signals their usual effect back.
pub(crate) struct Interrupt {
    /// The number of the last signal, 0 for none.
    last: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
}

impl Interrupt {
    /// Watches from now on. When the kernel does not let us watch, signals keep their usual effect.
    pub(crate) fn watch() -> Self {
        let interrupt = Self { last: Arc::default(), over: Arc::default() };
        // a signal that cannot be watched ends the program
        let _ = interrupt.take_over();
        interrupt
    }

    /// What a signal does, in this order: its usual effect when the watch is over, and the end of the program when it is the
    /// second one.
    fn take_over(&self) -> io::Result<()> {
        let asked: Arc<AtomicBool> = Arc::default();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            flag::register_conditional_default(signal, self.over.clone())?;
            flag::register_conditional_shutdown(signal, 128 + signal, asked.clone())?;
            flag::register(signal, asked.clone())?;
            flag::register_usize(signal, self.last.clone(), signal as usize)?;
        }
        Ok(())
    }

    /// Waits for the signal and gives its number; never ends when there is nothing to wait for.
    pub(crate) async fn received(&self) -> i32 {
        let watched =
            (signal(SignalKind::interrupt()), signal(SignalKind::terminate()), signal(SignalKind::hangup()));
        let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) = watched else {
            return std::future::pending().await;
        };
        // one that came before there was a runtime is not heard of again
        if self.last.load(Ordering::SeqCst) == 0 {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
        }
        self.last.load(Ordering::SeqCst) as i32
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
    }
}
