//! Lines of `history`.

use crate::{
    names::{Detail, image_id, shortened},
    sizes::human_size_with,
    times::ago,
};
use rbuild::{HistoryLine, Timestamp};
use serde::Serialize;

/// Characters of an instruction that are shown.
const INSTRUCTION_WIDTH: usize = 45;

/// One line of `history`, with Docker's fields in Docker's order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct HistoryRow {
    /// Its remark.
    pub comment: String,
    /// When, to the second.
    pub created_at: String,
    /// By which instruction.
    pub created_by: String,
    /// How long ago.
    pub created_since: String,
    /// The image, or `<missing>`.
    #[serde(rename = "ID")]
    pub id: String,
    /// Bytes of its layer.
    pub size: String,
}

/// How sizes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// In units, to three digits.
    Human,
    /// In bytes.
    Bytes,
}

impl HistoryRow {
    /// The line for one entry.
    #[must_use]
    pub fn new(line: &HistoryLine, detail: Detail, sizes: Sizes, now: Timestamp) -> Self {
        let by = line.created_by.replace('\t', " ");
        let at = line.created.and_then(|moment| Timestamp::from_seconds(moment.seconds()));
        Self {
            comment: line.comment.clone(),
            created_at: at.map_or_else(String::new, |moment| moment.to_string()),
            created_by: match detail {
                Detail::Short => shortened(&by, INSTRUCTION_WIDTH),
                Detail::Full => by,
            },
            created_since: ago(line.created, now),
            id: line.id.as_ref().map_or_else(|| "<missing>".to_owned(), |id| image_id(id, detail)),
            size: match sizes {
                Sizes::Human => human_size_with(line.size, 3),
                Sizes::Bytes => line.size.to_string(),
            },
        }
    }
}
