//! The ready queue and the schedule, with numbers for steps.

use crate::build::schedule::{Next, Queue, Schedule};
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// By step: what it needs.
type Graph = BTreeMap<usize, BTreeSet<usize>>;

fn queue(graph: &Graph) -> Queue<usize> {
    Queue::new(graph.iter().map(|(step, inputs)| (*step, inputs.len(), 0)))
}

fn dependents(graph: &Graph, step: usize) -> Vec<usize> {
    graph.iter().filter(|(_, inputs)| inputs.contains(&step)).map(|(step, _)| *step).collect()
}

fn graph() -> impl Strategy<Value = Graph> {
    let inputs = |step: usize| proptest::collection::btree_set(0..step.max(1), 0..=step.min(3));
    (1_usize..30).prop_flat_map(move |size| {
        (0..size).map(inputs).collect::<Vec<_>>().prop_map(|inputs| {
            let inputs = inputs.into_iter().enumerate();
            inputs.map(|(step, inputs)| (step, if step == 0 { BTreeSet::new() } else { inputs })).collect()
        })
    })
}

proptest! {
    /// Whatever order things end in, each comes once and after all its inputs.
    #[test]
    fn everything_comes_once_and_after_its_inputs(graph in graph(), picks in any::<Vec<prop::sample::Index>>()) {
        let mut queue = queue(&graph);
        let (mut running, mut done) = (Vec::new(), Vec::new());
        let mut picks = picks.into_iter();
        loop {
            while let Some(step) = queue.pop() {
                prop_assert!(graph[&step].iter().all(|input| done.contains(input)), "{step} is early");
                running.push(step);
            }
            if running.is_empty() {
                break;
            }
            let pick = picks.next().map_or(0, |pick| pick.index(running.len()));
            let step = running.remove(pick);
            done.push(step);
            queue.finished(dependents(&graph, step));
        }
        prop_assert_eq!(done.iter().collect::<BTreeSet<_>>().len(), graph.len());
        prop_assert_eq!(done.len(), graph.len());
    }
}

#[test]
fn the_first_of_the_file_comes_first() {
    let mut queue = Queue::new([(3, 0, 0), (1, 0, 0), (2, 1, 0)]);
    assert_eq!((queue.pop(), queue.pop(), queue.pop()), (Some(1), Some(3), None));
    queue.finished([2]);
    assert_eq!(queue.pop(), Some(2));
}

#[test]
fn the_longest_way_comes_first_also_when_it_becomes_ready_last() {
    let mut queue = Queue::new([(1, 0, 5), (2, 0, 7), (3, 0, 7), (4, 1, 9)]);
    assert_eq!(queue.pop(), Some(2), "of equal ones the first");
    queue.finished([4]);
    assert_eq!((queue.pop(), queue.pop(), queue.pop(), queue.pop()), (Some(4), Some(3), Some(1), None));
    let queue = Queue::new([(1, 1, 0), (2, 0, 0)]);
    assert_eq!(queue.waiting(), 1);
}

/// A chain beside which nine thousand steps wait: a scan of everything that waits after each step would take minutes.
#[test]
fn ten_thousand_steps_cost_nothing_while_they_wait() {
    let size = 10_000;
    let started = Instant::now();
    let mut queue = Queue::new((0..size).map(|step| (step, usize::from(step > 0), 0)));
    for step in 0..size {
        assert_eq!(queue.pop(), Some(step));
        queue.finished((step + 1 < size).then_some(step + 1));
    }
    assert_eq!(queue.pop(), None);
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

#[test]
fn no_more_than_the_jobs_run_at_once() {
    let at_once = Arc::new(AtomicUsize::new(0));
    let (most, ended) = block_on(async {
        let mut schedule = Schedule::new(Queue::new((0..12).map(|step| (step, 0, 0))), 3);
        let (mut most, mut ended) = (0, 0);
        while let Some(next) = schedule.next().await {
            match next {
                Next::Start(step) => {
                    let at_once = at_once.clone();
                    schedule.start(step, move || {
                        let now = at_once.fetch_add(1, Ordering::SeqCst) + 1;
                        std::thread::sleep(Duration::from_millis(2));
                        at_once.fetch_sub(1, Ordering::SeqCst);
                        now
                    });
                }
                Next::Ended(_, now) => {
                    most = most.max(now);
                    ended += 1;
                }
                Next::Panicked(message) => panic!("{message}"),
            }
        }
        (most, ended)
    });
    assert_eq!(ended, 12);
    assert!((2..=3).contains(&most), "{most} at once");
}

#[test]
fn a_panic_is_an_answer_and_a_stop_waits_for_what_runs() {
    let finished = Arc::new(AtomicUsize::new(0));
    block_on(async {
        let mut schedule = Schedule::new(Queue::new([(0, 0, 0), (1, 0, 0), (2, 0, 0)]), 2);
        assert_eq!(schedule.next().await, Some(Next::Start(0)));
        schedule.start(0, || panic!("no"));
        assert_eq!(schedule.next().await, Some(Next::Start(1)));
        let counter = finished.clone();
        let (seen, panic_was_seen) = std::sync::mpsc::channel();
        schedule.start(1, move || {
            panic_was_seen.recv().unwrap();
            std::thread::sleep(Duration::from_millis(20));
            counter.fetch_add(1, Ordering::SeqCst);
        });
        assert!(matches!(schedule.next().await, Some(Next::Panicked(message)) if message.contains("no")));
        seen.send(()).unwrap();
        schedule.stop().await;
    });
    assert_eq!(finished.load(Ordering::SeqCst), 1);
}
