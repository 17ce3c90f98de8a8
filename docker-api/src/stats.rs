//! Lines of `stats`.

use crate::{
    names::{Detail, container_id},
    sizes::{binary_size, human_size_with},
};
use rbuild::{Container, ContainerUse};
use serde::Serialize;

/// One line of `stats`, with Docker's fields in the order of its JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StatsRow {
    /// Bytes read from disks and written to them.
    #[serde(rename = "BlockIO")]
    pub block_io: String,
    /// The share of one processor.
    #[serde(rename = "CPUPerc")]
    pub cpu_perc: String,
    /// The container, as it was asked for.
    #[serde(rename = "Container")]
    pub container: String,
    /// The container.
    #[serde(rename = "ID")]
    pub id: String,
    /// The share of the memory that it may have.
    #[serde(rename = "MemPerc")]
    pub mem_perc: String,
    /// Its memory, and what it may have.
    #[serde(rename = "MemUsage")]
    pub mem_usage: String,
    /// Its name.
    #[serde(rename = "Name")]
    pub name: String,
    /// Bytes received and sent.
    #[serde(rename = "NetIO")]
    pub net_io: String,
    /// Processes and threads.
    #[serde(rename = "PIDs")]
    pub pids: String,
}

impl StatsRow {
    /// The line of a container that was asked for as `asked`, which has used `now`, and has kept so many processors busy lately.
    #[must_use]
    pub fn new(
        container: &Container,
        asked: &str,
        detail: Detail,
        (now, processors): (&ContainerUse, f64),
    ) -> Self {
        let percent = |part: f64, whole: f64| if whole > 0.0 { part / whole * 100.0 } else { 0.0 };
        let pair =
            |(one, two): (u64, u64)| format!("{} / {}", human_size_with(one, 3), human_size_with(two, 3));
        Self {
            block_io: pair(now.disk),
            cpu_perc: format!("{:.2}%", processors * 100.0),
            container: asked.to_owned(),
            id: container_id(&container.id, detail),
            mem_perc: format!("{:.2}%", percent(now.memory as f64, now.memory_limit as f64)),
            mem_usage: format!("{} / {}", binary_size(now.memory), binary_size(now.memory_limit)),
            name: container.name.clone(),
            net_io: pair(now.network),
            pids: now.tasks.to_string(),
        }
    }
}
