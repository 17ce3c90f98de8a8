//! Ports of the machine for those of containers.
//!
//! pasta says nothing of a port that it gets for one family of addresses alone, so each is tried before.

use crate::ExecutorError;
use rbuild_cache::{BoundPort, PortProtocol, PublishedPort};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
};

/// Ports that are free, held until this is dropped.
#[derive(Debug)]
pub struct FreePorts {
    /// Each port of a container, with that of the machine.
    pub ports: Vec<BoundPort>,
    _held: Vec<Held>,
}

/// A port in use by this process.
#[derive(Debug)]
enum Held {
    Tcp { _socket: TcpListener },
    Udp { _socket: UdpSocket },
}

/// A free port for each of `published`.
///
/// # Errors
/// [`ExecutorError::PortTaken`].
pub fn free_ports(published: &[PublishedPort]) -> Result<FreePorts, ExecutorError> {
    let (mut ports, mut held) = (Vec::new(), Vec::new());
    for port in published {
        let PublishedPort { container, protocol, address, host: (first, last) } = *port;
        let mut found = Err((first, io::ErrorKind::InvalidInput.into()));
        for host in first..=last {
            found = hold(protocol, address, host).map_err(|error| (host, error));
            if found.is_ok() {
                break;
            }
        }
        let (own, host) = found.map_err(|(host, source)| {
            let place = SocketAddr::new(address.unwrap_or(Ipv4Addr::UNSPECIFIED.into()), host);
            ExecutorError::PortTaken { port: format!("{place}/{protocol}"), source }
        })?;
        held.push(own);
        ports.push(BoundPort { container, protocol, address, host });
    }
    Ok(FreePorts { ports, _held: held })
}

/// Takes a port, and gives its number; a free one for 0.
fn hold(protocol: PortProtocol, address: Option<IpAddr>, port: u16) -> io::Result<(Held, u16)> {
    match address {
        Some(address) => hold_at(protocol, address, port),
        // a socket of IPv6 has the port of IPv4 as well
        None => match hold_at(protocol, Ipv6Addr::UNSPECIFIED.into(), port) {
            Err(error)
                if !matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied) =>
            {
                hold_at(protocol, Ipv4Addr::UNSPECIFIED.into(), port)
            }
            held => held,
        },
    }
}

fn hold_at(protocol: PortProtocol, address: IpAddr, port: u16) -> io::Result<(Held, u16)> {
    match protocol {
        PortProtocol::Tcp => {
            let socket = TcpListener::bind((address, port))?;
            let port = socket.local_addr()?.port();
            Ok((Held::Tcp { _socket: socket }, port))
        }
        PortProtocol::Udp => {
            let socket = UdpSocket::bind((address, port))?;
            let port = socket.local_addr()?.port();
            Ok((Held::Udp { _socket: socket }, port))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(host: (u16, u16), address: Option<IpAddr>) -> PublishedPort {
        PublishedPort { container: 80, protocol: PortProtocol::Tcp, address, host }
    }

    #[test]
    fn a_port_is_free_until_somebody_has_it() {
        let any = free_ports(&[published((0, 0), None)]).unwrap();
        let port = any.ports[0].host;
        assert!(port > 0);
        for address in [None, Some(Ipv4Addr::LOCALHOST.into()), Some(Ipv6Addr::LOCALHOST.into())] {
            let error = free_ports(&[published((port, port), address)]).unwrap_err();
            let said = error.to_string();
            assert!(said.contains(&format!(":{port}/tcp")), "{said}");
        }
        let next = free_ports(&[published((port, port.saturating_add(20)), None)]).unwrap();
        assert_ne!(next.ports[0].host, port);
        drop(any);
        free_ports(&[published((port, port), None)]).unwrap();
    }
}
