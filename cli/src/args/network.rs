//! The flags for the networks of a container, and the commands for networks with names.

use super::{flag::Switch, system::PruneFlags};
use clap::{Args, Subcommand};

/// The network of a container, and how it finds names there.
#[derive(Debug, Args)]
pub(crate) struct NetworkFlags {
    /// Network: private, host, none, container:NAME, or the NAME of one that containers share, also as name=NAME,alias=…,ip=…; the last
    /// may be repeated [default: private]
    #[arg(long, visible_alias = "net", value_name = "MODE")]
    pub(crate) network: Vec<String>,
    /// A name that other containers of the network find this one by
    #[arg(long, alias = "net-alias", value_name = "NAME")]
    pub(crate) network_alias: Vec<String>,
    /// Its address in the network
    #[arg(long, value_name = "IPV4")]
    pub(crate) ip: Option<String>,
    /// Its address of IPv6 in the network
    #[arg(long, value_name = "IPV6")]
    pub(crate) ip6: Option<String>,
    /// Let a port be reached through this machine ([[IP:]HOST-PORT:]PORT[/PROTOCOL]; ranges 8000-8010)
    #[arg(short, long, value_name = "PORT")]
    pub(crate) publish: Vec<String>,
    /// Publish each port that the image exposes at a free port of this machine
    #[arg(short = 'P', long, switch = false)]
    pub(crate) publish_all: bool,
    /// Expose a port or a range of them (PORT[/PROTOCOL]), for -P
    #[arg(long, value_name = "PORT")]
    pub(crate) expose: Vec<String>,
    /// A line for /etc/hosts (HOST:IP); the IP host-gateway is this machine, without its loopback
    #[arg(long, value_name = "HOST:IP")]
    pub(crate) add_host: Vec<String>,
    /// A name server instead of the host's; may be repeated
    #[arg(long, value_name = "IP")]
    pub(crate) dns: Vec<String>,
    /// An option of resolv.conf instead of the host's; may be repeated
    #[arg(long, value_name = "OPTION", alias = "dns-opt")]
    pub(crate) dns_option: Vec<String>,
    /// A domain in which names are looked for, instead of the host's; . for none; may be repeated
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) dns_search: Vec<String>,
}

/// What was typed after `port`.
#[derive(Debug, Args)]
pub(crate) struct PortArgs {
    /// The container
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: String,
    /// Only this port of it
    #[arg(value_name = "PORT[/PROTOCOL]")]
    pub(crate) port: Option<String>,
}

/// `network …`
#[derive(Debug, Subcommand)]
pub(crate) enum NetworkCommand {
    /// Make a network in which containers find each other by name
    Create(Box<NetworkCreateArgs>),
    /// List networks
    #[command(visible_alias = "list")]
    Ls(NetworkLsArgs),
    /// Show everything about networks as JSON
    Inspect(NetworkInspectArgs),
    /// Remove networks
    #[command(visible_alias = "remove")]
    Rm(NetworkRmArgs),
    /// Remove networks that no container is in
    Prune(NetworkPruneArgs),
    /// Give a container that does not run a place in a network
    Connect(NetworkConnectArgs),
    /// Take the place of a container that does not run away
    Disconnect(NetworkDisconnectArgs),
}

/// What was typed after `network create`.
#[derive(Debug, Args)]
pub(crate) struct NetworkCreateArgs {
    /// Its name
    #[arg(value_name = "NETWORK")]
    pub(crate) name: String,
    /// The driver: bridge
    #[arg(short, long, value_name = "DRIVER", default_value = "bridge", hide_default_value = true)]
    pub(crate) driver: String,
    /// Its addresses (10.89.7.0/24) [default: free ones]
    #[arg(long, value_name = "SUBNET")]
    pub(crate) subnet: Vec<String>,
    /// The address of this machine in a subnet [default: the first one]
    #[arg(long, value_name = "IP")]
    pub(crate) gateway: Vec<String>,
    /// Give containers addresses from this part of a subnet
    #[arg(long, value_name = "SUBNET")]
    pub(crate) ip_range: Vec<String>,
    /// Let nothing lead out of it
    #[arg(long, switch = false)]
    pub(crate) internal: bool,
    /// Give it addresses of IPv6 too
    #[arg(long, switch = false)]
    pub(crate) ipv6: bool,
    /// Give it addresses of IPv4, which it always has
    #[arg(long, switch = true, hide = true)]
    pub(crate) ipv4: bool,
    /// Give it a label (NAME or NAME=VALUE)
    #[arg(long, value_name = "LABEL")]
    pub(crate) label: Vec<String>,
    /// An option of the driver: com.docker.network.driver.mtu=BYTES, com.docker.network.bridge.name=INTERFACE
    #[arg(short, long, value_name = "OPTION")]
    pub(crate) opt: Vec<String>,
    /// Of clusters only
    #[arg(long, switch = false, hide = true)]
    pub(crate) attachable: bool,
    /// Of clusters only
    #[arg(long, switch = false, hide = true)]
    pub(crate) ingress: bool,
    /// Of clusters only
    #[arg(long, switch = false, hide = true)]
    pub(crate) config_only: bool,
    /// Of clusters only
    #[arg(long, hide = true, value_name = "NETWORK")]
    pub(crate) config_from: Option<String>,
    /// Where it is: local
    #[arg(long, hide = true, value_name = "SCOPE")]
    pub(crate) scope: Option<String>,
    /// Who gives addresses: default
    #[arg(long, hide = true, value_name = "DRIVER")]
    pub(crate) ipam_driver: Option<String>,
    /// Not supported
    #[arg(long, hide = true, value_name = "OPTION")]
    pub(crate) ipam_opt: Vec<String>,
    /// Not supported
    #[arg(long, hide = true, value_name = "NAME=IP")]
    pub(crate) aux_address: Vec<String>,
}

/// What was typed after `network ls`.
#[derive(Debug, Args)]
pub(crate) struct NetworkLsArgs {
    /// Only some networks: dangling=true, driver=bridge, id=ID, label=NAME[=VALUE], name=PART, scope=local, type=custom
    #[arg(short, long, value_name = "FILTER")]
    pub(crate) filter: Vec<String>,
    /// table, json, 'table TEMPLATE' or a Go template
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
    /// Do not shorten ids
    #[arg(long, switch = false)]
    pub(crate) no_trunc: bool,
    /// Only print ids
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// What was typed after `network inspect`.
#[derive(Debug, Args)]
pub(crate) struct NetworkInspectArgs {
    /// Names or ids
    #[arg(value_name = "NETWORK", required = true)]
    pub(crate) names: Vec<String>,
    /// json or a Go template
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
    /// What is shown is everything already
    #[arg(short, long, switch = false, hide = true)]
    pub(crate) verbose: bool,
}

/// What was typed after `network rm`.
#[derive(Debug, Args)]
pub(crate) struct NetworkRmArgs {
    /// Names or ids
    #[arg(value_name = "NETWORK", required = true)]
    pub(crate) networks: Vec<String>,
    /// Do not fail for networks that are not there
    #[arg(short, long)]
    pub(crate) force: bool,
}

/// What was typed after `network prune`.
#[derive(Debug, Args)]
pub(crate) struct NetworkPruneArgs {
    #[command(flatten)]
    pub(crate) prune: PruneFlags,
}

/// What was typed after `network connect`.
#[derive(Debug, Args)]
pub(crate) struct NetworkConnectArgs {
    /// The network
    #[arg(value_name = "NETWORK")]
    pub(crate) network: String,
    /// The container
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: String,
    /// A name that other containers of the network find it by
    #[arg(long, value_name = "NAME")]
    pub(crate) alias: Vec<String>,
    /// Its address
    #[arg(long, value_name = "IPV4")]
    pub(crate) ip: Option<String>,
    /// Its address of IPv6
    #[arg(long, value_name = "IPV6")]
    pub(crate) ip6: Option<String>,
    /// Not supported
    #[arg(long, hide = true, value_name = "OPTION")]
    pub(crate) driver_opt: Vec<String>,
    /// Not supported
    #[arg(long, hide = true, value_name = "CONTAINER")]
    pub(crate) link: Vec<String>,
    /// Not supported
    #[arg(long, hide = true, value_name = "IP")]
    pub(crate) link_local_ip: Vec<String>,
}

/// What was typed after `network disconnect`.
#[derive(Debug, Args)]
pub(crate) struct NetworkDisconnectArgs {
    /// The network
    #[arg(value_name = "NETWORK")]
    pub(crate) network: String,
    /// The container
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: String,
    /// The networks of a container that runs stay as they are all the same
    #[arg(short, long)]
    pub(crate) force: bool,
}
