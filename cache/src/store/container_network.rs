//! The network of a container, as its record has it.

use serde::{Deserialize, Serialize};

/// The network of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContainerNetwork {
    /// One of its own with a way out, where that can be had; the machine's otherwise.
    #[default]
    #[serde(rename = "default")]
    Private,
    /// The machine's.
    Host,
    /// A loopback of its own.
    None,
    /// That of the container with this id.
    Container(String),
}
