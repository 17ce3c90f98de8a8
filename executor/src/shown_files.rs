//! The files that a mount shows of a context, or that a cache mount begins with: a temporary layer with them.

use crate::{ExecutorError, Selection, Snapshots, select::Body};
use rbuild_cache::LayerDraft;
use rbuild_oci::ImagePath;
use rbuild_planner::CopyAction;
use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    time::SystemTime,
};

/// Copies `selection`, which is one file or directory, to the destination of `action` in a temporary layer. Unlike COPY, it
/// copies the directory itself: its mode and its owner are those of the source.
///
/// # Errors
/// Whatever reading and writing brings; the layer is gone then.
pub fn copy_shown(
    snapshots: &Snapshots,
    action: &CopyAction,
    selection: &Selection,
) -> Result<LayerDraft, ExecutorError> {
    let draft = crate::copy(snapshots, action, selection, &[], SystemTime::UNIX_EPOCH)?;
    if let [root] = selection.roots.as_slice()
        && let Body::Tree(tree) = &root.body
    {
        let (path, meta) = (below(&draft, &action.destination), &tree.dirs[0].meta);
        chown(&path, Some(meta.uid), Some(meta.gid)).map_err(failure("chown", &path))?;
        fs::set_permissions(&path, Permissions::from_mode(meta.mode)).map_err(failure("chmod", &path))?;
    }
    Ok(draft)
}

/// Moves what is at `source` in a temporary layer to `path`, on the same file system.
///
/// # Errors
/// [`ExecutorError::System`] when it cannot be moved.
pub fn move_out(draft: &LayerDraft, source: &ImagePath, path: &Path) -> Result<(), ExecutorError> {
    let made = below(draft, source);
    fs::rename(&made, path).map_err(failure("rename", &made))
}

impl Selection {
    /// The mode of the directory that is selected, if it is one.
    #[must_use]
    pub fn directory_mode(&self) -> Option<u32> {
        match self.roots.as_slice() {
            [root] => match &root.body {
                Body::Tree(tree) => Some(tree.dirs[0].meta.mode),
                Body::Single(_) | Body::Inline(_) | Body::Fetched(_) => None,
            },
            _ => None,
        }
    }
}

fn below(draft: &LayerDraft, path: &ImagePath) -> PathBuf {
    draft.fs().join(path.relative())
}

fn failure(call: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> ExecutorError {
    let path = path.as_os_str().as_encoded_bytes().to_vec();
    move |error| ExecutorError::system(call, &path, error)
}
