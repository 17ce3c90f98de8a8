//! What containers need of the store, so that no collection takes it.

use crate::{
    LayerId, Store, StoreError,
    disk::{
        list,
        whole_file::{self, Reaches},
    },
};
use rbuild_oci::ImageId;
use serde::{Deserialize, Serialize};

/// What a container needs of the store; `containers/<id>/uses.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerUse {
    /// The image it was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageId>,
    /// The layers it stands on, lowest first.
    pub layers: Vec<LayerId>,
}

impl Store {
    /// States what the container in `containers/<id>` needs, so that no collection takes it. Hold the layers by a lease
    /// meanwhile. Removing the container's directory ends it.
    ///
    /// # Errors
    /// An I/O error when it cannot be written.
    pub fn set_container_use(&self, id: &str, uses: &ContainerUse) -> Result<(), StoreError> {
        let json = serde_json::to_vec(uses).expect("a container's needs are strings");
        whole_file::write(
            self.space(),
            &self.containers_dir().join(id).join("uses.json"),
            &json,
            Reaches::DiskFirst,
        )
    }

    /// What every container needs, by its id.
    ///
    /// # Errors
    /// [`StoreError::Document`] when one cannot be read: collecting then might take what it needs.
    pub fn container_uses(&self) -> Result<Vec<(String, ContainerUse)>, StoreError> {
        let directory = self.containers_dir();
        let mut uses = Vec::new();
        for id in list(&directory)? {
            let path = directory.join(&id).join("uses.json");
            if let Some(bytes) = whole_file::read(&path)? {
                let needs =
                    serde_json::from_slice(&bytes).map_err(|source| StoreError::Document { path, source })?;
                uses.push((id, needs));
            }
        }
        uses.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(uses)
    }
}
