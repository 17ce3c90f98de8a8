//! What a container sees beside its image: volumes, directories and files of the host, memory.

use crate::{
    ExecutorError, RootView,
    mounts::attributes,
    rooted::{self, Last},
};
use nix::{
    fcntl::{AT_FDCWD, OFlag},
    sys::stat::Mode,
};
use rbuild_cache::{
    MissingHostPath, MountPropagation, MountedTmpfs, Submounts as HostSubmounts, make_dirs_with_mode,
};
use rbuild_oci::ImagePath;
use rbuild_planner::Access;
use rbuild_sys::{
    SandboxError,
    fs::{Resolve, open_below},
    mount::{
        MountAttributes, Submounts, clone_tree, detached_tmpfs, make_private, make_slave,
        set_mount_attributes,
    },
    sandbox::{Mount, MountSource},
};
use std::{
    ffi::CString,
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
    sync::Arc,
};

/// A mount of a container.
pub struct ContainerVolume {
    /// Where it is in the container.
    pub target: ImagePath,
    /// Whether it may be written to.
    pub access: Access,
    /// What it shows.
    pub source: VolumeSource,
}

/// What a mount of a container shows.
pub enum VolumeSource {
    /// A file or directory of the host.
    Host {
        /// Its path.
        path: PathBuf,
        /// What happens when it is not there.
        missing: MissingHostPath,
        /// Whether later mounts are seen.
        propagation: MountPropagation,
        /// The mounts below it.
        submounts: HostSubmounts,
    },
    /// The files of a volume, or a part of them.
    Volume {
        /// The directory with its files.
        data: PathBuf,
        /// What is shown of it.
        subpath: Option<ImagePath>,
    },
    /// Memory of its own.
    Tmpfs(MountedTmpfs),
}

impl ContainerVolume {
    /// The mount, for a root whose files are in `view`.
    pub(crate) fn to_mount(&self, view: &RootView) -> Result<Mount, ExecutorError> {
        let tree = match &self.source {
            VolumeSource::Host { path, missing, propagation, submounts } => {
                host(path, *missing, self.access, (*propagation, *submounts))?
            }
            VolumeSource::Volume { data, subpath } => of_volume(data, subpath.as_ref(), self.access)?,
            VolumeSource::Tmpfs(tmpfs) => memory(tmpfs, self.access, self.mode_of_place(view)?)?,
        };
        Ok(Mount { source: tree, target: PathBuf::from(self.target.as_str()) })
    }

    /// The mode of the directory that it lies over, which memory takes over, as docker's does.
    fn mode_of_place(&self, view: &RootView) -> Result<Option<u32>, ExecutorError> {
        let found = rooted::resolve(view.rooted(), self.target.as_str().as_bytes(), Last::Follow)?;
        Ok(found.found.filter(rooted::is_dir).map(|stat| stat.st_mode & 0o7777))
    }
}

fn host(
    path: &Path,
    missing: MissingHostPath,
    access: Access,
    (propagation, below): (MountPropagation, HostSubmounts),
) -> Result<MountSource, ExecutorError> {
    if !path.exists() {
        match missing {
            // docker's mode, because the container's users may be others
            MissingHostPath::Made => make_dirs_with_mode(path, 0o755).map_err(|error| {
                ExecutorError::system("mkdir", path.as_os_str().as_encoded_bytes(), error)
            })?,
            MissingHostPath::Refused => {
                return Err(ExecutorError::HostPathMissing { path: path.to_owned() });
            }
        }
    }
    let (shown, attributed) = match below {
        HostSubmounts::Shown => (Submounts::Include, Submounts::Include),
        HostSubmounts::Writable => (Submounts::Include, Submounts::Leave),
        HostSubmounts::Hidden => (Submounts::Leave, Submounts::Leave),
    };
    let tree = clone_tree(AT_FDCWD, path, shown).map_err(SandboxError::from)?;
    let mount = tree.as_fd();
    if attributed == Submounts::Leave {
        set_mount_attributes(mount, MountAttributes::NO_DEV, shown).map_err(SandboxError::from)?;
    }
    set_mount_attributes(mount, attributes(access), attributed).map_err(SandboxError::from)?;
    match propagation {
        MountPropagation::RPrivate | MountPropagation::Private => {
            make_private(mount, MountAttributes::NONE, shown)
        }
        // a private one would follow nothing, so the mounts below are not made that first
        MountPropagation::RSlave | MountPropagation::Slave => make_slave(mount, shown),
    }
    .map_err(SandboxError::from)?;
    Ok(MountSource::Tree(Arc::new(tree)))
}

/// What a container has written is in a volume: only a path without a way out is shown of it.
fn of_volume(data: &Path, subpath: Option<&ImagePath>, access: Access) -> Result<MountSource, ExecutorError> {
    let fail =
        |call, path: &Path, error| ExecutorError::system(call, path.as_os_str().as_encoded_bytes(), error);
    let whole = File::open(data).map_err(|error| fail("open", data, error))?;
    let Some(subpath) = subpath else { return alone(whole.as_fd(), access) };
    let part = open_below(whole.as_fd(), subpath.relative(), Resolve::Beneath, OFlag::O_PATH, Mode::empty());
    let part = part.map_err(|error| fail("open in the volume", Path::new(subpath.as_str()), error))?;
    alone(part.as_fd(), access)
}

/// What is open, as a mount of its own.
fn alone(open: BorrowedFd<'_>, access: Access) -> Result<MountSource, ExecutorError> {
    let tree = clone_tree(open, Path::new(""), Submounts::Leave).map_err(SandboxError::from)?;
    make_private(tree.as_fd(), attributes(access), Submounts::Leave).map_err(SandboxError::from)?;
    Ok(MountSource::Tree(Arc::new(tree)))
}

fn memory(
    tmpfs: &MountedTmpfs,
    access: Access,
    mode_of_place: Option<u32>,
) -> Result<MountSource, ExecutorError> {
    let text = |text: &str| {
        // no argument of a program has a NUL byte; a record that has one was written by nobody
        CString::new(text)
            .map_err(|error| ExecutorError::system("fsconfig", text.as_bytes(), io::Error::from(error)))
    };
    let mut settings = vec![(c"source".to_owned(), c"tmpfs".to_owned())];
    let has_mode = tmpfs.settings.iter().any(|(name, _)| name == "mode");
    if let Some(mode) = mode_of_place.filter(|_| !has_mode) {
        settings.push((c"mode".to_owned(), text(&format!("{mode:o}"))?));
    }
    for (name, value) in &tmpfs.settings {
        settings.push((text(name)?, text(value)?));
    }
    let settings: Vec<_> = settings.iter().map(|(name, value)| (name.as_c_str(), value.as_c_str())).collect();
    let mut attributes = attributes(access);
    if !tmpfs.executable {
        attributes = attributes.and(MountAttributes::NO_EXEC);
    }
    if !tmpfs.set_user_id {
        attributes = attributes.and(MountAttributes::NO_SUID);
    }
    let mount = detached_tmpfs(&settings, attributes).map_err(SandboxError::from)?;
    Ok(MountSource::Tree(Arc::new(mount)))
}
