//! The store as a whole: its root, its layout and its version. Opening an existing one reads one small file; nothing is
//! scanned, and a directory that someone has removed is made again when it is needed.

mod blob;
mod container_use;
mod durability;
mod image_record;
mod layer;
mod layer_id;
mod lease;
mod reference_record;
mod scratch;
mod step_lock;

pub use blob::{BlobReader, BlobWriter};
pub use container_use::ContainerUse;
pub(crate) use durability::Durable;
pub use image_record::{ImageLayer, ImageRecord};
pub use layer::{LayerDraft, LayerMeta, LayerSource};
pub use layer_id::LayerId;
pub(crate) use lease::Held;
pub use lease::{Lease, Missing};
pub use reference_record::RefRecord;
pub use scratch::ScratchDir;
pub use step_lock::{MountUse, StepLock};

use crate::{
    BootId, StoreError, Warning,
    disk::{TemporarySpace, make_dirs, whole_file},
    index::IndexWriters,
};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

/// The store format this code writes and the newest it reads.
pub(crate) const FORMAT: u32 = 1;

/// A handle on one store. Cheap to clone; clones share temporary space and warnings.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    empty: PathBuf,
    space: TemporarySpace,
    warnings: Mutex<Vec<Warning>>,
    boot: OnceLock<BootId>,
    index_writers: Mutex<IndexWriters>,
}

impl Store {
    /// Opens the store at `root`, which should be an absolute path, and makes it when it is not there.
    ///
    /// # Errors
    /// [`StoreError::NewerStore`] when a newer rbuild has written it, [`StoreError::NotAStore`] when it is something
    /// else; an I/O error when it cannot be read or made.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let version = root.join("version");
        let bytes = match whole_file::read(&version)? {
            Some(bytes) => Some(bytes),
            None => create(root, &version)?,
        };
        if let Some(bytes) = bytes {
            check_version(root, &bytes)?;
        }
        Ok(Self {
            inner: Arc::new(Inner {
                root: root.to_owned(),
                empty: root.join("empty"),
                space: TemporarySpace::new(root),
                warnings: Mutex::new(Vec::new()),
                boot: OnceLock::new(),
                index_writers: Mutex::default(),
            }),
        })
    }

    /// The store's directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// A directory that is always empty.
    #[must_use]
    pub fn empty_dir(&self) -> &Path {
        &self.inner.empty
    }

    /// The directory of `RUN --mount=type=cache` contents: one subdirectory for each mount id.
    #[must_use]
    pub fn mounts_dir(&self) -> PathBuf {
        self.at("mounts")
    }

    /// The directory in which the executor names the guards of running containers, a file each.
    #[must_use]
    pub fn guards_dir(&self) -> PathBuf {
        self.at("locks/guards")
    }

    /// The directory of containers: one subdirectory for each container id.
    #[must_use]
    pub fn containers_dir(&self) -> PathBuf {
        self.at("containers")
    }

    /// Takes the warnings collected since the last call.
    #[must_use]
    pub fn take_warnings(&self) -> Vec<Warning> {
        std::mem::take(&mut self.inner.warnings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn warn(&self, warning: Warning) {
        let mut warnings = self.inner.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }

    /// What this handle and its clones know of who writes to the index.
    pub(crate) fn index_writers(&self) -> MutexGuard<'_, IndexWriters> {
        self.inner.index_writers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `root/relative`.
    pub(crate) fn at(&self, relative: &str) -> PathBuf {
        self.inner.root.join(relative)
    }

    /// The boot this process lives in, read once.
    pub(crate) fn boot(&self) -> BootId {
        *self.inner.boot.get_or_init(BootId::current)
    }

    /// This process's temporary space.
    pub(crate) fn space(&self) -> &TemporarySpace {
        &self.inner.space
    }
}

/// Makes the layout. The version file comes last: a store that has one has everything else.
fn create(root: &Path, version: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    const DIRECTORIES: [&str; 12] = [
        "blobs/sha256",
        "refs",
        "images",
        "layers",
        "index",
        "contexts",
        "recent",
        "mounts",
        "containers",
        "locks",
        "tmp",
        "empty",
    ];
    make_dirs(root)?;
    // never turn somebody's home directory into a store
    let foreign = fs::read_dir(root).map_err(StoreError::on("read", root))?.flatten().any(|entry| {
        let name = entry.file_name();
        let known = |first: &str| name.to_str() == Some(first);
        !DIRECTORIES.iter().any(|path| known(path.split('/').next().unwrap_or(path)))
            && !known("version")
            && !known("lost+found")
            && !name.to_string_lossy().starts_with(".version.")
    });
    if foreign {
        return Err(StoreError::NotAStore { root: root.to_owned() });
    }
    for directory in DIRECTORIES {
        make_dirs(&root.join(directory))?;
    }
    let unnamed = root.join(format!(".version.{}", std::process::id()));
    fs::write(&unnamed, format!("{FORMAT}\n")).map_err(StoreError::on("write", &unnamed))?;
    // link, not rename: if another process was first its file stays
    let linked = fs::hard_link(&unnamed, version);
    let _ = fs::remove_file(&unnamed);
    match linked {
        Ok(()) => Ok(None),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => whole_file::read(version),
        Err(e) => Err(StoreError::io("create", version, e)),
    }
}

fn check_version(root: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let found: u32 = std::str::from_utf8(bytes)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .ok_or_else(|| StoreError::NotAStore { root: root.to_owned() })?;
    if found > FORMAT {
        return Err(StoreError::NewerStore { root: root.to_owned(), found, known: FORMAT });
    }
    Ok(())
}
