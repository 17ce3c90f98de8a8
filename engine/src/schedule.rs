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
    /// The number of inputs that each waiting one still lacks; never 0.
    waiting: HashMap<K, usize>,
    ready: BinaryHeap<Reverse<K>>,
}

impl<K: Copy + Eq + Hash + Ord> Queue<K> {
    /// A queue of `wanted`, each with the number of its inputs that are wanted as well.
    pub(crate) fn new(wanted: impl IntoIterator<Item = (K, usize)>) -> Self {
        let mut queue = Self { waiting: HashMap::new(), ready: BinaryHeap::new() };
        for (id, inputs) in wanted {
            match inputs {
                0 => queue.ready.push(Reverse(id)),
                inputs => drop(queue.waiting.insert(id, inputs)),
            }
        }
        queue
    }

    /// Takes the first one, in the order of ids, that lacks nothing.
    pub(crate) fn pop(&mut self) -> Option<K> {
        self.ready.pop().map(|Reverse(id)| id)
    }

    /// One that was taken is done; `dependents` need it.
    pub(crate) fn finished(&mut self, dependents: impl IntoIterator<Item = K>) {
        for dependent in dependents {
            let Some(lacking) = self.waiting.get_mut(&dependent) else { continue };
            *lacking -= 1;
            if *lacking == 0 {
                self.waiting.remove(&dependent);
                self.ready.push(Reverse(dependent));
            }
        }
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

    /// Waits for what is at work; nothing more is started.
    pub(crate) async fn stop(mut self) {
        while self.running.join_next().await.is_some() {}
    }
}
