//! What lists show of each image, without its record and its config being opened.

use super::listing::{Listing, ListingOf, Row};
use crate::{
    ImageRecord, Store, StoreError,
    disk::{FieldReader, FieldWriter},
};
use rbuild_oci::{Digest, ImageConfig, ImageId, Platform, Timestamp};
use std::collections::BTreeMap;

/// An image as lists show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRow {
    /// The image.
    pub id: ImageId,
    /// The images of an image for several platforms.
    pub parts: Vec<ImageId>,
    /// The time at which it was made.
    pub created: Option<Timestamp>,
    /// The bytes of its layers' files; `None` when its record does not know them.
    pub size: Option<u64>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

impl ImageRecord {
    /// The image whose config is shown: of several that for this machine, or else the first.
    #[must_use]
    pub fn shown_part(&self) -> ImageId {
        let first = self.platforms.first().map(|part| part.image);
        self.for_platform(&Platform::host()).or(first).unwrap_or(self.id)
    }
}

impl Store {
    /// What lists show of all images, by id. Images whose record or config is damaged are left out; damage within a file
    /// that a listing was made of before is seen by the first who uses that file.
    ///
    /// # Errors
    /// An I/O error when a directory or file cannot be read.
    pub fn image_rows(&self) -> Result<Vec<ImageRow>, StoreError> {
        let of = ListingOf {
            name: "images",
            tree: "images",
            needs: Some("blobs/sha256"),
            read: &|path, bytes| self.read_image_row(path, bytes),
            holds: &|row| config_of(row).is_some_and(|config| self.blob_size(&config).is_some()),
        };
        let kept = self.kept_listing(of.name);
        let listing = Listing::take(self, &of, &kept)?;
        let mut rows: Vec<ImageRow> = listing.rows().filter_map(|(_, _, row)| decode(row)).collect();
        rows.sort_unstable_by(|a, b| a.id.as_digest().cmp(b.id.as_digest()));
        Ok(rows)
    }

    fn read_image_row(&self, path: &str, bytes: &[u8]) -> Result<Row<'static>, StoreError> {
        let id = path.strip_suffix(".json").and_then(|hex| Digest::from_hex(hex).ok());
        let record = serde_json::from_slice::<ImageRecord>(bytes).ok();
        let Some(record) = record.filter(|record| Some(*record.id.as_digest()) == id) else {
            return Ok(Row::Absent);
        };
        let shown = record.shown_part();
        let json = match self.blob(shown.as_digest()) {
            Err(StoreError::BlobDamaged { .. }) => None,
            json => json?,
        };
        let config = json.and_then(|json| ImageConfig::from_json(&json).ok());
        Ok(config.map_or(Row::Unsettled, |config| Row::Kept(encode(&record, &shown, &config).into())))
    }
}

/// The config comes first, because it is what a row depends on.
fn encode(record: &ImageRecord, shown: &ImageId, config: &ImageConfig) -> Vec<u8> {
    let mut fields = FieldWriter::default();
    fields.digest(shown.as_digest());
    fields.digest(record.id.as_digest());
    fields.number(record.platforms.len() as u64);
    record.platforms.iter().for_each(|part| fields.digest(part.image.as_digest()));
    fields.optional(config.created, FieldWriter::moment);
    fields.optional(record.layers.iter().map(|layer| layer.size).sum(), FieldWriter::number);
    for (name, value) in &config.config.labels {
        fields.text(name);
        fields.text(value);
    }
    fields.into_bytes()
}

fn config_of(row: &[u8]) -> Option<Digest> {
    FieldReader::new(row).digest()
}

fn decode(row: &[u8]) -> Option<ImageRow> {
    let mut fields = FieldReader::new(row);
    let _config = fields.digest()?;
    let id = ImageId::from_digest(fields.digest()?);
    let part = |fields: &mut FieldReader<'_>| fields.digest().map(ImageId::from_digest);
    let parts = (0..fields.number()?).map(|_| part(&mut fields)).collect::<Option<_>>()?;
    let created = fields.optional(FieldReader::moment)?;
    let size = fields.optional(FieldReader::number)?;
    let mut labels = BTreeMap::new();
    while !fields.rest().is_empty() {
        labels.insert(fields.text()?.to_owned(), fields.text()?.to_owned());
    }
    Some(ImageRow { id, parts, created, size, labels })
}
