//! The image in an archive or a layout directory.

use super::Delivery;
use crate::{Activity, ArchiveDestination, ArchiveFormat, Error};
use rbuild_image::{ExportedImage, ImageForm, export_archive, export_layout};
use rbuild_oci::{Descriptor, ImageName, Timestamp};
use std::io::BufWriter;

/// Bytes gathered for one write.
const BUFFER: usize = 256 * 1024;

/// Where an image is written, and how.
#[derive(Clone)]
pub(crate) struct Archive {
    pub(crate) destination: ArchiveDestination,
    pub(crate) format: ArchiveFormat,
    pub(crate) names: Vec<ImageName>,
    pub(crate) form: ImageForm,
}

/// Writes the image. Returns the descriptor of its manifest.
///
/// # Errors
/// [`Error::Image`] when it cannot be written.
pub(super) async fn write(delivery: &Delivery<'_>, archive: &Archive) -> Result<Descriptor, Error> {
    let activity = delivery.reporter.begin(Activity::ExportImage { format: archive.format });
    let (store, images, cancel) =
        (delivery.store.clone(), delivery.image()?.parts.clone(), delivery.cancel.clone());
    let archive = archive.clone();
    let epoch = delivery.epoch.and_then(Timestamp::from_seconds);
    let written = delivery.with_files(move || {
        let exported = ExportedImage {
            images: &images,
            names: &archive.names,
            form: &archive.form,
            format: archive.format.into(),
            created: epoch.unwrap_or_else(|| Timestamp::from(store.now())),
        };
        Ok(match &archive.destination {
            ArchiveDestination::Tar(file) => {
                let mut out = BufWriter::with_capacity(BUFFER, file.as_file());
                export_archive(&store, &exported, &mut out, &cancel)?
            }
            ArchiveDestination::Directory(path) => export_layout(&store, &exported, path, &cancel)?,
        })
    });
    Delivery::ended(activity, written.await)
}
