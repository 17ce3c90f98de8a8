//! Why a network cannot be had, made or removed.

use super::unknown_name::UnknownName;

/// A network that cannot be had. The words are Docker's where it has them.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// It is that of a container that does not run.
    #[error("cannot join network of a non running container: {0}")]
    NotRunning(String),
    /// It is that of a container that is not there any more.
    #[error("joining network namespace of container: No such container: {0}")]
    Removed(String),
    /// Nothing is called so.
    #[error("network {0} not found")]
    NoSuch(UnknownName),
    /// The beginning of an id that fits several.
    #[error("network {0} is ambiguous: several ids begin like this")]
    Ambiguous(String),
    /// Another one is called so.
    #[error("network with name {0} already exists")]
    NameTaken(String),
    /// A word that stands for what is always there.
    #[error("{0} is a pre-defined network and cannot be removed")]
    Predefined(String),
    /// Containers have places in it.
    #[error("error while removing network: network {name} has active endpoints ({})", endpoints(.containers))]
    InUse {
        /// The network.
        name: String,
        /// The names and ids of the containers.
        containers: Vec<(String, String)>,
    },
    /// Its addresses are in use.
    #[error(
        "invalid pool request: Pool overlaps with other one on this address space: {subnet} and {other} of {holder}"
    )]
    Overlaps {
        /// Those that were to be had.
        subnet: String,
        /// Those that overlap.
        other: String,
        /// What has them: a network, or an interface of the machine.
        holder: String,
    },
    /// No range of addresses is left.
    #[error("all predefined address pools have been fully subnetted: give --subnet")]
    NoSubnet,
    /// What was asked for does not fit together.
    #[error("invalid network config: {0}")]
    Config(String),
    /// All its addresses are in use.
    #[error("no available addresses on this network's address pools: {0}")]
    Full(String),
    /// An address that no container can have there.
    #[error("invalid endpoint settings: {0}")]
    Address(String),
    /// Another container has this address.
    #[error("Address already in use: {0}")]
    AddressTaken(String),
    /// A name that nobody could ask for.
    #[error("invalid network alias {0:?}: it has to be a name of letters, digits, '-', '_' and '.'")]
    Alias(String),
    /// The same network twice.
    #[error("network {0:?} is specified multiple times")]
    Twice(String),
    /// A container is there already.
    #[error("endpoint with name {container} already exists in network {network}")]
    Joined {
        /// The container.
        container: String,
        /// The network.
        network: String,
    },
    /// A container is not there.
    #[error("container {container} is not connected to network {network}")]
    NotJoined {
        /// The container.
        container: String,
        /// The network.
        network: String,
    },
    /// The networks of a running container stay as they are.
    #[error("the networks of a container that runs cannot be changed: stop {0} first")]
    ContainerRuns(String),
    /// A container with a network of another kind.
    #[error(
        "container {0} has no network with a name, and cannot have one beside what it has: make it with --network NAME"
    )]
    OtherKind(String),
    /// Ports of a network that cannot have them.
    #[error("ports cannot be published in network {network}: {reason}")]
    Ports {
        /// The network.
        network: String,
        /// Why.
        reason: &'static str,
    },
    /// An ordinary user.
    #[error(
        "networks with names need root: the containers of an ordinary user are each in a user namespace of its own, and no interface can \
         join those; containers share one network by --network container:NAME"
    )]
    NeedsRoot,
}

fn endpoints(containers: &[(String, String)]) -> String {
    let shown = containers.iter().map(|(name, id)| format!("name:{name:?} id:{:?}", short(id)));
    shown.collect::<Vec<_>>().join(", ")
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
