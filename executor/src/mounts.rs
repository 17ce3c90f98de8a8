//! What a sandbox mounts beside its fixed mounts: `RUN --mount`, here-document scripts.

use crate::{
    ExecutorError, HostFiles, RootView, Snapshots,
    agent_socket::{self, AgentSocket},
    rooted::{self, Last},
    snapshot::RootMount,
};
use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, OFlag},
    sys::stat::{Mode, mkdirat},
};
use rbuild_cache::{
    CacheMount, CacheMountSpec, Cancel, LayerDraft, LayerId, MountSharing, StepHash, Store, StoreError,
};
use rbuild_oci::ImagePath;
use rbuild_planner::{Access, Sharing};
use rbuild_sys::{
    fs::{Resolve, open_below, open_in_root, set_mode},
    mount::{MountAttributes, Submounts, clone_tree, detached_tmpfs, make_private},
    overlay::{Syncing, Upper},
    sandbox::{Mount, MountSource, PartKind},
};
use std::{
    ffi::{CString, OsStr},
    fs::{File, Permissions},
    io::Write,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{
            ffi::OsStrExt,
            fs::{PermissionsExt, fchown},
        },
    },
    path::{Path, PathBuf},
    sync::Arc,
};

/// A mount ready for one sandbox. What it needs lives as long as the value.
pub struct PreparedMount {
    target: ImagePath,
    source: PreparedSource,
    /// Temporary layers and locks that must outlive the sandbox.
    held: Vec<Held>,
}

enum PreparedSource {
    Tmpfs(Option<u64>),
    Mount(MountSource),
}

#[expect(dead_code, reason = "held, never read: dropping it is its purpose")]
enum Held {
    Draft(LayerDraft),
    /// With files of a context.
    Context(LayerDraft),
    Cache(CacheMount),
    Agent(AgentSocket),
    View(RootView),
    Root(RootMount),
}

/// A directory that outlives builds (`--mount=type=cache`).
#[derive(Clone, Copy)]
pub struct CacheDirectory<'a> {
    /// Its identity, with the namespace.
    pub id: &'a str,
    /// Mode of the generated directory.
    pub mode: Option<u32>,
    /// Owner of the generated directory.
    pub uid: Option<u32>,
    /// Group of the generated directory.
    pub gid: Option<u32>,
    /// Which part of it is mounted.
    pub subpath: &'a ImagePath,
    /// Among concurrent steps.
    pub sharing: Sharing,
    /// Stands for the files that it begins with; `None` means that it begins empty.
    pub seed: Option<StepHash>,
}

impl CacheDirectory<'_> {
    /// Takes it, and waits for it when it is locked. `begin` makes what it begins with at the path that it is given, and is
    /// called only if that is anything, and at the first use.
    fn take<E: From<ExecutorError> + From<StoreError>>(
        &self,
        store: &Store,
        cancel: &Cancel,
        begin: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<CacheMount, E> {
        let sharing = match self.sharing {
            Sharing::Shared => MountSharing::Shared,
            Sharing::Private => MountSharing::Private,
            Sharing::Locked => MountSharing::Locked,
        };
        let Self { id, mode, uid, gid, seed, .. } = *self;
        let spec = CacheMountSpec { id, mode, uid, gid, seed };
        // with a mode or an owner the directory is a new one, as with Docker, and its seed only tells it from others
        let is_new = mode.is_some() || uid.is_some() || gid.is_some();
        let taken = if seed.is_none() || is_new {
            store.cache_mount(&spec, sharing, cancel)?
        } else {
            store.seeded_cache_mount(&spec, sharing, cancel, begin)?
        };
        taken.ok_or_else(|| ExecutorError::Canceled.into())
    }
}

impl PreparedMount {
    /// Memory, of at most `size` bytes.
    #[must_use]
    pub fn tmpfs(target: &ImagePath, size: Option<u64>) -> Self {
        Self { target: target.clone(), source: PreparedSource::Tmpfs(size), held: Vec::new() }
    }

    /// A file in memory that holds `secret`.
    ///
    /// # Errors
    /// [`ExecutorError::System`] when it cannot be made: an owner that this user has no id for.
    pub fn secret(
        secret: &[u8],
        target: &ImagePath,
        mode: u32,
        (uid, gid): (u32, u32),
    ) -> Result<Self, ExecutorError> {
        const NAME: &str = "secret";
        let fail = |call| move |error| ExecutorError::system(call, target.as_str().as_bytes(), error);
        let attributes = MountAttributes::NO_SUID.and(MountAttributes::NO_DEV).and(MountAttributes::NO_EXEC);
        let memory = detached_tmpfs(&[(c"source", c"tmpfs"), (c"size", c"1m")], attributes)
            .map_err(rbuild_sys::SandboxError::from)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
        let file = open_below(memory.as_fd(), Path::new(NAME), Resolve::Beneath, flags, Mode::empty());
        let mut file = File::from(file.map_err(fail("create"))?);
        file.write_all(secret).map_err(fail("write"))?;
        fchown(&file, Some(uid), Some(gid)).map_err(fail("chown"))?;
        file.set_permissions(Permissions::from_mode(mode)).map_err(fail("chmod"))?;
        let source = MountSource::Part {
            mount: Arc::new(memory),
            path: PathBuf::from(NAME),
            kind: PartKind::File,
            attributes: attributes.and(MountAttributes::READ_ONLY),
        };
        Ok(Self { target: target.clone(), source: PreparedSource::Mount(source), held: Vec::new() })
    }

    /// A socket in front of the agent that listens at `agent`.
    ///
    /// # Errors
    /// [`ExecutorError::AgentAway`]; [`ExecutorError::System`] when it cannot be made.
    pub fn agent(
        agent: &Path,
        target: &ImagePath,
        mode: u32,
        owner: (u32, u32),
    ) -> Result<Self, ExecutorError> {
        let socket = AgentSocket::new(agent, mode, owner)?;
        let source = MountSource::Part {
            mount: socket.memory(),
            path: PathBuf::from(agent_socket::NAME),
            kind: PartKind::File,
            attributes: MountAttributes::NO_SUID.and(MountAttributes::NO_DEV).and(MountAttributes::NO_EXEC),
        };
        let held = vec![Held::Agent(socket)];
        Ok(Self { target: target.clone(), source: PreparedSource::Mount(source), held })
    }

    /// A path in a stack of layers. Writes, where allowed, are thrown away.
    ///
    /// # Errors
    /// [`ExecutorError::SourceNotFound`] when the path is not there.
    pub fn layers(
        snapshots: &Snapshots,
        layers: &[LayerId],
        source: &ImagePath,
        target: &ImagePath,
        access: Access,
    ) -> Result<Self, ExecutorError> {
        match access {
            Access::ReadOnly => {
                let view = snapshots.view(layers)?;
                Self::part(&view, source, target, MountAttributes::READ_ONLY, vec![Held::View(view.clone())])
            }
            Access::ReadWrite => {
                let draft = snapshots.store().new_layer()?;
                let upper = Upper { directory: draft.fs(), work: draft.work(), syncing: Syncing::Skipped };
                let root = snapshots.writable(layers, None, upper)?;
                let view = root.view().clone();
                Self::part(
                    &view,
                    source,
                    target,
                    MountAttributes::NONE,
                    vec![Held::Draft(draft), Held::Root(root)],
                )
            }
        }
    }

    /// A path in a temporary layer, which is gone afterwards with all that was written to it.
    ///
    /// # Errors
    /// [`ExecutorError::System`] when it cannot be mounted.
    pub fn draft(
        draft: LayerDraft,
        source: &ImagePath,
        target: &ImagePath,
        access: Access,
    ) -> Result<Self, ExecutorError> {
        let fail = |error| ExecutorError::system("open", source.as_str().as_bytes(), error);
        let top = File::open(draft.fs()).map_err(|error| system("open", draft.fs(), error))?;
        // the files are those of a context: a link among them must not lead to the host's
        let inside = open_in_root(top.as_fd(), source.relative(), OFlag::O_PATH, Mode::empty());
        let source = tree(inside.map_err(fail)?.as_fd(), Path::new(""), attributes(access))?;
        Ok(Self {
            target: target.clone(),
            source: PreparedSource::Mount(source),
            held: vec![Held::Context(draft)],
        })
    }

    /// What an earlier mount showed, kept in `directory`. Writes, where allowed, are thrown away.
    ///
    /// # Errors
    /// [`ExecutorError::SourceNotFound`] when nothing is there.
    pub fn kept(
        snapshots: &Snapshots,
        directory: &Path,
        source: &ImagePath,
        target: &ImagePath,
        access: Access,
    ) -> Result<Self, ExecutorError> {
        if access == Access::ReadOnly {
            let view = snapshots.view_under(&[], directory)?;
            let held = vec![Held::View(view.clone())];
            return Self::part(&view, source, target, MountAttributes::READ_ONLY, held);
        }
        let draft = snapshots.store().new_layer()?;
        let upper = Upper { directory: draft.fs(), work: draft.work(), syncing: Syncing::Skipped };
        let root = snapshots.writable(&[], Some(directory), upper)?;
        let view = root.view().clone();
        Self::part(&view, source, target, MountAttributes::NONE, vec![Held::Draft(draft), Held::Root(root)])
    }

    /// The temporary layer of [`PreparedMount::draft`], if this is one, for [`PreparedMount::kept`].
    #[must_use]
    pub fn into_draft(self) -> Option<LayerDraft> {
        self.held.into_iter().find_map(|held| match held {
            Held::Context(draft) => Some(draft),
            Held::Draft(_) | Held::Cache(_) | Held::Agent(_) | Held::View(_) | Held::Root(_) => None,
        })
    }

    /// The place at which it is mounted.
    #[must_use]
    pub fn target(&self) -> &ImagePath {
        &self.target
    }

    /// A cache directory, for a target and with the access that `place` says; waits for it when it is locked. `begin` makes
    /// what it begins with at the path that it is given.
    ///
    /// # Errors
    /// [`ExecutorError::System`] when it cannot be made or mounted, [`ExecutorError::Canceled`]; those of `begin`.
    pub fn cache<E: From<ExecutorError> + From<StoreError>>(
        store: &Store,
        directory: &CacheDirectory<'_>,
        (target, access): (&ImagePath, Access),
        cancel: &Cancel,
        begin: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mount = directory.take(store, cancel, begin)?;
        let inside = open_inside(mount.path(), directory.subpath)?;
        let source = tree(inside.as_fd(), Path::new(""), attributes(access))?;
        let held = vec![Held::Cache(mount)];
        Ok(Self { target: target.clone(), source: PreparedSource::Mount(source), held })
    }

    pub(crate) fn to_mount(&self) -> Result<Mount, ExecutorError> {
        let source = match &self.source {
            PreparedSource::Tmpfs(size) => tmpfs(*size)?,
            PreparedSource::Mount(source) => source.clone(),
        };
        Ok(Mount { source, target: PathBuf::from(self.target.as_str()) })
    }

    fn part(
        view: &RootView,
        source: &ImagePath,
        target: &ImagePath,
        attributes: MountAttributes,
        held: Vec<Held>,
    ) -> Result<Self, ExecutorError> {
        let (path, kind) = resolve(view, source)?;
        let mount = view
            .as_fd()
            .try_clone_to_owned()
            .map_err(|error| ExecutorError::system("dup", b"a view", error))?;
        let source = MountSource::Part { mount: Arc::new(mount), path, kind, attributes };
        Ok(Self { target: target.clone(), source: PreparedSource::Mount(source), held })
    }
}

/// Where `source` is in `view`, links resolved, and what it is.
fn resolve(view: &RootView, source: &ImagePath) -> Result<(PathBuf, PartKind), ExecutorError> {
    let missing = || ExecutorError::SourceNotFound { root: "layers", path: source.to_string(), meant: None };
    let found = rooted::resolve(view.rooted(), source.as_str().as_bytes(), Last::Follow)?;
    let stat = found.found.as_ref().ok_or_else(missing)?;
    let kind = if rooted::is_dir(stat) { PartKind::Directory } else { PartKind::File };
    Ok((PathBuf::from(OsStr::from_bytes(&found.path)), kind))
}

/// A file of the host.
pub(crate) fn host_file(path: &Path, target: &str, access: Access) -> Result<Mount, ExecutorError> {
    Ok(Mount { source: host_tree(path, attributes(access))?, target: PathBuf::from(target) })
}

/// Where memory for programs to share is.
pub(crate) const SHARED_MEMORY: &str = "/dev/shm";

/// [`SHARED_MEMORY`] of at most `size` bytes, from which programs may be executed, as with Docker.
pub(crate) fn shared_memory(size: u64) -> Result<Mount, ExecutorError> {
    Ok(Mount { source: tmpfs(Some(size))?, target: PathBuf::from(SHARED_MEMORY) })
}

/// `/dev/pipes/NAME` for each here-document script.
pub(crate) fn scripts(files: &HostFiles, scripts: &[(String, String)]) -> Result<Vec<Mount>, ExecutorError> {
    let mount = |(name, body): &(String, String)| {
        host_file(&files.script(body)?, &format!("/dev/pipes/{name}"), Access::ReadOnly)
    };
    scripts.iter().map(mount).collect()
}

fn tmpfs(size: Option<u64>) -> Result<MountSource, ExecutorError> {
    let size = size.map(|size| CString::new(size.to_string()).expect("digits hold no NUL"));
    let size = size.iter().map(|size| (c"size", size.as_c_str()));
    let options: Vec<_> = std::iter::once((c"source", c"tmpfs")).chain(size).collect();
    let attributes = MountAttributes::NO_SUID.and(MountAttributes::NO_DEV);
    let mount = detached_tmpfs(&options, attributes).map_err(rbuild_sys::SandboxError::from)?;
    Ok(MountSource::Tree(Arc::new(mount)))
}

fn host_tree(path: &Path, attributes: MountAttributes) -> Result<MountSource, ExecutorError> {
    tree(AT_FDCWD, path, attributes)
}

/// A detached mount of what is at `path` below `directory`; links in `path` are followed.
fn tree(
    directory: BorrowedFd<'_>,
    path: &Path,
    attributes: MountAttributes,
) -> Result<MountSource, ExecutorError> {
    let tree = clone_tree(directory, path, Submounts::Include).map_err(rbuild_sys::SandboxError::from)?;
    make_private(tree.as_fd(), attributes, Submounts::Include).map_err(rbuild_sys::SandboxError::from)?;
    Ok(MountSource::Tree(Arc::new(tree)))
}

/// Through the mounts of a sandbox no device opens, whichever process made the node.
pub(crate) fn attributes(access: Access) -> MountAttributes {
    match access {
        Access::ReadOnly => MountAttributes::NO_DEV.and(MountAttributes::READ_ONLY),
        Access::ReadWrite => MountAttributes::NO_DEV,
    }
}

/// The directory `subpath` of the cache at `cache`, made where it is missing. What is in a cache was written by
/// containers: a link in it would be followed on the host, so none is.
fn open_inside(cache: &Path, subpath: &ImagePath) -> Result<OwnedFd, ExecutorError> {
    let fail = |call| move |error: std::io::Error| system(call, cache, error);
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
    let mut inside = OwnedFd::from(File::open(cache).map_err(fail("open"))?);
    // the root is what is there, which need not be a directory
    for name in subpath.relative().iter().filter(|_| !subpath.is_root()) {
        match mkdirat(&inside, name, Mode::from_bits_truncate(0o755)) {
            // the user's umask has taken bits away
            Ok(()) => set_mode(inside.as_fd(), Path::new(name), 0o755).map_err(fail("chmod in"))?,
            Err(Errno::EEXIST) => {}
            Err(errno) => return Err(fail("mkdir in")(errno.into())),
        }
        let rule = Resolve::BeneathNoSymlinks;
        inside = open_below(inside.as_fd(), Path::new(name), rule, flags, Mode::empty())
            .map_err(fail("open a directory in"))?;
    }
    Ok(inside)
}

fn system(call: &'static str, path: &Path, source: std::io::Error) -> ExecutorError {
    ExecutorError::system(call, path.as_os_str().as_encoded_bytes(), source)
}
