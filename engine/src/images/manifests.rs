//! Manifests and indexes of registries as they are: looked at, put together to new indexes, pushed.

use crate::{Engine, Error};
use rbuild_cache::ManifestList;
use rbuild_image::ImageError;
use rbuild_oci::{
    Descriptor, Digest, ImageConfig, ImageName, Index, ManifestOrIndex, MediaType, ParseError, Platform,
    Reference,
};
use rbuild_registry::RegistryError;

/// What a registry has under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteManifest {
    /// The name.
    pub reference: Reference,
    /// Its digest, media type and size.
    pub descriptor: Descriptor,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The same, read.
    pub document: ManifestOrIndex,
}

/// An entry of an index that is put together, and where its manifest is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// A name in the repository that has it.
    pub from: Reference,
    /// The manifest, with its platform.
    pub descriptor: Descriptor,
}

impl Engine {
    /// What the registry has under `reference`.
    ///
    /// # Errors
    /// [`Error::NoSuchManifest`], [`Error::Image`].
    pub async fn remote_manifest(&self, reference: &Reference) -> Result<RemoteManifest, Error> {
        let fetched = match self.remote.manifest(reference).await {
            Err(ImageError::Registry(RegistryError::NotFound { .. })) => {
                return Err(Error::NoSuchManifest(reference.familiar()));
            }
            fetched => fetched?,
        };
        let document = ManifestOrIndex::from_json(&fetched.bytes, Some(&fetched.media_type))
            .map_err(|source| unreadable(reference, source))?;
        let size = fetched.bytes.len() as u64;
        let descriptor = Descriptor::new(fetched.media_type, fetched.digest, size);
        let bytes = fetched.bytes.to_vec();
        Ok(RemoteManifest { reference: reference.clone(), descriptor, bytes, document })
    }

    /// The names that the registry has in the repository of `reference`: one for each tag, in its order.
    ///
    /// # Errors
    /// [`Error::Image`].
    pub async fn remote_names(&self, reference: &Reference) -> Result<Vec<ImageName>, Error> {
        Ok(self.remote.names(reference).await?)
    }

    /// The config of an image in the repository of `reference`.
    ///
    /// # Errors
    /// [`Error::Image`].
    pub async fn remote_config(&self, reference: &Reference, config: &Descriptor) -> Result<Vec<u8>, Error> {
        Ok(self.remote.fetch_config(reference, config).await?)
    }

    /// The entries that `source` gives to an index: its own, or itself with the platform in its config.
    ///
    /// # Errors
    /// [`Error::Image`] when its config cannot be had.
    pub async fn index_entries(&self, source: &RemoteManifest) -> Result<Vec<IndexEntry>, Error> {
        let from = source.reference.clone();
        match &source.document {
            ManifestOrIndex::Index(index) => {
                let entry = |entry: &Descriptor| IndexEntry { from: from.clone(), descriptor: entry.clone() };
                Ok(index.manifests.iter().map(entry).collect())
            }
            ManifestOrIndex::Manifest(manifest) => {
                let mut descriptor = source.descriptor.clone();
                descriptor.platform = self.platform_of(&from, &manifest.config).await?;
                Ok(vec![IndexEntry { from, descriptor }])
            }
        }
    }

    /// The platform that a config names, if it is that of an image.
    async fn platform_of(&self, from: &Reference, config: &Descriptor) -> Result<Option<Platform>, Error> {
        if !matches!(config.media_type, MediaType::OciConfig | MediaType::DockerConfig) {
            return Ok(None);
        }
        let json = self.remote_config(from, config).await?;
        let config = ImageConfig::from_json(&json).map_err(|source| unreadable(from, source))?;
        Ok(Some(config.platform()))
    }

    /// Brings the image or index of `entry` into the repository of `name`, unless it is there.
    ///
    /// # Errors
    /// [`Error::Image`].
    pub async fn copy_entry(&self, entry: &IndexEntry, name: &ImageName) -> Result<(), Error> {
        Ok(self.remote.copy(&entry.descriptor, &entry.from, name.as_reference()).await?)
    }

    /// Pushes the manifest or index `bytes` as `name`; the repository has what it names. Returns its digest.
    ///
    /// # Errors
    /// [`Error::Image`].
    pub async fn push_manifest(
        &self,
        name: &ImageName,
        media_type: &MediaType,
        bytes: Vec<u8>,
    ) -> Result<Digest, Error> {
        Ok(self.remote.put_manifest(name, media_type, bytes).await?)
    }

    /// The list called `name` that is being made, if there is one.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn manifest_list(&self, name: &ImageName) -> Result<Option<ManifestList>, Error> {
        Ok(self.store.manifest_list(name)?)
    }

    /// Keeps `list` in the place of what has its name.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn keep_manifest_list(&self, list: &ManifestList) -> Result<(), Error> {
        Ok(self.store.put_manifest_list(list)?)
    }

    /// Forgets the list called `name`; returns true if it was there.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn remove_manifest_list(&self, name: &ImageName) -> Result<bool, Error> {
        Ok(self.store.remove_manifest_list(name)?)
    }
}

/// One index of `entries`: of several with one digest the first counts, with the platform and annotations of the others. It is of
/// Docker's family when all of them are.
#[must_use]
pub fn combined_index(entries: &[IndexEntry]) -> Index {
    let mut manifests: Vec<Descriptor> = Vec::new();
    for IndexEntry { descriptor, .. } in entries {
        match manifests.iter_mut().find(|known| known.digest == descriptor.digest) {
            Some(known) => {
                known.platform = descriptor.platform.clone().or_else(|| known.platform.take());
                known.annotations.extend(descriptor.annotations.clone());
            }
            None => manifests.push(descriptor.clone()),
        }
    }
    let of_docker = |entry: &Descriptor| {
        matches!(entry.media_type, MediaType::DockerManifest | MediaType::DockerManifestList)
    };
    let is_docker = !manifests.is_empty() && manifests.iter().all(of_docker);
    let mut index = Index::new(manifests);
    if is_docker {
        index.media_type = MediaType::DockerManifestList;
    }
    index
}

fn unreadable(reference: &Reference, source: ParseError) -> Error {
    Error::Image(ImageError::Document { subject: format!("manifest of {}", reference.familiar()), source })
}
