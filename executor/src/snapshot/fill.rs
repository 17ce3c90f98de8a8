//! What a volume begins with: the files that an image has at its place.

use super::{
    RootView,
    clone::{Cloner, Marks, copy_metadata},
    held::Source,
};
use crate::{
    ExecutorError,
    rooted::{self, Last},
};
use rbuild_oci::ImagePath;
use std::path::Path;

/// Makes the empty directory `to` like the directory `path` of an image, with all that is in it; links in `path` are followed
/// inside the image. If the image has nothing there, `to` stays as it is.
///
/// # Errors
/// [`ExecutorError::VolumeOverFile`]; [`ExecutorError::System`] with the path that cannot be read or made.
pub fn fill_volume(view: &RootView, path: &ImagePath, to: &Path) -> Result<(), ExecutorError> {
    let found = rooted::resolve(view.rooted(), path.as_str().as_bytes(), Last::Follow)?;
    let Some(stat) = found.found else { return Ok(()) };
    if !rooted::is_dir(&stat) {
        return Err(ExecutorError::VolumeOverFile { path: path.to_string() });
    }
    let directory = view.rooted().open_dir(&found.path)?;
    let source = Source::opened(directory, path.as_str().into())?;
    Cloner::new(Marks::Dropped).directory(&source, to)?;
    copy_metadata(&source, to, Marks::Dropped)
}
