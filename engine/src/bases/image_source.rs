//! Other stores on this machine that base images are looked for in.

use crate::{DaemonAddress, Error, ImageSource, images::transfer::Progress, report::reporter::Running};
use bytes::Bytes;
use rbuild_cache::Store;
use rbuild_daemon::{Daemon, SavedImage};
use rbuild_image::{ArchiveSource, ImageError, OnEvent};
use rbuild_oci::{Digest, ImageId, ImageName, Platform};
use std::{
    fmt,
    io::{self, Read},
    sync::Arc,
};
use tokio::{sync::mpsc, task};

/// Pieces of an archive that wait to be written.
const WAITING: usize = 4;

impl ImageSource {
    /// Sees that a layout is there and can be read, whether or not an image of it will be needed. Of daemons nothing is asked.
    ///
    /// # Errors
    /// [`Error::Image`].
    pub(crate) fn check(&self) -> Result<(), Error> {
        match self {
            Self::Layout(path) => Ok(rbuild_image::Layout::open(path)?.check()?),
            Self::Docker(_) | Self::Podman(_) | Self::ContainersStorage => Ok(()),
        }
    }

    /// Copies the image called `name` into `store` and names it there; `None` when there is no such image. One that `store`
    /// has already is only named. The layers are reported as transfers of `activity`.
    ///
    /// # Errors
    /// [`Error::Daemon`], [`Error::Image`].
    pub(crate) async fn bring(
        &self,
        store: &Store,
        (name, platform): (&ImageName, &Platform),
        activity: &Arc<Running>,
    ) -> Result<Option<ImageId>, Error> {
        let (store, name, platform) = (store.clone(), name.clone(), platform.clone());
        match self {
            Self::Docker(address) => {
                let asked = name.as_reference().to_string();
                from_daemon((address, &asked), store, (name, platform), activity).await
            }
            // podman looks for a short name at `localhost/` first, where its own builds are
            Self::Podman(address) => {
                let asked = format!("{}:{}", name.as_reference().familiar_repository(), name.tag());
                from_daemon((address, &asked), store, (name, platform), activity).await
            }
            Self::ContainersStorage => {
                blocking(move |on_event| rbuild_image::bring_from_podman(&store, &name, on_event), activity)
                    .await
            }
            Self::Layout(path) => {
                let path = path.clone();
                let bring = move |on_event: OnEvent<'_>| {
                    rbuild_image::bring_from_layout(&store, &path, (&name, &platform), on_event)
                };
                blocking(bring, activity).await
            }
        }
    }
}

impl fmt::Display for ImageSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Docker(address) => write!(f, "docker at {address}"),
            Self::Podman(address) => write!(f, "podman at {address}"),
            Self::ContainersStorage => f.write_str("containers-storage"),
            Self::Layout(path) => write!(f, "oci:{}", path.display()),
        }
    }
}

/// Work of a thread that may block.
async fn blocking(
    work: impl FnOnce(OnEvent<'_>) -> Result<Option<ImageId>, ImageError> + Send + 'static,
    activity: &Arc<Running>,
) -> Result<Option<ImageId>, Error> {
    let activity = activity.clone();
    let working = task::spawn_blocking(move || {
        let progress = Progress::new(&activity);
        work(&|event| progress.tell(&event))
    });
    let brought = working.await;
    Ok(brought.map_err(|panicked| Error::Worker(panicked.to_string()))??)
}

async fn from_daemon(
    (address, asked): (&DaemonAddress, &str),
    store: Store,
    (name, platform): (ImageName, Platform),
    activity: &Arc<Running>,
) -> Result<Option<ImageId>, Error> {
    let daemon = Daemon::connect(address).await?;
    let Some(image) = daemon.image(asked).await? else { return Ok(None) };
    // docker's containerd store calls an image by its manifest, which is no id here; podman leaves the algorithm out
    let hex = image.id.strip_prefix("sha256:").unwrap_or(&image.id);
    if let Ok(id) = Digest::from_hex(hex).map(ImageId::from_digest)
        && rbuild_image::name_known(&store, &id, &name)?
    {
        return Ok(Some(id));
    }
    let saved = daemon.save(asked).await?;
    let (sender, pieces) = mpsc::channel(WAITING);
    let archive = ArchiveSource::Stream(Box::new(Pieces { pieces, piece: Bytes::new() }));
    let load =
        move |on_event: OnEvent<'_>| rbuild_image::load_as(&store, archive, (&name, &platform), on_event);
    let loading = blocking(move |on_event| load(on_event).map(Some), activity);
    let (received, loaded) = tokio::join!(receive(saved, sender), loading);
    // why the archive ended says more than that it did
    received?;
    loaded
}

/// Hands the pieces on until the last one, or until nobody takes them.
async fn receive(mut saved: SavedImage, sender: mpsc::Sender<Result<Bytes, io::Error>>) -> Result<(), Error> {
    loop {
        match saved.next().await {
            Ok(Some(piece)) => {
                if sender.send(Ok(piece)).await.is_err() {
                    return Ok(());
                }
            }
            Ok(None) => return Ok(()),
            Err(error) => {
                // the reader must not take the end of the channel for that of the archive
                let _ = sender.send(Err(io::Error::other("the daemon broke off"))).await;
                return Err(error.into());
            }
        }
    }
}

/// An archive that comes in pieces.
struct Pieces {
    pieces: mpsc::Receiver<Result<Bytes, io::Error>>,
    piece: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.piece.len());
        buffer[..length].copy_from_slice(&self.piece.split_to(length));
        Ok(length)
    }
}
