//! The mounts of a container: what is asked for, what other containers give it, and the volumes of its image; and the volumes made
//! that are missing.

use super::request::{ContainerRequest, FirstFiles, MountRequest, RequestedSource, VolumesFrom};
use crate::{Engine, Error, VolumeError};
use rbuild_cache::{
    ContainerMount, KeptVolume, LayerId, MissingHostPath, MountOrigin, MountedFrom, VolumeDraft, VolumeName,
    VolumesLock,
};
use rbuild_executor::{ContainerVolume, RootView, Snapshots, VolumeSource, fill_volume};
use rbuild_oci::{ContainerConfig, ImagePath};
use rbuild_planner::Access;
use std::collections::BTreeMap;

/// The mounts of a new container, with those of their volumes that have no name yet.
pub(super) struct NewMounts {
    pub(super) mounts: Vec<ContainerMount>,
    drafts: Vec<VolumeDraft>,
}

/// Volumes of a container that is about to get its name. Those that are anonymous go again unless [`Self::keep`] is called.
pub(super) struct NewVolumes<'a> {
    engine: &'a Engine,
    made: Vec<VolumeName>,
}

impl NewVolumes<'_> {
    /// Leaves them to the container that has them.
    pub(super) fn keep(mut self) {
        self.made.clear();
    }
}

impl Drop for NewVolumes<'_> {
    fn drop(&mut self) {
        // left over, they are what `volume prune` removes
        let _ = self.engine.remove_unused_volumes(&self.made);
    }
}

impl NewMounts {
    /// Gives the volumes their names; no volume goes while the lock is held.
    pub(super) fn settle(self, engine: &Engine) -> Result<(Option<VolumesLock>, NewVolumes<'_>), Error> {
        let mut volumes = NewVolumes { engine, made: Vec::new() };
        let is_volume = |mount: &ContainerMount| matches!(mount.from, MountedFrom::Volume { .. });
        if !self.mounts.iter().any(is_volume) {
            return Ok((None, volumes));
        }
        let turn = engine.store.lock_volumes()?;
        for draft in self.drafts {
            let volume = draft.volume().clone();
            let kept = engine.store.keep_volume(draft, &turn)?;
            if volume.is_anonymous() && kept == KeptVolume::Made {
                volumes.made.push(volume.name);
            }
        }
        // one that was there may have gone before the lock was taken
        for mount in &self.mounts {
            if let MountedFrom::Volume { volume, .. } = &mount.from
                && engine.store.volume(volume)?.is_none()
            {
                engine.store.keep_volume(engine.new_volume(Some(volume.clone()), BTreeMap::new())?, &turn)?;
            }
        }
        Ok((Some(turn), volumes))
    }
}

impl Engine {
    /// The mounts of a container of an image with `layers` that is to have `config`.
    pub(super) fn new_mounts(
        &self,
        request: &ContainerRequest,
        config: &ContainerConfig,
        layers: &[LayerId],
    ) -> Result<NewMounts, Error> {
        let mut mounts = BTreeMap::new();
        for from in &request.volumes_from {
            for mount in self.mounts_from(from)? {
                mounts.insert(mount.target.clone(), mount);
            }
        }
        let mut filler = Filler { engine: self, layers, view: None, drafts: Vec::new() };
        let mut own = Vec::new();
        for asked in &request.mounts {
            let target = asked.target.to_string();
            if own.contains(&target) {
                return Err(VolumeError::Duplicate(target).into());
            }
            mounts.insert(target.clone(), filler.mount(asked)?);
            own.push(target);
        }
        for path in config.volumes.keys() {
            let target = ImagePath::root().join(path);
            if !mounts.contains_key(target.as_str()) {
                mounts.insert(target.to_string(), filler.mount(&MountRequest::anonymous(target))?);
            }
        }
        let drafts = filler.drafts;
        Ok(NewMounts { mounts: mounts.into_values().collect(), drafts })
    }

    /// What another container gives.
    fn mounts_from(&self, from: &VolumesFrom) -> Result<Vec<ContainerMount>, Error> {
        let settings = self.container(&from.container)?.settings;
        let is_flag = |from: &MountedFrom| matches!(from, MountedFrom::Tmpfs { tmpfs } if tmpfs.by_flag);
        let mounts = settings.into_iter().flat_map(|settings| settings.mounts);
        let given = mounts.filter(|mount| !is_flag(&mount.from)).map(|mount| ContainerMount {
            read_only: mount.read_only || from.access == Access::ReadOnly,
            options: String::new(),
            origin: MountOrigin::Container,
            ..mount
        });
        Ok(given.collect())
    }

    /// A mount of a container's record, as the executor takes it.
    pub(super) fn mounted(&self, mount: &ContainerMount) -> Result<ContainerVolume, Error> {
        let source = match &mount.from {
            MountedFrom::Host { source, missing, propagation, submounts } => VolumeSource::Host {
                path: source.clone(),
                missing: *missing,
                propagation: *propagation,
                submounts: *submounts,
            },
            MountedFrom::Volume { volume, subpath, .. } => {
                self.volume(volume.as_str())?;
                let subpath = subpath.as_deref().map(|path| ImagePath::root().join(path));
                VolumeSource::Volume { data: self.store.volume_data(volume), subpath }
            }
            MountedFrom::Tmpfs { tmpfs } => VolumeSource::Tmpfs(tmpfs.clone()),
        };
        let access = if mount.read_only { Access::ReadOnly } else { Access::ReadWrite };
        Ok(ContainerVolume { target: mount.target.parse()?, access, source })
    }
}

/// Makes volumes that begin with files of an image, which is mounted when the first of them asks for it.
struct Filler<'a> {
    engine: &'a Engine,
    layers: &'a [LayerId],
    view: Option<RootView>,
    drafts: Vec<VolumeDraft>,
}

impl Filler<'_> {
    fn mount(&mut self, asked: &MountRequest) -> Result<ContainerMount, Error> {
        let from = match &asked.source {
            RequestedSource::Volume { name, files, subpath, labels } => {
                let volume = self.volume(name.as_ref(), labels, (*files, &asked.target))?;
                MountedFrom::Volume { volume, anonymous: name.is_none(), subpath: subpath.clone() }
            }
            RequestedSource::Other(from) => {
                if let MountedFrom::Host { source, missing: MissingHostPath::Refused, .. } = from
                    && !source.exists()
                {
                    return Err(VolumeError::HostPathMissing(source.clone()).into());
                }
                from.clone()
            }
        };
        Ok(ContainerMount {
            from,
            target: asked.target.to_string(),
            read_only: asked.access == Access::ReadOnly,
            options: asked.options.clone(),
            origin: asked.origin,
        })
    }

    fn volume(
        &mut self,
        name: Option<&VolumeName>,
        labels: &BTreeMap<String, String>,
        (files, target): (FirstFiles, &ImagePath),
    ) -> Result<VolumeName, Error> {
        let store = &self.engine.store;
        if let Some(name) = name
            && store.volume(name)?.is_some()
            && (files == FirstFiles::None || !store.volume_is_empty(name))
        {
            return Ok(name.clone());
        }
        let draft = self.engine.new_volume(name.cloned(), labels.clone())?;
        if files == FirstFiles::OfImage {
            fill_volume(self.view()?, target, &draft.data())?;
        }
        let name = draft.volume().name.clone();
        self.drafts.push(draft);
        Ok(name)
    }

    fn view(&mut self) -> Result<&RootView, Error> {
        if self.view.is_none() {
            self.view = Some(Snapshots::new(&self.engine.store).view(self.layers)?);
        }
        Ok(self.view.as_ref().expect("it was made above"))
    }
}
