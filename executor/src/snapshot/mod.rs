//! Roots made of layers: read-only views, and roots whose changes become a layer.
//!
//! Layers are directories that overlayfs can stack, and where it can, it does: a root costs one mount, and its changes
//! are a layer without being looked for. Some kernels and file systems refuse it: overlayfs takes no changes in a
//! directory that is on overlayfs itself, as all of a container is, nor on NFS; kernels before 6.8 lack the option that
//! stacks layers one by one; policies keep users from mounting it. There a root is a copy of its layers, and its changes
//! are found by comparing (`changes`). Both ways give the same layer, and one suite of tests runs over both.
//!
//! The way is not configured and not recorded: what a store holds is the same for all. It is found out when overlayfs
//! refuses the first mount, so that a build pays nothing for the question where overlayfs works.

mod before;
mod changes;
mod clone;
mod copied_root;
mod copies;
mod fill;
mod held;
mod leaving;
mod merge;
mod overlay;
mod root_mount;
mod rooted_tree;
mod tree;
mod view;

pub use clone::clone_layer;
pub use copied_root::collect_running;
pub use fill::fill_volume;
pub use merge::{Merge, merge_layers};
pub(crate) use root_mount::RootMount;
pub use view::RootView;

use crate::{ExecutorError, rooted::Rooted};
use copies::Copies;
use leaving::Leaving;
use overlay::marks;
use rbuild_cache::{LayerId, Store};
use rbuild_sys::{
    SysError,
    mount::{MountAttributes, Submounts, clone_tree, set_mount_attributes},
    overlay::{MAX_LOWERS, Upper},
};
use std::{
    os::fd::{AsFd, OwnedFd},
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

/// Makes roots of the layers of one store. Cheap to clone; clones share what was found out and copied.
#[derive(Clone, Debug)]
pub struct Snapshots(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    overlays: OnceLock<Overlays>,
    copies: Copies,
    leaving: Leaving,
    reported: AtomicBool,
}

/// The use that overlayfs makes of a store's directories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlays {
    /// It stacks them, and takes changes.
    Writable,
    /// It stacks them, but takes no changes: a root that is written to is a copy.
    ReadOnly,
    /// It is refused: all roots are copies.
    Refused,
}

impl Snapshots {
    /// Roots of the layers of `store`, made in the best way that works there.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self(Arc::new(Inner {
            store: store.clone(),
            overlays: OnceLock::new(),
            copies: Copies::default(),
            leaving: Leaving::default(),
            reported: AtomicBool::new(false),
        }))
    }

    /// The same, without asking what works.
    #[must_use]
    pub fn with(store: &Store, overlays: Overlays) -> Self {
        let snapshots = Self::new(store);
        let known = snapshots.0.overlays.set(overlays);
        debug_assert!(known.is_ok(), "nothing was found out yet");
        snapshots
    }

    /// The store of the layers.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// True if a person should hear now that roots are copies: once, when overlayfs was refused.
    #[must_use]
    pub fn report_copies(&self) -> bool {
        let copied = self.0.overlays.get().is_some_and(|overlays| *overlays != Overlays::Writable);
        copied && !self.0.reported.swap(true, Ordering::Relaxed)
    }

    /// The files of `layers`, lowest first; no layers are an empty directory.
    ///
    /// # Errors
    /// [`ExecutorError::View`] when the kernel refuses the mount.
    pub fn view(&self, layers: &[LayerId]) -> Result<RootView, ExecutorError> {
        let (store, count) = (self.store(), layers.len());
        if layers.is_empty() {
            return Ok(RootView::of_mount(store, Rooted::new(overlay::open_empty(store)?), 0));
        }
        if self.0.overlays.get() != Some(&Overlays::Refused) {
            match self.mount(layers, None, None) {
                Ok(mount) => return Ok(RootView::of_mount(store, Rooted::new(mount), count)),
                Err(error) if self.overlays() != Overlays::Refused => return Err(error),
                Err(_) => {}
            }
        }
        let tree = self.0.copies.share(store, layers)?;
        let attributes = MountAttributes::NO_DEV.and(MountAttributes::READ_ONLY);
        let mount = bind(&tree.root(), attributes, count)?;
        Ok(RootView::of_tree(store, Rooted::new(mount), count, tree))
    }

    /// The files of `layers`, lowest first, with those of the upper directory `top` over them, which nothing changes meanwhile.
    ///
    /// # Errors
    /// [`ExecutorError::View`] when the kernel refuses the mount.
    pub fn view_under(&self, layers: &[LayerId], top: &Path) -> Result<RootView, ExecutorError> {
        let (store, count) = (self.store(), layers.len() + 1);
        if self.0.overlays.get() != Some(&Overlays::Refused) {
            match self.mount(layers, Some(top), None) {
                Ok(mount) => return Ok(RootView::of_mount(store, Rooted::new(mount), count)),
                Err(error) if self.overlays() != Overlays::Refused => return Err(error),
                Err(_) => {}
            }
        }
        let tree = Arc::new(self.0.copies.take(store, layers, Some(top))?);
        let attributes = MountAttributes::NO_DEV.and(MountAttributes::READ_ONLY);
        let mount = bind(&tree.root(), attributes, count)?;
        Ok(RootView::of_tree(store, Rooted::new(mount), count, tree))
    }

    /// Sees that so many layers can become a root that is written to.
    ///
    /// # Errors
    /// [`ExecutorError::View`] when they are more than overlayfs stacks; a copy has no such limit.
    pub fn check_depth(&self, layers: usize) -> Result<(), ExecutorError> {
        if layers <= MAX_LOWERS || self.overlays() != Overlays::Writable {
            return Ok(());
        }
        let source = SysError::TooManyLayers { found: layers, limit: MAX_LOWERS };
        Err(ExecutorError::View { layers, source })
    }

    /// A root of `layers`, lowest first, with the files in `top` over them. Changes are in the upper directory, in overlay
    /// form, at the latest when [`RootMount::collect`] was called. Nothing is synced when it is unmounted: the engine
    /// syncs what it commits.
    pub(crate) fn writable(
        &self,
        layers: &[LayerId],
        top: Option<&Path>,
        upper: Upper<'_>,
    ) -> Result<RootMount, ExecutorError> {
        let (store, count) = (self.store(), layers.len());
        if matches!(self.0.overlays.get(), None | Some(Overlays::Writable)) {
            match self.mount(layers, top, Some(upper)) {
                Ok(mount) => return RootMount::of_overlay(store, mount, count),
                Err(error) if self.overlays() == Overlays::Writable => return Err(error),
                Err(_) => {}
            }
        }
        let tree = self.0.copies.take(store, layers, top)?;
        let mount = bind(&tree.root(), MountAttributes::NO_DEV, count)?;
        RootMount::of_tree(self, mount, tree, upper.directory)
    }

    fn mount(
        &self,
        layers: &[LayerId],
        top: Option<&Path>,
        upper: Option<Upper<'_>>,
    ) -> Result<OwnedFd, ExecutorError> {
        self.0.leaving.wait();
        overlay::mount(self.store(), layers, top, upper)
    }

    /// To be called when the change in `upper` was committed as `layer`: the copy that it was found in then serves for
    /// roots of that layer.
    pub fn committed(&self, upper: &Path, layer: LayerId) {
        self.0.copies.committed(upper, layer);
    }

    /// The use that overlayfs makes of this store. Asked for when a mount was refused, which may have another reason.
    pub(crate) fn overlays(&self) -> Overlays {
        *self.0.overlays.get_or_init(|| overlay::probe(self.store()))
    }
}

/// `directory` as a mount of its own, attached nowhere.
fn bind(directory: &Path, attributes: MountAttributes, layers: usize) -> Result<OwnedFd, ExecutorError> {
    let fail = |source| ExecutorError::View { layers, source };
    let mount = clone_tree(nix::fcntl::AT_FDCWD, directory, Submounts::Leave).map_err(fail)?;
    set_mount_attributes(mount.as_fd(), attributes, Submounts::Leave).map_err(fail)?;
    Ok(mount)
}
