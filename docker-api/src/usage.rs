//! Lines of `df`.

use crate::sizes::human_size;
use rbuild::UsageLine;
use serde::Serialize;

/// One line of `df`, with Docker's fields in Docker's order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct UsageRow {
    /// How many are in use.
    pub active: String,
    /// The bytes that pruning would free, and their share of the whole.
    pub reclaimable: String,
    /// Their size.
    pub size: String,
    /// How many there are.
    pub total_count: String,
    /// Their kind.
    #[serde(rename = "Type")]
    pub kind: String,
}

impl From<&UsageLine> for UsageRow {
    fn from(line: &UsageLine) -> Self {
        let share = match line.size {
            0 => String::new(),
            size => format!(" ({}%)", u128::from(line.reclaimable) * 100 / u128::from(size)),
        };
        Self {
            active: line.active.to_string(),
            reclaimable: format!("{}{share}", human_size(line.reclaimable)),
            size: human_size(line.size),
            total_count: line.total.to_string(),
            kind: line.kind.to_owned(),
        }
    }
}
