//! Which steps may run, and running them: a ready queue and the tasks at work. It knows nothing of stores, caches or what
//! a step is. A waiting step costs nothing until the last of its inputs is done.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    hash::Hash,
};
use tokio::task::JoinSet;

/// Things that wait for each other, by their ids.
#[derive(Debug)]
pub(crate) struct Queue<K> {
    /// Each lacks an input.
    waiting: HashMap<K, Waiting>,
    ready: BinaryHeap<(u64, Reverse<K>)>,
}

/// One that waits.
#[derive(Debug)]
struct Waiting {
    lacking: usize,
    priority: u64,
}

impl<K: Copy + Eq + Hash + Ord> Queue<K> {
    /// A queue of `wanted`, each with the number of its inputs that are wanted as well, and with its priority.
    pub(crate) fn new(wanted: impl IntoIterator<Item = (K, usize, u64)>) -> Self {
        let mut queue = Self { waiting: HashMap::new(), ready: BinaryHeap::new() };
        for (id, lacking, priority) in wanted {
            match lacking {
                0 => queue.ready.push((priority, Reverse(id))),
                lacking => drop(queue.waiting.insert(id, Waiting { lacking, priority })),
            }
        }
        queue
    }

    /// Takes one that lacks nothing: that of the highest priority, and of equal ones the first in the order of ids.
    pub(crate) fn pop(&mut self) -> Option<K> {
        self.ready.pop().map(|(_, Reverse(id))| id)
    }

    /// One that was taken is done; `dependents` need it.
    pub(crate) fn finished(&mut self, dependents: impl IntoIterator<Item = K>) {
        for dependent in dependents {
            let Some(waiting) = self.waiting.get_mut(&dependent) else { continue };
            waiting.lacking -= 1;
            if waiting.lacking == 0 {
                self.ready.push((waiting.priority, Reverse(dependent)));
                self.waiting.remove(&dependent);
            }
        }
    }

    /// The number of those that lack an input.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

/// The next event of a schedule: a task to start, or one that ended or panicked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next<K, T> {
    /// [`Schedule::start`] this one, or declare it done.
    Start(K),
    /// This one has ended.
    Ended(K, T),
    /// A task panicked, with this message.
    Panicked(String),
}

/// A queue being worked off, several at once.
pub(crate) struct Schedule<K, T> {
    queue: Queue<K>,
    running: JoinSet<(K, T)>,
    jobs: usize,
}

impl<K: Copy + Eq + Hash + Ord + Send + 'static, T: Send + 'static> Schedule<K, T> {
    /// Works `queue` off with at most `jobs` at once.
    pub(crate) fn new(queue: Queue<K>, jobs: usize) -> Self {
        Self { queue, running: JoinSet::new(), jobs: jobs.max(1) }
    }

    /// The next event: a task to start, or one that ended or panicked; `None` when all is done.
    pub(crate) async fn next(&mut self) -> Option<Next<K, T>> {
        if self.running.len() < self.jobs
            && let Some(id) = self.queue.pop()
        {
            return Some(Next::Start(id));
        }
        match self.running.join_next().await? {
            Ok((id, result)) => Some(Next::Ended(id, result)),
            Err(panicked) => Some(Next::Panicked(panicked.to_string())),
        }
    }

    /// Carries `work` out for `id` on a worker thread.
    pub(crate) fn start(&mut self, id: K, work: impl FnOnce() -> T + Send + 'static) {
        self.running.spawn_blocking(move || (id, work()));
    }

    /// One that has ended was successful; `dependents` need it.
    pub(crate) fn finished(&mut self, dependents: impl IntoIterator<Item = K>) {
        self.queue.finished(dependents);
    }

    /// The number of those that lack an input: when [`Schedule::next`] has ended, those that will never have it.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.waiting()
    }

    /// Waits for what is at work; nothing more is started.
    pub(crate) async fn stop(mut self) {
        while self.running.join_next().await.is_some() {}
    }
}
