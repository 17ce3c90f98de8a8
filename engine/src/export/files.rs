//! The files of the target's root filesystem, in a directory or a tar.

use super::Delivery;
use crate::{Activity, Error, FilesDestination, PlatformSplit};
use rbuild_image::{DirectoryOptions, EntryTimes, PlatformRoot, export_root_directory, export_root_tar};
use rbuild_oci::Platform;
use std::os::fd::AsFd;

/// Writes the files. With SOURCE_DATE_EPOCH it is the time of all of them, as in docker.
///
/// # Errors
/// [`Error::Image`] when they cannot be written.
pub(super) async fn write(delivery: &Delivery<'_>, destination: &FilesDestination) -> Result<(), Error> {
    let activity = delivery.reporter.begin(match destination {
        FilesDestination::Tar(_) => Activity::ExportTar,
        FilesDestination::Directory { .. } => Activity::ExportDirectory,
    });
    let (snapshots, cancel) = (delivery.snapshots.clone(), delivery.cancel.clone());
    let (roots, destination) = (delivery.roots.clone(), destination.clone());
    let times = delivery.epoch.map_or(EntryTimes::AsTheyAre, EntryTimes::All);
    let written = delivery.with_files(move || {
        let views = roots.iter().map(|(platform, stack)| {
            let view = snapshots.view(stack)?;
            Ok((directory_of(platform), view))
        });
        let views = views.collect::<Result<Vec<_>, Error>>()?;
        let is_split = views.len() > 1;
        match &destination {
            FilesDestination::Tar(file) => {
                let roots: Vec<_> = views
                    .iter()
                    .map(|(name, view)| PlatformRoot {
                        root: view.as_fd(),
                        directory: is_split.then_some(name.as_str()),
                    })
                    .collect();
                export_root_tar(&roots, times, &mut file.as_file(), &cancel)?;
            }
            FilesDestination::Directory { path, split, stale } => {
                let options = DirectoryOptions { stale: *stale, times };
                for (name, view) in &views {
                    let is_split = is_split || *split == PlatformSplit::Always;
                    let path = if is_split { path.join(name) } else { path.clone() };
                    export_root_directory(view.as_fd(), &path, &options, &cancel)?;
                }
            }
        }
        Ok(())
    });
    Delivery::ended(activity, written.await)
}

/// The directory of a platform's files: `linux_arm_v7`.
fn directory_of(platform: &Platform) -> String {
    platform.to_string().replace('/', "_")
}
