//! Unpacking the layers of an archive's images on two threads. Jobs are taken in order, lower layers first, and a layer
//! commits when those below it have; so the thread that holds the lowest one never waits.

use super::{
    file::SectionReader,
    manifest::{ArchivedImage, ArchivedLayer},
};
use crate::{
    Applied, BlobRetention, ImageError, ImageEvent, Note, PendingLayer,
    event::OnEvent,
    known_layers::{self, KnownLayer},
    unpack_layer,
};
use rbuild_cache::{LayerId, Lease, Store};
use rbuild_oci::{ChainId, DiffId, Digest};
use std::{
    collections::{HashMap, HashSet},
    io::{self, Read},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

/// Threads that unpack; each has one beside it that reads and hashes.
const THREADS: usize = 2;

/// Bytes between two progress events.
const PROGRESS_STEP: u64 = 4 << 20;

/// One layer on one stack.
struct Job<'a> {
    /// The stack up to and with this layer.
    chains: &'a [ChainId],
    diff_id: DiffId,
    layer: &'a ArchivedLayer,
    /// The layer that this is and whose files are elsewhere.
    known: Option<LayerId>,
}

/// The state that the threads share.
struct Board<'a> {
    store: &'a Store,
    lease: &'a Lease,
    on_event: OnEvent<'a>,
    jobs: Vec<Job<'a>>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    next: usize,
    done: HashMap<ChainId, LayerId>,
    /// Layers that are right on any stack.
    anywhere: HashMap<DiffId, LayerId>,
    fresh: Vec<KnownLayer>,
    failed: Option<ImageError>,
}

/// The layers of each archived image, lowest first, all in the store.
pub(crate) fn unpack_layers(
    store: &Store,
    lease: &Lease,
    images: &[ArchivedImage],
    on_event: OnEvent<'_>,
) -> Result<Vec<Vec<LayerId>>, ImageError> {
    let mut state = State::default();
    let mut jobs = Vec::new();
    let mut planned = HashSet::new();
    let stacks: Vec<Vec<ChainId>> =
        images.iter().map(|image| ChainId::each(&image.parsed.rootfs.diff_ids)).collect();
    for (image, chains) in images.iter().zip(&stacks) {
        let diff_ids = &image.parsed.rootfs.diff_ids;
        let known = known_layers::find(store, lease, diff_ids)?;
        for (at, layer) in image.layers.iter().enumerate() {
            if !planned.insert(chains[at]) {
                continue;
            }
            let elsewhere = match &known[at] {
                Some(known) => store.remote_layer(known)?.is_some(),
                None => false,
            };
            match known[at] {
                Some(known) if !elsewhere => {
                    on_event(ImageEvent::LayerExists { digest: shown(layer, diff_ids[at]) });
                    state.done.insert(chains[at], known);
                }
                known => {
                    let chains = &chains[..=at];
                    jobs.push(Job { chains, diff_id: diff_ids[at], layer, known });
                }
            }
        }
    }
    let board = Board { store, lease, on_event, jobs, state: Mutex::new(state), changed: Condvar::new() };
    std::thread::scope(|scope| {
        for _ in 0..THREADS.min(board.jobs.len()) {
            scope.spawn(|| board.work());
        }
    });
    let state = board.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    known_layers::remember(store, &state.fresh);
    if let Some(error) = state.failed {
        return Err(error);
    }
    let layer = |chain: &ChainId| state.done.get(chain).copied();
    let stack = |chains: &Vec<ChainId>| chains.iter().map(layer).collect::<Option<_>>();
    stacks.iter().map(stack).collect::<Option<_>>().ok_or(ImageError::Worker { task: "loading layers" })
}

/// A layer that has its name.
struct Unpacked {
    layer: LayerId,
    notes: Vec<Note>,
    depends_on_lower: bool,
}

impl Board<'_> {
    fn work(&self) {
        loop {
            let job = {
                let mut state = self.lock();
                let Some(job) = self.jobs.get(state.next) else { return };
                if state.failed.is_some() {
                    return;
                }
                state.next += 1;
                job
            };
            let outcome = self.run(job);
            let mut state = self.lock();
            if let Err(error) = outcome {
                state.failed.get_or_insert(error);
            }
            self.changed.notify_all();
        }
    }

    fn run(&self, job: &Job<'_>) -> Result<(), ImageError> {
        let digest = shown(job.layer, job.diff_id);
        let chain = *job.chains.last().expect("a stack of at least one layer");
        let reuse = self.lock().anywhere.get(&job.diff_id).copied();
        if let Some(layer) = reuse
            && job.known.is_none()
        {
            self.lock().done.insert(chain, layer);
            return Ok(());
        }
        let size = job.layer.section.size;
        (self.on_event)(ImageEvent::LayerStarted { digest, size: Some(size) });
        let reader = ReportingReader {
            inner: job.layer.section.reader(),
            digest,
            bytes: 0,
            reported: 0,
            on_event: self.on_event,
        };
        let keep = job.layer.blob.clone().map_or(BlobRetention::Recipe, BlobRetention::Blob);
        let pending = unpack_layer(self.store, reader, &keep)?;
        if pending.diff_id() != job.diff_id {
            let (name, expected, found) = (job.layer.name.clone(), job.diff_id, pending.diff_id());
            return Err(ImageError::WrongLayer { name, expected, found });
        }
        let Some(lower) = self.wait_for_lower(job) else { return Ok(()) };
        let Unpacked { layer, notes, depends_on_lower } = self.keep(job, pending, &lower)?;
        let mut state = self.lock();
        state.done.insert(chain, layer);
        if depends_on_lower {
            state.fresh.push(KnownLayer::on_its_chain(layer, chain));
        } else {
            state.anywhere.insert(job.diff_id, layer);
            state.fresh.push(KnownLayer::anywhere(layer, job.diff_id));
        }
        drop(state);
        for note in notes {
            (self.on_event)(ImageEvent::LayerNote { digest, note });
        }
        (self.on_event)(ImageEvent::LayerDone { digest });
        Ok(())
    }

    /// Makes it a layer: the known one, if its files are still elsewhere, otherwise a new one. One that is being fetched is
    /// not waited for, because its files are at hand here.
    fn keep(&self, job: &Job<'_>, pending: PendingLayer, lower: &[LayerId]) -> Result<Unpacked, ImageError> {
        if let Some(known) = &job.known
            && let Some(lock) = self.store.try_lock_layer(known)?
            && self.store.remote_layer(known)?.is_some()
        {
            let filled = pending.fill(lock, lower)?;
            self.store.sync()?;
            let (layer, notes) = (filled.layer.finish()?, filled.notes);
            return Ok(Unpacked { layer, notes, depends_on_lower: filled.depends_on_lower });
        }
        let Applied { layer, notes, depends_on_lower, .. } = pending.commit(self.lease, lower)?;
        Ok(Unpacked { layer, notes, depends_on_lower })
    }

    /// The committed layers below, lowest first; `None` when another thread has failed.
    fn wait_for_lower(&self, job: &Job<'_>) -> Option<Vec<LayerId>> {
        let below = &job.chains[..job.chains.len() - 1];
        let mut state = self.lock();
        loop {
            if state.failed.is_some() {
                return None;
            }
            if let Some(lower) = below.iter().map(|chain| state.done.get(chain).copied()).collect() {
                return Some(lower);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shown(layer: &ArchivedLayer, diff_id: DiffId) -> Digest {
    layer.blob.as_ref().map_or(*diff_id.as_digest(), |blob| blob.digest)
}

/// Reports how far reading has got.
struct ReportingReader<'a> {
    inner: SectionReader,
    digest: Digest,
    bytes: u64,
    reported: u64,
    on_event: OnEvent<'a>,
}

impl Read for ReportingReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(into)?;
        self.bytes += count as u64;
        if self.bytes - self.reported >= PROGRESS_STEP {
            self.reported = self.bytes;
            (self.on_event)(ImageEvent::LayerProgress { digest: self.digest, bytes: self.bytes });
        }
        Ok(count)
    }
}
