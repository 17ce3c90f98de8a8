//! Writing records without delaying steps: a thread takes them from a channel and writes all that have piled up in one
//! transaction. Opening the index costs milliseconds of processor time, so the thread rests in proportion.

use super::{CacheKey, CacheRecord, FactKey};
use crate::{LayerId, StepLock, Store, StoreError};
use std::{
    mem,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// After a transaction the thread rests this many times as long as it took, which bounds its share of the processor.
const REST_FACTOR: u32 = 4;
/// Before the first one it waits as long as this for more records, since most steps are over by then.
const FIRST_REST: Duration = Duration::from_millis(15);
/// And never longer than this, which bounds what a killed process can lose.
const LONGEST_REST: Duration = Duration::from_millis(60);

/// Feeds the recording thread. Dropping it waits until everything is written.
#[derive(Debug)]
pub struct Recorder {
    sender: Option<Sender<Message>>,
    thread: Option<JoinHandle<()>>,
}

enum Message {
    Record(Box<(CacheKey, CacheRecord)>, Vec<StepLock>),
    Fact(FactKey, Vec<u8>),
    LayerFact(FactKey, LayerId),
    Flush(Sender<Result<(), StoreError>>),
}

#[derive(Default)]
struct Pile {
    records: Vec<(CacheKey, CacheRecord)>,
    facts: Vec<(FactKey, Vec<u8>)>,
    layer_facts: Vec<(FactKey, LayerId)>,
    locks: Vec<StepLock>,
    waiting: Vec<Sender<Result<(), StoreError>>>,
}

impl Recorder {
    /// Starts the thread.
    ///
    /// # Errors
    /// An I/O error when the system has no thread left.
    pub fn start(store: &Store) -> Result<Self, StoreError> {
        let (sender, receiver) = channel();
        let store_of_thread = store.clone();
        let thread = thread::Builder::new()
            .name("rbuild-recorder".to_owned())
            .spawn(move || run(&store_of_thread, &receiver))
            .map_err(StoreError::on("start a recording thread for", store.root()))?;
        Ok(Self { sender: Some(sender), thread: Some(thread) })
    }

    /// Writes a record soon.
    pub fn record(&self, key: CacheKey, record: CacheRecord) {
        self.send(Message::Record(Box::new((key, record)), Vec::new()));
    }

    /// Writes a record soon, and holds the step's lock until others can see the record.
    pub fn record_and_unlock(&self, key: CacheKey, record: CacheRecord, lock: StepLock) {
        self.send(Message::Record(Box::new((key, record)), vec![lock]));
    }

    /// Memoises a fact soon.
    pub fn fact(&self, key: FactKey, value: Vec<u8>) {
        self.send(Message::Fact(key, value));
    }

    /// Memoises soon which layer holds something.
    pub fn layer_fact(&self, key: FactKey, layer: LayerId) {
        self.send(Message::LayerFact(key, layer));
    }

    /// Waits until all that was given is written.
    ///
    /// # Errors
    /// The first error since the last flush; the records it struck are lost, which costs time only.
    pub fn flush(&self) -> Result<(), StoreError> {
        let (sender, receiver) = channel();
        self.send(Message::Flush(sender));
        receiver.recv().unwrap_or(Err(StoreError::RecorderStopped))
    }

    fn send(&self, message: Message) {
        if let Some(sender) = &self.sender {
            // a thread that has ended drops the message, and flush reports it
            let _ = sender.send(message);
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        drop(self.sender.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(store: &Store, receiver: &Receiver<Message>) {
    let mut failure = None;
    let mut rest_until = None;
    while let Ok(first) = receiver.recv() {
        let mut pile = Pile::default();
        pile.add(first);
        let rest_until = rest_until.get_or_insert_with(|| Instant::now() + FIRST_REST);
        // a caller that waits for a flush does not wait for the rest to end
        while pile.waiting.is_empty() {
            match receiver.recv_timeout(rest_until.saturating_duration_since(Instant::now())) {
                Ok(message) => pile.add(message),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        receiver.try_iter().for_each(|message| pile.add(message));
        let begun = Instant::now();
        if let Err(e) = pile.write(store) {
            failure.get_or_insert(e);
        }
        *rest_until = Instant::now() + (begun.elapsed() * REST_FACTOR).min(LONGEST_REST);
        pile.locks.clear();
        for waiting in mem::take(&mut pile.waiting) {
            let _ = waiting.send(failure.take().map_or(Ok(()), Err));
        }
    }
}

impl Pile {
    fn add(&mut self, message: Message) {
        match message {
            Message::Record(record, locks) => {
                self.records.push(*record);
                self.locks.extend(locks);
            }
            Message::Fact(key, value) => self.facts.push((key, value)),
            Message::LayerFact(key, layer) => self.layer_facts.push((key, layer)),
            Message::Flush(waiting) => self.waiting.push(waiting),
        }
    }

    fn write(&self, store: &Store) -> Result<(), StoreError> {
        if self.records.is_empty() && self.facts.is_empty() && self.layer_facts.is_empty() {
            return Ok(());
        }
        store.index(|index| {
            index.put_records(&self.records)?;
            self.facts.iter().try_for_each(|(key, value)| index.put_fact(key, value))?;
            self.layer_facts.iter().try_for_each(|(key, layer)| index.put_layer_fact(key, layer))
        })
    }
}
