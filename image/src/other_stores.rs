//! Images of other stores on this machine: the storage that Podman, Buildah and Skopeo share, read through `podman`, and an
//! OCI layout directory with named images.
//!
//! An image that is found is copied into rbuild's store and named there. What another store says is checked like any
//! archive: the image's id is the digest of its config, and its layers have the digests that the config names.

use crate::{ArchiveSource, ImageError, Layout, archive::load_as, event::OnEvent};
use rbuild_cache::Store;
use rbuild_oci::{ImageId, ImageName, Platform};
use std::{
    io::{self, Read},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

/// Copies the image called `name` of the layout directory `path` into `store`; `None` when no entry has that name in full.
///
/// # Errors
/// As [`crate::load`]; [`ImageError::NoPlatform`].
pub fn bring_from_layout(
    store: &Store,
    path: &Path,
    (name, platform): (&ImageName, &Platform),
    on_event: OnEvent<'_>,
) -> Result<Option<ImageId>, ImageError> {
    let layout = Layout::open(path)?;
    let Some(digest) = layout.find_named(name)? else { return Ok(None) };
    layout.load_as(store, (&digest, platform), name, on_event).map(Some)
}

/// Copies the image called `name` of the containers tools' storage into `store`; `None` when podman knows none.
///
/// # Errors
/// [`ImageError::Podman`] when `podman` cannot be run; as [`crate::load`] for what it writes.
pub fn bring_from_podman(
    store: &Store,
    name: &ImageName,
    on_event: OnEvent<'_>,
) -> Result<Option<ImageId>, ImageError> {
    // podman looks for a short name at `localhost/` first, where its own builds are
    let asked = format!("{}:{}", name.as_reference().familiar_repository(), name.tag());
    let there = podman(["image", "exists", "--", &asked]).status().map_err(ImageError::Podman)?;
    if !there.success() {
        return Ok(None);
    }
    let saved = Saved::start(&asked).map_err(ImageError::Podman)?;
    load_as(store, ArchiveSource::Stream(Box::new(saved)), (name, &Platform::host()), on_event).map(Some)
}

fn podman<const N: usize>(arguments: [&str; N]) -> Command {
    let mut command = Command::new("podman");
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// An archive that `podman save` writes while it is read. It counts as whole only when podman ends well.
struct Saved {
    podman: Child,
    archive: ChildStdout,
}

impl Saved {
    fn start(image: &str) -> io::Result<Self> {
        let mut command = podman(["save", "--quiet", "--format", "docker-archive", "--", image]);
        let mut podman = command.stdout(Stdio::piped()).spawn()?;
        let archive = podman.stdout.take().ok_or_else(|| io::Error::other("podman has no output"))?;
        Ok(Self { podman, archive })
    }
}

impl Read for Saved {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.archive.read(buffer)?;
        if read == 0 && !buffer.is_empty() {
            let status = self.podman.wait()?;
            if !status.success() {
                return Err(io::Error::other(format!("podman save ended with {status}")));
            }
        }
        Ok(read)
    }
}

impl Drop for Saved {
    fn drop(&mut self) {
        // it has ended already unless reading was given up
        let _ = self.podman.kill();
        let _ = self.podman.wait();
    }
}
