//! What a container asks for of networks.

use super::{
    container::Container,
    container_network::{ContainerNetwork, PortProtocol, PublishedPort},
};

impl Container {
    /// The id of the container whose network it has.
    #[must_use]
    pub fn other_network(&self) -> Option<&str> {
        match &self.settings.as_ref()?.network {
            ContainerNetwork::Container(id) => Some(id),
            ContainerNetwork::Private
            | ContainerNetwork::Host
            | ContainerNetwork::None
            | ContainerNetwork::Named(_) => None,
        }
    }

    /// True if it is to have places in networks with names.
    #[must_use]
    pub fn has_named_networks(&self) -> bool {
        let network = self.settings.as_ref().map(|settings| &settings.network);
        matches!(network, Some(ContainerNetwork::Named(_)))
    }

    /// The ports that are to be reached through the machine: those that were named, and the others that its image exposes if that
    /// was asked for.
    #[must_use]
    pub fn published(&self) -> Vec<PublishedPort> {
        let Some(settings) = &self.settings else { return Vec::new() };
        let mut published = settings.published.clone();
        let exposed = self.config.exposed_ports.keys().filter(|_| settings.publish_all);
        for text in exposed {
            let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
            let protocol = match protocol {
                "tcp" => PortProtocol::Tcp,
                "udp" => PortProtocol::Udp,
                _ => continue,
            };
            let Ok(container) = number.parse() else { continue };
            if !published.iter().any(|port| (port.container, port.protocol) == (container, protocol)) {
                published.push(PublishedPort { container, protocol, address: None, host: (0, 0) });
            }
        }
        published
    }
}
