//! The records of one build: written soon by a thread of their own, waited for at the end, and kept together for the next
//! build like this one.

use crate::{
    BuildRequest, Causes, ContextSource, DockerfileSource, Error, Warning,
    build::results::{Origin, Results},
    builds::build_record,
    lookup::keys::Keys,
    report::reporter::Reporter,
};
use rbuild_cache::{
    BuildRecord, CacheKey, CacheRecord, Cancel, Index, KeyBuilder, RecentPlace, RecentRecords, Recorder,
    SiteHash, Stamp, Store, StoreError,
};
use rbuild_planner::StepId;
use std::{
    path::Path,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// Writes and keeps the records of a build.
pub(crate) struct Records {
    store: Store,
    /// Stops what takes long.
    cancel: Cancel,
    slot: SiteHash,
    /// Of the time before anything was looked up, or since this build made the others forget.
    place: Mutex<RecentPlace>,
    reporter: Reporter,
    recorder: OnceLock<Recorder>,
    /// Something was recorded since the last write.
    has_new: AtomicBool,
    /// When all that was recorded by then was written.
    written: Mutex<Option<Stamp>>,
    context: ContextSource,
    /// Read when they are first asked for.
    of_earlier_builds: OnceLock<Vec<CacheRecord>>,
    /// The records kept of the last such build are just those that this one uses.
    recent_is_complete: AtomicBool,
}

/// Earlier builds of the same context that a step is compared with.
const EARLIER_BUILDS: usize = 4;

impl Records {
    /// The records of the build of `request`, which `cancel` stops.
    pub(crate) fn new(
        (store, cancel): (&Store, Cancel),
        request: &BuildRequest,
        reporter: &Reporter,
    ) -> Self {
        let slot = slot(request);
        let place = Mutex::new(store.recent_place());
        Self {
            store: store.clone(),
            cancel,
            slot,
            place,
            reporter: reporter.clone(),
            recorder: OnceLock::new(),
            has_new: AtomicBool::new(false),
            written: Mutex::default(),
            context: request.context.clone(),
            of_earlier_builds: OnceLock::new(),
            recent_is_complete: AtomicBool::new(false),
        }
    }

    /// The store they are in.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// What stops the build.
    pub(crate) fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// True if another machine is known to have written `record`.
    pub(crate) fn is_of_other_machine(&self, record: &CacheRecord) -> bool {
        record.machine.is_some() && record.machine != self.store.machine()
    }

    /// The records of the steps of the last few builds of the same context, whatever their Dockerfile and target, evicted ones
    /// included: to explain a step when the last such build left nothing.
    pub(crate) fn of_earlier_builds(&self) -> &[CacheRecord] {
        self.of_earlier_builds.get_or_init(|| {
            // what cannot be read explains nothing
            let builds = self.store.builds().unwrap_or_default();
            let context = build_record::context(&self.context);
            let same = |build: &&BuildRecord| build.subject.context == context && !build.steps().is_empty();
            let builds = builds.iter().filter(same).take(EARLIER_BUILDS);
            let keys: Vec<CacheKey> =
                builds.flat_map(|build| build.steps()).filter_map(|step| step.key).collect();
            let read = |index: &Index<'_>| Ok(keys.iter().filter_map(|key| index.any_record(key)).collect());
            self.store.index(read).unwrap_or_default()
        })
    }

    /// The recording thread, started when the first record is there to be written.
    pub(crate) fn recorder(&self) -> Result<&Recorder, Error> {
        if self.recorder.get().is_none() {
            // two threads may start one each: the second ends at once, having nothing to write
            let _ = self.recorder.set(Recorder::start(&self.store)?);
        }
        self.has_new.store(true, Ordering::Relaxed);
        Ok(self.recorder.get().expect("set just above"))
    }

    /// True if builds of the same context have a place in common, or at least a name; what comes from a pipe may be anybody's.
    pub(crate) fn have_a_place(&self) -> bool {
        match self.context {
            ContextSource::Directory(_) | ContextSource::Remote(_) => true,
            ContextSource::Empty | ContextSource::Archive(_) => false,
        }
    }

    /// Those kept of the last such build.
    pub(crate) fn recent(&self) -> RecentRecords {
        self.store.recent(&self.slot).unwrap_or_else(|error| {
            self.warn_of("recent", &error);
            RecentRecords::default()
        })
    }

    /// The records kept of the last such build are just those that this one needs.
    pub(crate) fn recent_is_complete(&self) {
        self.recent_is_complete.store(true, Ordering::Relaxed);
    }

    /// They lack something that this one has found out.
    pub(crate) fn recent_is_incomplete(&self) {
        self.recent_is_complete.store(false, Ordering::Relaxed);
    }

    /// Removes what all builds have kept, so that they see the results that are made anew.
    pub(crate) fn forget_recent(&self) {
        if let Err(error) = self.store.forget_recent() {
            self.warn_of("recent", &error);
        }
        self.keep_recent_again();
    }

    /// Lets this build keep its records although some of others were evicted while it ran: its own are under its lease.
    pub(crate) fn keep_recent_again(&self) {
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = self.store.recent_place();
    }

    /// Waits until all records are written. They count after a power cut once the store is synced.
    pub(crate) fn write(&self) {
        let Some(recorder) = self.recorder.get() else { return };
        if !self.has_new.swap(false, Ordering::Relaxed) {
            return;
        }
        let flushed = recorder.flush();
        self.tell_mended();
        match flushed {
            Ok(()) => *self.written.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.store.stamp()),
            Err(lost) => self.warn_of("index", &lost),
        }
    }

    /// Waits until all records are written and their layers are on the disk, so that a later build has them. Also called
    /// when a step has failed.
    ///
    /// # Errors
    /// When the layers cannot be made durable; records that cannot be written are only warned of.
    pub(crate) fn flush(&self) -> Result<(), Error> {
        self.write();
        let written = *self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.map_or(Ok(()), |written| Ok(self.store.sync_since(&written)?))
    }

    /// Keeps what this build used and made, so that the next one like it need not open the index.
    pub(crate) fn keep_recent(&self, keys: &Keys, results: &Results) {
        if self.recent_is_complete.load(Ordering::Relaxed) && results.count(Origin::Executed) == 0 {
            self.store.note_recent_use(&self.slot);
            return;
        }
        let used = keys.iter().enumerate().filter_map(|(index, keyed)| {
            let result = results.step(StepId(index))?;
            Some((keyed.key, result.record.clone()))
        });
        let used: Vec<(CacheKey, Arc<CacheRecord>)> = used.collect();
        // the cache is advice: the image is whole and named without it
        let place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(lost) = self.store.keep_recent(&place, &self.slot, &used) {
            self.reporter.warn(Warning::RecentLost(Causes::of(&lost)));
        }
    }

    /// Warns of what the index has lost by damage.
    pub(crate) fn tell_mended(&self) {
        for warning in self.store.take_warnings() {
            self.reporter.warn(Warning::CacheMended(warning.to_string()));
        }
    }

    /// Warns of a cache that failed. It is advice, so the build goes on without it.
    pub(crate) fn warn_of(&self, part: &str, error: &StoreError) {
        let path = self.store.root().join(part);
        self.reporter.warn(Warning::CacheFails { path, causes: Causes::of(error) });
    }
}

/// The name under which a build's records are kept: which Dockerfile of which context, which target.
fn slot(request: &BuildRequest) -> SiteHash {
    // the same words are another place in another working directory
    let path = |path: &Path| {
        let whole = path.canonicalize();
        whole.as_deref().unwrap_or(path).as_os_str().as_encoded_bytes().to_vec()
    };
    let key = KeyBuilder::new("build").optional("context", request.context.directory().map(path));
    let key = match &request.context {
        ContextSource::Remote(remote) => key.field("remote", remote.to_string()),
        ContextSource::Empty | ContextSource::Directory(_) | ContextSource::Archive(_) => key,
    };
    let key = match &request.dockerfile {
        DockerfileSource::InContext => key.field("dockerfile", "in context"),
        DockerfileSource::File(file) => key.field("file", path(file)),
        DockerfileSource::Text(text) => key.field("text", text),
        DockerfileSource::Url(url) => key.field("url", url),
    };
    let key = key.optional("target", request.target.as_deref());
    let further = request.further_targets.iter().map(|further| &further.target);
    if further.len() == 0 { key.finish_site() } else { key.list("further", further).finish_site() }
}
