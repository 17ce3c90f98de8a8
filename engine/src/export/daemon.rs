//! The image in a running docker or podman: what it has is asked, and only what it lacks is sent.
//!
//! Docker's own store takes a layer that it has under the same lower layers without looking for it in the archive, docker's
//! containerd store a blob, and podman a layer with the same digest. An unchanged image is named and nothing else.

use super::Delivery;
use crate::{Error, Note, layers::layer_files::LayerFiles, report::reporter::Running};
use bytes::Bytes;
use futures_util::future::try_join_all;
use rbuild_cache::{ImageLayer, ImageRecord, Store};
use rbuild_daemon::{Daemon, DaemonError, DaemonImage, DaemonKind, ListedImage};
use rbuild_image::{ImageError, SaveItem, archive_index, archive_manifest, save_partly};
use rbuild_oci::{DiffId, ImageName};
use std::{
    collections::{BTreeSet, HashSet},
    io::{self, Write},
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::mpsc, task, time};

/// Images of a daemon that are asked for their layers, at most. Those with a name of the image's repository come first.
const ASKED: usize = 64;
/// Questions under way at once.
const AT_ONCE: usize = 8;
/// Bytes of an archive that are sent at once.
const PIECE: usize = 512 << 10;
/// The time between two reports of what was sent.
const REPORT: Duration = Duration::from_millis(100);

/// What a daemon has of an image.
#[derive(Debug, PartialEq, Eq)]
enum Present {
    /// All of it, under this id and these names.
    Image { id: String, names: Vec<String> },
    /// These layers.
    Layers(BTreeSet<DiffId>),
}

/// Gives the image to `daemon` under `names`.
///
/// # Errors
/// [`Error::Daemon`] with the daemon's words; [`Error::Image`] when a layer cannot be read.
pub(super) async fn load(
    delivery: &Delivery<'_>,
    names: &[ImageName],
    daemon: &Daemon,
    activity: &Running,
) -> Result<(), Error> {
    let (store, made) = (delivery.store, delivery.image()?);
    let image = &made.whole;
    let left_out = match present(store, (image, made.platforms()), names, daemon).await? {
        Present::Image { id, names: known } => {
            activity.note(Note::ImageExists);
            let known: HashSet<ImageName> = known.iter().filter_map(|name| name.parse().ok()).collect();
            for name in names.iter().filter(|name| !known.contains(name)) {
                daemon.tag(&id, name).await?;
            }
            return Ok(());
        }
        Present::Layers(layers) => layers,
    };
    let found = image.layers.iter().filter(|layer| left_out.contains(&layer.diff_id)).count();
    if found > 0 {
        activity.note(Note::LayersExist { present: found, all: image.layers.len() });
    }
    let item = SaveItem {
        image: image.clone(),
        platforms: made.platforms().to_vec(),
        names: names.first().cloned().into_iter().collect(),
    };
    match send((store, delivery.files), item.clone(), &left_out, daemon, activity).await {
        // what it had may be gone by now
        Err(Error::Daemon(DaemonError::Load { .. } | DaemonError::Refused { .. }))
            if !left_out.is_empty() =>
        {
            send((store, delivery.files), item, &BTreeSet::new(), daemon, activity).await?;
        }
        sent => sent?,
    }
    // an archive with several names is several images to podman
    if let Some((first, others)) = names.split_first() {
        for name in others {
            daemon.tag(&first.to_string(), name).await?;
        }
    }
    Ok(())
}

/// Asks `daemon` what it has of `image`.
async fn present(
    store: &Store,
    (image, parts): (&ImageRecord, &[ImageRecord]),
    names: &[ImageName],
    daemon: &Daemon,
) -> Result<Present, Error> {
    // an index may be there without all of its images
    if parts.is_empty()
        && let Some(DaemonImage { id, names, .. }) = daemon.image(&image.id.to_string()).await?
    {
        return Ok(Present::Image { id, names });
    }
    let listed = daemon.images().await?;
    if listed.iter().any(|image| image.manifests.is_some()) {
        let (store, image, parts) = (store.clone(), image.clone(), parts.to_vec());
        let asked = task::spawn_blocking(move || of_manifests(&store, (&image, &parts), &listed)).await;
        return asked.map_err(|panicked| Error::Worker(panicked.to_string()))?;
    }
    let mut layers = BTreeSet::new();
    for some in nearest_first(listed, names).chunks(AT_ONCE) {
        let found = try_join_all(some.iter().map(|listed| daemon.image(&listed.id))).await?;
        for other in found.into_iter().flatten() {
            layers.extend(shared(daemon.kind(), image, &other));
        }
        if image.layers.iter().all(|layer| layers.contains(&layer.diff_id)) {
            break;
        }
    }
    Ok(Present::Layers(layers))
}

/// The layers of `image` that a daemon which has `other` has as well.
fn shared(kind: DaemonKind, image: &ImageRecord, other: &DaemonImage) -> Vec<DiffId> {
    let own = image.layers.iter().map(|layer| layer.diff_id);
    match kind {
        // docker keeps a layer by those below it
        DaemonKind::Docker => own
            .zip(&other.layers)
            .take_while(|(own, other)| own.to_string() == **other)
            .map(|(own, _)| own)
            .collect(),
        DaemonKind::Podman => own.filter(|own| other.layers.contains(&own.to_string())).collect(),
    }
}

/// Images that share a repository with `names` first, because they are most likely earlier versions.
fn nearest_first(mut listed: Vec<ListedImage>, names: &[ImageName]) -> Vec<ListedImage> {
    let near =
        |listed: &ListedImage| {
            listed.names.iter().filter_map(|name| name.parse::<ImageName>().ok()).any(|known| {
                names.iter().any(|name| name.as_reference().has_repository_of(known.as_reference()))
            })
        };
    listed.sort_by_key(|listed| !near(listed));
    listed.truncate(ASKED);
    listed
}

/// What docker's containerd store has: it keeps blobs and does not list them, but an image of this store under the same
/// manifest has the same blobs.
fn of_manifests(
    store: &Store,
    (image, parts): (&ImageRecord, &[ImageRecord]),
    listed: &[ListedImage],
) -> Result<Present, Error> {
    let whole: HashSet<&str> =
        listed.iter().filter_map(|image| image.manifests.as_ref()).flatten().map(String::as_str).collect();
    // of an image whose layers are elsewhere the manifest may not be known, and then it was never sent
    let sent = |image: &ImageRecord| archive_manifest(store, image).ok().map(|manifest| manifest.to_string());
    let (id, has_all) = match parts {
        [] => (sent(image), true),
        parts => (
            archive_index(store, parts).ok().map(|index| index.to_string()),
            parts.iter().all(|part| sent(part).is_some_and(|manifest| whole.contains(manifest.as_str()))),
        ),
    };
    if has_all
        && let Some(id) = id
        && let Some(known) = listed.iter().find(|listed| listed.id == id)
        && (!parts.is_empty() || whole.contains(id.as_str()))
    {
        return Ok(Present::Image { id, names: known.names.clone() });
    }
    let of_store = store.images()?;
    let shared =
        of_store.iter().filter(|other| sent(other).is_some_and(|manifest| whole.contains(manifest.as_str())));
    Ok(Present::Layers(shared.flat_map(|other| &other.layers).map(|layer| layer.diff_id).collect()))
}

/// Sends the archive of `item` without the layers in `left_out`.
async fn send(
    (store, files): (&Store, &LayerFiles),
    item: SaveItem,
    left_out: &BTreeSet<DiffId>,
    daemon: &Daemon,
    activity: &Running,
) -> Result<(), Error> {
    let sent = Arc::new(AtomicU64::new(0));
    let (sender, pieces) = mpsc::channel(2);
    let mut archive = Pieces { sender, piece: Vec::with_capacity(PIECE), sent: sent.clone() };
    let writing = {
        let (store, files, left_out) = (store.clone(), files.clone(), left_out.clone());
        task::spawn_blocking(move || -> Result<(), Error> {
            let touched = |layer: &ImageLayer| layer.tar_size.is_none() || !left_out.contains(&layer.diff_id);
            let only = std::slice::from_ref(&item.image);
            let images = if item.platforms.is_empty() { only } else { &item.platforms };
            let written = images.iter().try_for_each(|image| {
                let needed = image.layers.iter().rposition(touched).map_or(0, |top| top + 1);
                files.need(&image.stack()[..needed])
            });
            let written = written.and_then(|()| Ok(save_partly(&store, item, &left_out, &mut archive)?));
            if written.is_err() {
                archive.give_up();
            }
            written
        })
    };
    let loading = daemon.load(pieces);
    tokio::pin!(loading);
    let mut clock = time::interval(REPORT);
    let subject = || "archive".to_owned();
    let loaded = loop {
        tokio::select! {
            loaded = &mut loading => break loaded,
            _ = clock.tick() => activity.transferred(subject(), sent.load(Ordering::Relaxed), None),
        }
    };
    let written = writing.await.map_err(|panicked| Error::Worker(panicked.to_string()))?;
    match written {
        // the daemon says why it stopped reading
        Err(Error::Image(ImageError::ArchiveWrite(_))) | Ok(()) => {}
        Err(error) => return Err(error),
    }
    loaded?;
    activity.transferred(subject(), sent.load(Ordering::Relaxed), None);
    Ok(())
}

/// The pieces of an archive that is being written.
struct Pieces {
    sender: mpsc::Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
    sent: Arc<AtomicU64>,
}

impl Pieces {
    /// Ends the request as a failure, because the daemon would take what it has for the whole.
    fn give_up(&self) {
        // the daemon may have hung up before
        let _ = self.sender.blocking_send(Err(io::Error::other("the archive could not be made")));
    }

    fn hand_over(&mut self) -> io::Result<()> {
        let piece = mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        let length = piece.len() as u64;
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.sender.blocking_send(Ok(Bytes::from(piece))).map_err(gone)?;
        self.sent.fetch_add(length, Ordering::Relaxed);
        Ok(())
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() == PIECE {
            self.hand_over()?;
        }
        Ok(taken)
    }

    /// The end of the archive.
    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() { Ok(()) } else { self.hand_over() }
    }
}
