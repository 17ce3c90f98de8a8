//! Files of the web. What a URL led to is recorded beside its bytes, so that the server is asked only whether the file
//! has changed, and for a file whose digest the Dockerfile names nobody is asked.

use super::RemoteError;
use crate::{
    Activity, Error, Outcome,
    context::PinnedFile,
    report::reporter::{Reporter, Running},
    urls,
};
use rbuild_archive::{ArchiveError, BLOCK, EntryKind, TarFile, TarReader, begins_archive};
use rbuild_cache::{BlobWriter, Lease, Store, StoreError, WebSource};
use rbuild_executor::{FetchedFile, MAX_DEFINITION, RemoteIdentity};
use rbuild_oci::{Digest, Timestamp};
use rbuild_registry::{Client, Download, Piece, Revalidated, Validators};
use std::{
    fs::File,
    io::{self, BufRead, Write},
};
use tokio::sync::mpsc;

/// The name that docker gives a file whose URL has none.
const UNNAMED: &[u8] = b"__unnamed__";

/// The most bytes of a file whose length its server does not say.
const LIMIT: u64 = 4 << 30;

/// Pieces of a file that may wait for the disk.
const PIECES_AHEAD: usize = 64;

/// Bytes between two progress events.
const PROGRESS_STEP: u64 = 256 << 10;

/// A file whose bytes are in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WebFile {
    name: Vec<u8>,
    digest: Digest,
    size: u64,
    modified: i64,
    origin: Origin,
}

/// When the bytes were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// By this build.
    Downloaded,
    /// Earlier, so that they may be damaged.
    Kept,
}

/// Finds files of the web for one build.
pub(crate) struct WebFiles<'b> {
    store: &'b Store,
    lease: &'b Lease,
    client: Client,
    reporter: &'b Reporter,
    wanted: WantedAs,
    limit: u64,
}

/// What a file is wanted as, which says how long it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WantedAs {
    /// Whatever it is.
    File,
    /// An archive or a Dockerfile.
    Context,
    /// A Dockerfile.
    Definition,
}

/// The beginning of a file that is wanted as something.
struct Beginning {
    wanted: WantedAs,
    bytes: Vec<u8>,
}

impl Beginning {
    /// Takes note of `piece`, up to which there are `done` bytes.
    ///
    /// # Errors
    /// [`RemoteError::DefinitionTooLong`] when a file that can only be a Dockerfile is too long for one.
    fn take(&mut self, piece: &[u8], done: u64) -> Result<(), RemoteError> {
        let missing = BLOCK.saturating_sub(self.bytes.len()).min(piece.len());
        self.bytes.extend_from_slice(&piece[..missing]);
        let is_definition = match self.wanted {
            WantedAs::File => false,
            WantedAs::Context => !begins_archive(&self.bytes),
            WantedAs::Definition => true,
        };
        if is_definition && done > MAX_DEFINITION { Err(RemoteError::DefinitionTooLong) } else { Ok(()) }
    }
}

impl WebFile {
    /// What is kept of the file at `url`, if it has the digest `checksum`.
    pub(super) fn kept(store: &Store, url: &str, checksum: Option<Digest>) -> Option<Self> {
        let source = store.web_source(url)?;
        let is_wanted = checksum.is_none_or(|wanted| source.digest == wanted);
        is_wanted.then(|| Self::new(url, &source, Origin::Kept))
    }

    fn new(url: &str, source: &WebSource, origin: Origin) -> Self {
        let disposition = || urls::name_of_disposition(source.disposition.as_deref()?);
        let modified = source.last_modified.as_deref().and_then(Timestamp::from_http_date);
        Self {
            name: urls::file_name(url).or_else(disposition).unwrap_or_else(|| UNNAMED.to_vec()),
            digest: source.digest,
            size: source.size,
            modified: modified.map_or(0, |time| time.seconds()),
            origin,
        }
    }

    /// The file that a context was found to be.
    pub(crate) fn pinned(file: &PinnedFile) -> Self {
        let PinnedFile { name, digest, size, modified } = file.clone();
        Self { name, digest, size, modified, origin: Origin::Kept }
    }

    /// What a context that it is has to know.
    pub(crate) fn into_pinned(self) -> PinnedFile {
        let Self { name, digest, size, modified, origin: _ } = self;
        PinnedFile { name, digest, size, modified }
    }

    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }

    /// Its time in seconds since 1970: as its server states it, or of an archive the newest of its files, as in BuildKit. May
    /// block.
    pub(crate) fn time(&self, store: &Store) -> Option<i64> {
        let stated = Some(self.modified).filter(|seconds| *seconds != 0);
        stated.or_else(|| newest_file(File::open(store.blob_path(&self.digest)).ok()?))
    }

    /// What its key is made of.
    pub(crate) fn identity(&self) -> RemoteIdentity {
        RemoteIdentity::File { name: self.name.clone(), digest: self.digest, modified: self.modified }
    }

    /// Its bytes, which are read once if an earlier build wrote them.
    ///
    /// # Errors
    /// [`StoreError::BlobDamaged`] when they are not what they should be; they are gone then, so that the next build fetches
    /// them.
    pub(crate) fn open(&self, store: &Store) -> Result<FetchedFile, Error> {
        let damaged = || StoreError::BlobDamaged { digest: self.digest };
        if self.origin == Origin::Kept {
            let mut bytes = store.open_blob(&self.digest)?.ok_or_else(damaged)?;
            io::copy(&mut bytes, &mut io::sink()).map_err(|_| damaged())?;
        }
        Ok(FetchedFile {
            bytes: store.blob_path(&self.digest),
            size: self.size,
            name: self.name.clone(),
            modified: self.modified,
        })
    }
}

impl<'b> WebFiles<'b> {
    /// For a build whose `lease` holds what is found.
    pub(crate) fn new(
        (store, lease): (&'b Store, &'b Lease),
        client: &Client,
        reporter: &'b Reporter,
    ) -> Self {
        Self {
            store,
            lease,
            client: client.heard_by(reporter.listener()),
            reporter,
            wanted: WantedAs::File,
            limit: LIMIT,
        }
    }

    /// The same, for files that are wanted as this.
    pub(crate) fn wanted_as(self, wanted: WantedAs) -> Self {
        Self { wanted, ..self }
    }

    /// The file at `url`, which must have the digest `checksum`.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub(crate) async fn find(&self, url: &str, checksum: Option<Digest>) -> Result<WebFile, RemoteError> {
        let kept = self.store.web_source(url);
        // it stays, whatever is pruned meanwhile
        let kept = match kept {
            Some(kept) if self.lease.hold(&[], &[kept.digest])?.is_empty() => Some(kept),
            Some(_) | None => None,
        };
        if let Some(kept) = kept.as_ref().filter(|kept| checksum == Some(kept.digest)) {
            return Ok(WebFile::new(url, kept, Origin::Kept));
        }
        let activity = self.reporter.begin(Activity::FetchSource { source: urls::without_login(url) });
        let found = self.ask(url, (kept, checksum), &activity).await;
        match &found {
            Ok(WebFile { origin: Origin::Kept, .. }) => activity.end(Outcome::Cached),
            Ok(_) => activity.end(Outcome::Done),
            Err(_) => return activity.end_with(found),
        }
        found
    }

    /// The file at `url`, which is the one that a lock file has, if it has one.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub(crate) async fn find_locked(
        &self,
        url: &str,
        locked: Option<Digest>,
    ) -> Result<WebFile, RemoteError> {
        self.find(url, locked).await.map_err(|error| match (error, locked) {
            (RemoteError::Mismatch { found, .. }, Some(locked)) => RemoteError::Moved { found, locked },
            (error, _) => error,
        })
    }

    async fn ask(
        &self,
        url: &str,
        (kept, checksum): (Option<WebSource>, Option<Digest>),
        activity: &Running,
    ) -> Result<WebFile, RemoteError> {
        let validators = kept.as_ref().map_or_else(Validators::default, |kept| Validators {
            etag: kept.etag.clone(),
            last_modified: kept.last_modified.clone(),
        });
        match (self.client.fetch_url(url, &validators).await?, kept) {
            (Revalidated::Unchanged, Some(kept)) => {
                check(kept.digest, checksum)?;
                Ok(WebFile::new(url, &kept, Origin::Kept))
            }
            (Revalidated::Unchanged, None) => {
                Err(RemoteError::Worker("a file that is not here counted as unchanged".to_owned()))
            }
            (Revalidated::Changed(mut download), _) => {
                let (digest, size) = self.save(&mut download, checksum, activity).await?;
                let Validators { etag, last_modified } = download.validators().clone();
                let disposition = download.content_disposition().map(str::to_owned);
                let source = WebSource { digest, size, etag, last_modified, disposition };
                self.store.put_web_source(url, &source)?;
                Ok(WebFile::new(url, &source, Origin::Downloaded))
            }
        }
    }

    /// Writes the file to a blob; nothing stays of one that is not wanted.
    async fn save(
        &self,
        download: &mut Download,
        checksum: Option<Digest>,
        activity: &Running,
    ) -> Result<(Digest, u64), RemoteError> {
        let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
        let store = self.store.clone();
        let writing = tokio::task::spawn_blocking(move || write(&store, pieces));
        let (mut done, mut told) = (0, 0);
        let mut beginning = Beginning { wanted: self.wanted, bytes: Vec::new() };
        while let Some(piece) = download.next_piece().await? {
            match &piece {
                Piece::Bytes(bytes) => {
                    done += bytes.len() as u64;
                    beginning.take(bytes, done)?;
                }
                Piece::Restart => {
                    (done, told) = (0, 0);
                    beginning.bytes.clear();
                }
            }
            if download.content_length().is_none() && done > self.limit {
                return Err(RemoteError::Endless { limit: self.limit });
            }
            if done >= told + PROGRESS_STEP {
                told = done;
                activity.transferred(String::new(), done, download.content_length());
            }
            if sender.send(piece).await.is_err() {
                // the writer has failed, and its error comes below
                break;
            }
        }
        drop(sender);
        let written = writing.await.map_err(|panicked| RemoteError::Worker(panicked.to_string()))??;
        let Some(expected) = checksum else { return Ok(written.commit()?) };
        let size = written.size();
        match written.commit_expecting(&expected, size) {
            Ok(()) => Ok((expected, size)),
            Err(StoreError::BlobMismatch { found, .. }) => Err(RemoteError::Mismatch { found, expected }),
            Err(error) => Err(error.into()),
        }
    }
}

/// The time of the newest file of the archive `file`; `None` when it is none, or is damaged.
fn newest_file(file: File) -> Option<i64> {
    let newest = |mut tar: TarReader<&mut dyn BufRead>| {
        let mut newest = None;
        while let Some(entry) = tar.next_entry()? {
            if entry.kind == EntryKind::File {
                newest = newest.max(Some(entry.mtime.seconds));
            }
        }
        Ok::<_, ArchiveError>(newest)
    };
    TarFile::recognise(file).ok()??.read(newest).ok()?.ok()?
}

fn check(found: Digest, checksum: Option<Digest>) -> Result<(), RemoteError> {
    match checksum {
        Some(expected) if found != expected => Err(RemoteError::Mismatch { found, expected }),
        Some(_) | None => Ok(()),
    }
}

fn write(store: &Store, mut pieces: mpsc::Receiver<Piece>) -> Result<BlobWriter, RemoteError> {
    let mut writer = store.blob_writer()?;
    while let Some(piece) = pieces.blocking_recv() {
        match piece {
            Piece::Bytes(bytes) => writer.write_all(&bytes).map_err(RemoteError::Keep)?,
            Piece::Restart => writer = store.blob_writer()?,
        }
    }
    Ok(writer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EventSink;
    use rbuild_cache::Writer;
    use rbuild_oci::Clock;
    use rbuild_registry::ClientOptions;
    use rbuild_testkit::{HttpBody, HttpReply, HttpServer, now};

    #[test]
    fn a_body_without_end_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("s"), &Writer::Root, Clock::new(now)).unwrap();
        let server = HttpServer::start(|_| HttpReply::with_body(HttpBody::Endless));
        let (lease, reporter) = (store.lease().unwrap(), Reporter::new(EventSink::ignore()));
        let client = Client::new(ClientOptions::default());
        let files = WebFiles { limit: 1 << 20, ..WebFiles::new((&store, &lease), &client, &reporter) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let error = runtime.block_on(files.find(&format!("http://{}/", server.host()), None)).unwrap_err();
        assert!(matches!(error, RemoteError::Endless { limit: 1_048_576 }), "{error}");
        drop(runtime);
        let blobs = std::fs::read_dir(store.root().join("blobs/sha256")).unwrap().count();
        assert_eq!((blobs, store.web_source(&format!("http://{}/", server.host()))), (0, None));
    }

    #[test]
    fn what_can_only_be_a_dockerfile_is_not_read_beyond_its_limit() {
        let most = MAX_DEFINITION;
        let take = |wanted, head: &[u8], done| Beginning { wanted, bytes: Vec::new() }.take(head, done);
        assert!(take(WantedAs::Context, b"FROM scratch", most).is_ok());
        assert!(matches!(
            take(WantedAs::Context, b"FROM scratch", most + 1),
            Err(RemoteError::DefinitionTooLong)
        ));
        assert!(take(WantedAs::Context, b"\x1f\x8b\x08 an archive", most + 1).is_ok());
        assert!(take(WantedAs::Definition, b"\x1f\x8b\x08", most + 1).is_err());
        assert!(take(WantedAs::File, b"FROM scratch", most + 1).is_ok());
    }
}
