//! Network namespaces that are there before the processes in them (network_namespaces(7)), and what is made in them (rtnetlink(7)).

use nix::{
    errno::Errno,
    sched::{CloneFlags, unshare},
    sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
    },
};
use std::{
    fs::File,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    thread,
};

/// What is told of a namespace: interfaces, addresses and routes of both families (`RTMGRP_*`).
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;

/// Kinds of messages, and the lengths of what stands before their attributes.
const NEW_LINK: (u16, usize) = (16, 16);
const NEW_ADDRESS: (u16, usize) = (20, 8);
const NEW_ROUTE: (u16, usize) = (24, 12);

/// A new network namespace, in which there is a loopback interface that is down. It is gone once nothing refers to it.
#[derive(Debug)]
pub struct NewNetwork {
    /// The namespace.
    pub namespace: OwnedFd,
    /// What is made in it.
    pub changes: NetworkChanges,
}

/// What another program makes in a network namespace, as the kernel tells it.
#[derive(Debug)]
pub struct NetworkChanges {
    socket: OwnedFd,
    found: Interface,
}

/// An interface by which a network is left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its hardware address.
    pub hardware: Option<[u8; 6]>,
    /// Its address, and the bits of that which are the network's.
    pub v4: Option<(Ipv4Addr, u8)>,
    /// The way out.
    pub v4_gateway: Option<Ipv4Addr>,
    /// The same of IPv6.
    pub v6: Option<(Ipv6Addr, u8)>,
    /// The same of IPv6.
    pub v6_gateway: Option<Ipv6Addr>,
}

/// Makes a network namespace.
///
/// # Errors
/// The kernel's; `EPERM` without privilege over the user namespace.
pub fn new_network() -> io::Result<NewNetwork> {
    // a thread of its own, because it is the caller's thread that enters what it makes
    let made = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET)?;
        let namespace = File::open("/proc/thread-self/ns/net").map(OwnedFd::from)?;
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, Some(SockProtocol::NetlinkRoute))?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUPS))?;
        Ok(NewNetwork { namespace, changes: NetworkChanges { socket, found: Interface::default() } })
    });
    made.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
}

/// Makes a network namespace with a bridge called `name` in it, which does nothing: for a program that is to undo what it has done for
/// an interface of this name in a namespace that is gone.
///
/// # Errors
/// The kernel's; [`io::ErrorKind::InvalidInput`] for a name that no interface has (`IFNAMSIZ` of netdevice(7)).
pub fn network_with_bridge(name: &str) -> io::Result<OwnedFd> {
    const ADD_BRIDGE: libc::c_ulong = 0x89a0;
    let text = interface_name(name)?;
    let made = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET)?;
        let namespace = File::open("/proc/thread-self/ns/net").map(OwnedFd::from)?;
        let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
        // SAFETY: the call reads IFNAMSIZ bytes at the pointer, which are there until it returns.
        if unsafe { libc::ioctl(socket.as_raw_fd(), ADD_BRIDGE, text.as_ptr()) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(namespace)
    });
    made.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
}

/// Gives an interface of the machine a hardware address (`SIOCSIFHWADDR` of netdevice(7)). A bridge keeps it, where it would otherwise
/// take another as interfaces come to it and go.
///
/// # Errors
/// The kernel's; [`io::ErrorKind::InvalidInput`] for a name that no interface has.
pub fn set_hardware_address(interface: &str, address: [u8; 6]) -> io::Result<()> {
    let named = interface_name(interface)?.map(|byte| byte as libc::c_char);
    let mut data = [0; 14];
    for (place, byte) in data.iter_mut().zip(address) {
        *place = byte as libc::c_char;
    }
    let hardware = libc::sockaddr { sa_family: libc::ARPHRD_ETHER, sa_data: data };
    let asked =
        libc::ifreq { ifr_name: named, ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_hwaddr: hardware } };
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    // SAFETY: the call reads one ifreq at the pointer, which is there until it returns.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFHWADDR as _, &raw const asked) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn interface_name(name: &str) -> io::Result<[u8; libc::IFNAMSIZ]> {
    let mut text = [0; libc::IFNAMSIZ];
    if name.is_empty() || name.len() >= text.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    text[..name.len()].copy_from_slice(name.as_bytes());
    Ok(text)
}

impl NetworkChanges {
    /// What was made so far.
    ///
    /// # Errors
    /// The kernel's.
    pub fn look(&mut self) -> io::Result<&Interface> {
        let mut packet = vec![0; 16 << 10];
        loop {
            match recv(self.socket.as_raw_fd(), &mut packet, MsgFlags::MSG_DONTWAIT) {
                Ok(length) => self.found.note(&packet[..length]),
                Err(Errno::EAGAIN) => return Ok(&self.found),
                // ENOBUFS: something was left out
                Err(Errno::EINTR | Errno::ENOBUFS) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

impl AsFd for NetworkChanges {
    /// Readable when something was made.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Interface {
    /// True if it leads out by IPv4.
    #[must_use]
    pub fn leads_out_by_v4(&self) -> bool {
        self.v4_gateway.is_some() && self.v4.is_some()
    }

    /// True if it leads out by IPv6.
    #[must_use]
    pub fn leads_out_by_v6(&self) -> bool {
        self.v6_gateway.is_some() && self.v6.is_some()
    }

    fn note(&mut self, mut packet: &[u8]) {
        while let Some((kind, message, rest)) = first_message(packet) {
            self.note_message(kind, message);
            packet = rest;
        }
    }

    fn note_message(&mut self, kind: u16, message: &[u8]) {
        const HARDWARE: u16 = 1;
        const ADDRESS: u16 = 1;
        const GATEWAY: u16 = 5;
        let parts = |(known, length): (u16, usize)| {
            (kind == known && message.len() >= length).then(|| message.split_at(length))
        };
        if let Some((_, attributes)) = parts(NEW_LINK) {
            let found = attribute(attributes, HARDWARE).and_then(|bytes| <[u8; 6]>::try_from(bytes).ok());
            // that of a loopback is zero
            self.hardware = found.filter(|address| *address != [0; 6]).or(self.hardware);
        }
        if let Some((fixed, attributes)) = parts(NEW_ADDRESS) {
            let bits = fixed[1];
            match attribute(attributes, ADDRESS).and_then(address) {
                Some(IpAddr::V4(found)) if !found.is_loopback() => self.v4 = Some((found, bits)),
                Some(IpAddr::V6(found)) if !found.is_loopback() && !found.is_unicast_link_local() => {
                    self.v6 = Some((found, bits));
                }
                _ => {}
            }
        }
        if let Some((fixed, attributes)) = parts(NEW_ROUTE) {
            let is_default = fixed[1] == 0;
            match attribute(attributes, GATEWAY).filter(|_| is_default).and_then(address) {
                Some(IpAddr::V4(found)) => self.v4_gateway = Some(found),
                Some(IpAddr::V6(found)) => self.v6_gateway = Some(found),
                None => {}
            }
        }
    }
}

/// The kind of the first message of a packet, what is in it, and the messages after it.
fn first_message(packet: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    const HEADER: usize = 16;
    let length = u32::from_ne_bytes(*packet.first_chunk()?) as usize;
    let kind = u16::from_ne_bytes([*packet.get(4)?, *packet.get(5)?]);
    let message = packet.get(HEADER..length)?;
    Some((kind, message, packet.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// The value of an attribute of a message.
fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let [a, b, c, d] = *attributes.first_chunk()?;
        let length = usize::from(u16::from_ne_bytes([a, b]));
        let value = attributes.get(4..length)?;
        if u16::from_ne_bytes([c, d]) == wanted {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, fixed: &[u8], attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = fixed.to_vec();
        for (name, value) in attributes {
            let length = u16::try_from(4 + value.len()).unwrap();
            body.extend(length.to_ne_bytes().iter().chain(&name.to_ne_bytes()).chain(*value));
            body.resize(body.len().next_multiple_of(4), 0);
        }
        let length = u32::try_from(16 + body.len()).unwrap();
        [length.to_ne_bytes().as_slice(), &kind.to_ne_bytes(), &[0; 10], &body].concat()
    }

    #[test]
    fn what_a_program_makes_of_an_interface_is_read() {
        let made = [
            message(16, &[0; 16], &[(3, b"lo\0"), (1, &[0; 6])]),
            message(16, &[0; 16], &[(3, b"eth0\0"), (1, &[2, 0, 0, 0, 0, 7])]),
            message(20, &[2, 24, 0, 0, 0, 0, 0, 0], &[(2, &[10, 0, 0, 2]), (1, &[10, 0, 0, 2])]),
            message(24, &[2, 24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[(1, &[10, 0, 0, 0])]),
            message(24, &[2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[(4, &[1, 0, 0, 0]), (5, &[10, 0, 0, 1])]),
        ];
        let mut found = Interface::default();
        found.note(&made[..3].concat());
        assert!(!found.leads_out_by_v4());
        found.note(&made[3..].concat());
        assert!(found.leads_out_by_v4() && !found.leads_out_by_v6());
        let expected = Interface {
            hardware: Some([2, 0, 0, 0, 0, 7]),
            v4: Some((Ipv4Addr::new(10, 0, 0, 2), 24)),
            v4_gateway: Some(Ipv4Addr::new(10, 0, 0, 1)),
            ..Interface::default()
        };
        assert_eq!(found, expected);
        // a packet that ends early, an attribute that says it is longer than it is
        for end in 0..made[1].len() {
            Interface::default().note(&made[1][..end]);
        }
        Interface::default().note(&message(16, &[0; 16], &[])[..]);
        assert_eq!(attribute(&[9, 0, 1, 0, 5], 1), None);
        assert_eq!(attribute(&[0, 0, 7, 0, 5], 1), None);
    }
}
