//! A queue of work that grows while it is worked on, and the threads that empty it. Small jobs never start a thread.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Short items that cost less than a thread.
const ALONE: usize = 12;
/// More threads than this only wait for each other in the kernel.
const MOST: usize = 8;

/// Work to do. A worker may push further items.
pub(crate) struct Queue<T, E> {
    state: Mutex<State<T, E>>,
    changed: Condvar,
    /// Items done by the caller alone before threads are started for the rest.
    alone: usize,
}

struct State<T, E> {
    items: Vec<T>,
    running: usize,
    /// Threads that wait for an item.
    waiting: usize,
    failure: Option<E>,
}

impl<T: Send, E: Send> Queue<T, E> {
    /// A queue that starts with `items`; the last is worked on first.
    pub(crate) fn new(items: Vec<T>) -> Self {
        Self {
            state: Mutex::new(State { items, running: 0, waiting: 0, failure: None }),
            changed: Condvar::new(),
            alone: ALONE,
        }
    }

    /// The same for items of which each takes long.
    pub(crate) fn of_long(items: Vec<T>) -> Self {
        // one needs no other thread
        let alone = usize::from(items.len() < 2);
        Self { alone, ..Self::new(items) }
    }

    /// Adds work.
    pub(crate) fn push(&self, items: impl IntoIterator<Item = T>) {
        let mut state = self.lock();
        state.items.extend(items);
        let awaited = state.waiting > 0;
        drop(state);
        // waking is a system call, also when all are busy
        if awaited {
            self.changed.notify_all();
        }
    }

    /// Works until nothing is left, on all processors when there is much to do. Each thread gets its own `scratch`.
    pub(crate) fn drain<S>(
        self,
        scratch: impl Fn() -> S + Sync,
        work: impl Fn(T, &mut S, &Self) -> Result<(), E> + Sync,
    ) -> Result<(), E> {
        let mut own = scratch();
        for _ in 0..self.alone {
            let Some(item) = self.lock().items.pop() else { return Ok(()) };
            work(item, &mut own, &self)?;
        }
        let waiting = self.lock().items.len();
        if waiting > 0 {
            std::thread::scope(|scope| {
                for _ in 1..threads() {
                    scope.spawn(|| self.help(&mut scratch(), &work));
                }
                self.help(&mut own, &work);
            });
        }
        match self.state.into_inner().unwrap_or_else(PoisonError::into_inner).failure {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    fn help<S>(&self, scratch: &mut S, work: &(impl Fn(T, &mut S, &Self) -> Result<(), E> + Sync)) {
        while let Some(item) = self.take() {
            let done = work(item, scratch, self);
            let mut state = self.lock();
            state.running -= 1;
            if let Err(failure) = done {
                state.failure.get_or_insert(failure);
                state.items.clear();
            }
            if state.running == 0 && state.items.is_empty() {
                drop(state);
                self.changed.notify_all();
            }
        }
    }

    /// The next item; waits while there is none but a running one may add some.
    fn take(&self) -> Option<T> {
        let mut state = self.lock();
        loop {
            if state.failure.is_some() {
                return None;
            }
            if let Some(item) = state.items.pop() {
                state.running += 1;
                return Some(item);
            }
            if state.running == 0 {
                return None;
            }
            state.waiting += 1;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T, E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many threads work at once.
pub(crate) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(MOST)
}
