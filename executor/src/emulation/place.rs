//! An emulator in a root: its path exists below the changes of the root, so that nothing of it becomes part of a layer, and the
//! file of this machine is mounted there.

use super::Emulator;
use crate::{ExecutorError, Snapshots, mounts::host_file, snapshot::RootMount};
use rbuild_cache::{LayerId, ScratchDir};
use rbuild_planner::Access;
use rbuild_sys::{
    overlay::{Syncing, Upper},
    sandbox::{Mount, MountPoints, PartKind},
};
use std::{
    fs::{self, File},
    os::fd::AsFd,
    path::{Path, PathBuf},
};

/// The place of an emulator over a stack of layers.
pub(crate) struct Place {
    /// Lies over the layers.
    top: PathBuf,
    points: MountPoints,
    _scratch: ScratchDir,
}

impl Emulator {
    /// The emulator in a sandbox, read-only.
    pub(crate) fn mount(&self) -> Result<Mount, ExecutorError> {
        host_file(&self.path, &self.path.to_string_lossy(), Access::ReadOnly)
    }

    /// Makes what is missing on the way to it in `root`, where it stays; directories that are there keep their times.
    pub(crate) fn make_place(&self, root: &RootMount) -> Result<MountPoints, ExecutorError> {
        let mut points = MountPoints::new(root.as_fd())?;
        points.create_unnoticed(&self.path, PartKind::File)?;
        Ok(points)
    }
}

impl Place {
    /// A place for `emulator` over `layers`, in temporary space.
    pub(crate) fn over(
        layers: &[LayerId],
        emulator: &Emulator,
        snapshots: &Snapshots,
    ) -> Result<Self, ExecutorError> {
        let scratch = snapshots.store().scratch_dir()?;
        let [top, work] = ["fs", "work"].map(|name| scratch.path().join(name));
        for directory in [&top, &work] {
            fs::create_dir(directory).map_err(|error| failed("mkdir", directory, error))?;
        }
        let root = snapshots.writable(
            layers,
            None,
            Upper { directory: &top, work: &work, syncing: Syncing::Skipped },
        )?;
        let points = emulator.make_place(&root)?;
        root.collect()?;
        Ok(Self { top, points, _scratch: scratch })
    }

    pub(crate) fn top(&self) -> &Path {
        &self.top
    }

    /// Removes from the changes in `upper` the directories on the way to the emulator that hold nothing else: a change of
    /// their mode or owner, as by `chmod -R`, copied them there. To be called when nothing runs in the root any more.
    pub(crate) fn leave(self, upper: &Path) -> Result<(), ExecutorError> {
        let changes = File::open(upper).map_err(|error| failed("open", upper, error))?;
        Ok(self.points.in_root(changes.as_fd())?.remove_unused()?)
    }
}

fn failed(call: &'static str, path: &Path, error: std::io::Error) -> ExecutorError {
    ExecutorError::system(call, path.as_os_str().as_encoded_bytes(), error)
}
