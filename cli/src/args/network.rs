//! The flags for the network of a container.

use super::flag::Switch;
use clap::Args;

/// The network of a container, and how it finds names there.
#[derive(Debug, Args)]
pub(crate) struct NetworkFlags {
    /// Network: private, host, none or container:NAME [default: private]
    #[arg(long, visible_alias = "net", value_name = "MODE")]
    pub(crate) network: Option<String>,
    /// Let a port be reached through this machine ([[IP:]HOST-PORT:]PORT[/PROTOCOL]; ranges 8000-8010)
    #[arg(short, long, value_name = "PORT")]
    pub(crate) publish: Vec<String>,
    /// Publish each port that the image exposes at a free port of this machine
    #[arg(short = 'P', long, switch = false)]
    pub(crate) publish_all: bool,
    /// Expose a port or a range of them (PORT[/PROTOCOL]), for -P
    #[arg(long, value_name = "PORT")]
    pub(crate) expose: Vec<String>,
    /// A line for /etc/hosts (HOST:IP); the IP host-gateway is this machine
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
