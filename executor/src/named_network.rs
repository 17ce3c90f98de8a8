//! The places of containers in networks with names: made before a program starts, undone when it has ended, and cleared away when
//! whoever kept them was killed.

use crate::{ExecutorError, netavark::Netavark, ports::FreePorts};
use rbuild_cache::{
    BoundPort, HeldAttachment, NamedNetwork, NetworkAttachment, NetworkPlace, NetworksLock, Store,
};
use rbuild_sys::network::{Interface, NewNetwork, network_with_bridge, new_network};
use std::{
    fs, io,
    net::IpAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    thread,
    time::Duration,
};

/// How often, and how far apart, the interface of a network that has no containers is looked for: the kernel takes its time to
/// remove what was in a namespace.
const TRIES: u32 = 40;
const PAUSE: Duration = Duration::from_millis(50);

/// A container's places in networks. Dropping it undoes them.
pub(crate) struct Places {
    namespace: OwnedFd,
    store: Store,
    netavark: Netavark,
    all: Vec<Place>,
    ports: Vec<BoundPort>,
    /// So that no other program of the machine takes them.
    _held: FreePorts,
}

/// One of them.
struct Place {
    network: NamedNetwork,
    attachment: NetworkAttachment,
    held: HeldAttachment,
}

/// Sees that the programs are there that networks need, with IPv6 or not.
///
/// # Errors
/// [`ExecutorError::NamedNetwork`], which names the package that is missing.
pub fn check_network_programs(v6: bool) -> Result<(), ExecutorError> {
    Netavark::find(v6).map(drop).map_err(|reason| ExecutorError::NamedNetwork { reason })
}

impl Places {
    /// Makes the places that `planned` says, in this order; the first has the ports.
    pub(crate) fn make(
        store: &Store,
        turn: &NetworksLock,
        planned: Vec<(NamedNetwork, NetworkAttachment)>,
        held: FreePorts,
    ) -> Result<Self, ExecutorError> {
        let netavark = find(planned.iter().any(|(network, _)| network.has_v6()))?;
        let NewNetwork { namespace, .. } =
            new_network().map_err(|error| ExecutorError::system("unshare", b"a network", error))?;
        let ports = held.ports.clone();
        let mut places = Unfinished(
            Some(Self { namespace, store: store.clone(), netavark, all: Vec::new(), ports, _held: held }),
            turn,
        );
        for (network, attachment) in planned {
            places.add(network, attachment)?;
        }
        places.join()?;
        Ok(places.finish())
    }

    pub(crate) fn namespace(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }

    pub(crate) fn ports(&self) -> &[BoundPort] {
        &self.ports
    }

    /// Its interfaces, each with the network that it leads into.
    pub(crate) fn interfaces(&self) -> impl Iterator<Item = (Interface, NetworkPlace)> + '_ {
        self.all.iter().map(|place| (place.interface(), place.shown()))
    }

    /// Where names are asked for: first where those of the outside are known.
    pub(crate) fn name_servers(&self) -> Vec<IpAddr> {
        let (inner, outer): (Vec<_>, Vec<_>) = self.all.iter().partition(|place| place.network.internal);
        let all = outer.into_iter().chain(inner);
        all.flat_map(|place| place.network.subnets.iter().map(|one| one.gateway)).collect()
    }

    fn undo(&mut self, turn: &NetworksLock) {
        for place in std::mem::take(&mut self.all).into_iter().rev() {
            let namespace = Some(self.namespace.as_fd());
            // what cannot be undone now stays written down, and the next command that changes networks tries again
            let _ = undo(&self.store, &self.netavark, turn, place, namespace);
        }
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        if !self.all.is_empty()
            && let Ok(turn) = self.store.lock_networks()
        {
            self.undo(&turn);
        }
    }
}

/// Places that are being made, which are undone under the lock that is held.
struct Unfinished<'a>(Option<Places>, &'a NetworksLock);

impl Unfinished<'_> {
    fn add(&mut self, network: NamedNetwork, attachment: NetworkAttachment) -> Result<(), ExecutorError> {
        let Some(places) = &mut self.0 else { return Ok(()) };
        if places.store.attachments(&network.id)?.is_empty() && has_interface(&network.interface) {
            // it would go with the last container, or become part of the network
            let reason =
                format!("network {}: the machine has another interface {}", network.name, network.interface);
            return Err(ExecutorError::NamedNetwork { reason });
        }
        let state = places.store.network_names(self.1)?;
        let held = places.store.attach(&network.id, &attachment, self.1)?;
        let place = Place { network, attachment, held };
        let made =
            places.netavark.set_up(&state, places.namespace.as_fd(), (&place.network, &place.attachment));
        let name = place.network.name.to_string();
        places.all.push(place);
        made.map_err(|error| ExecutorError::NamedNetwork {
            reason: format!("network {name}: netavark: {error}"),
        })
    }

    /// Makes the names of all of them known in each.
    fn join(&self) -> Result<(), ExecutorError> {
        let Some(places) = &self.0 else { return Ok(()) };
        let state = places.store.network_names(self.1)?;
        let all: Vec<_> = places.all.iter().map(|place| (&place.network, &place.attachment)).collect();
        let joined = places.netavark.join_names(&state, &all);
        joined.map_err(|error| ExecutorError::NamedNetwork {
            reason: format!("the names of networks: {error}"),
        })
    }

    fn finish(mut self) -> Places {
        self.0.take().expect("it is taken once")
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(places) = &mut self.0 {
            places.undo(self.1);
        }
    }
}

impl Place {
    fn interface(&self) -> Interface {
        let mut interface = Interface { hardware: Some(self.attachment.hardware), ..Interface::default() };
        for (subnet, address) in self.network.subnets.iter().zip(&self.attachment.addresses) {
            let gateway = (!self.network.internal).then_some(subnet.gateway);
            match address {
                IpAddr::V4(address) => {
                    interface.v4 = Some((*address, subnet.subnet.bits()));
                    interface.v4_gateway = gateway.and_then(|gateway| match gateway {
                        IpAddr::V4(gateway) => Some(gateway),
                        IpAddr::V6(_) => None,
                    });
                }
                IpAddr::V6(address) => {
                    interface.v6 = Some((*address, subnet.subnet.bits()));
                    interface.v6_gateway = gateway.and_then(|gateway| match gateway {
                        IpAddr::V6(gateway) => Some(gateway),
                        IpAddr::V4(_) => None,
                    });
                }
            }
        }
        interface
    }

    fn shown(&self) -> NetworkPlace {
        NetworkPlace {
            name: self.network.name.to_string(),
            id: self.network.id.clone(),
            aliases: self.attachment.aliases.clone(),
        }
    }
}

/// Undoes the places in `network` of containers whose keepers were killed, and what is left of it in the kernel if it has no others.
///
/// # Errors
/// [`ExecutorError::NamedNetwork`] when something stays; what is written down of it stays too.
pub fn clear_network(
    store: &Store,
    network: &NamedNetwork,
    turn: &NetworksLock,
) -> Result<(), ExecutorError> {
    let left = store.left_attachments(&network.id, turn)?;
    if left.is_empty() {
        return Ok(());
    }
    let netavark = find(network.has_v6())?;
    for (attachment, held) in left {
        let place = Place { network: network.clone(), attachment, held };
        undo(store, &netavark, turn, place, None)?;
    }
    Ok(())
}

/// Has a container that runs in `network` found as `to` there, and no longer as `from`.
///
/// # Errors
/// [`ExecutorError::NamedNetwork`]; when the files of the network cannot be read.
pub fn rename_in_network(
    store: &Store,
    place: (&NamedNetwork, &NetworkAttachment),
    names: (&str, &str),
    turn: &NetworksLock,
) -> Result<(), ExecutorError> {
    let state = store.network_names(turn)?;
    Netavark::rename(&state, place, names).map_err(|error| ExecutorError::NamedNetwork {
        reason: format!("network {}: the container is still found as {}: {error}", place.0.name, names.0),
    })
}

fn find(v6: bool) -> Result<Netavark, ExecutorError> {
    Netavark::find(v6).map_err(|reason| ExecutorError::NamedNetwork { reason })
}

/// Undoes a place; `namespace` is that of its container, if that is still there. A container may have changed what it finds there,
/// so that netavark stops in the middle: then it is told of another namespace with an interface of that name.
fn undo(
    store: &Store,
    netavark: &Netavark,
    turn: &NetworksLock,
    place: Place,
    namespace: Option<BorrowedFd<'_>>,
) -> Result<(), ExecutorError> {
    let Place { network, attachment, held } = place;
    let state = store.network_names(turn)?;
    let others = store.attachments(&network.id)?.iter().any(|one| one.container != attachment.container);
    let reason = |error: io::Error| ExecutorError::NamedNetwork {
        reason: format!("network {}: netavark: {error}", network.name),
    };
    let mut undone = match namespace {
        Some(namespace) => netavark.tear_down(&state, namespace, (&network, &attachment)),
        None => Err(io::ErrorKind::NotFound.into()),
    };
    if undone.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::TimedOut) {
        return undone.map_err(reason);
    }
    for _ in 0..TRIES {
        if undone.is_ok() && (others || !has_interface(&network.interface)) {
            break;
        }
        let stand_in = network_with_bridge(&attachment.interface).map_err(reason)?;
        let tried = netavark.tear_down(&state, stand_in.as_fd(), (&network, &attachment));
        match tried {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => return Err(reason(error)),
            // it complains of what is gone already
            _ if others || !has_interface(&network.interface) => undone = Ok(()),
            tried => {
                undone = tried;
                thread::sleep(PAUSE);
            }
        }
    }
    if !others && has_interface(&network.interface) {
        return Err(reason(undone.err().unwrap_or_else(|| {
            io::Error::other(format!("the interface {} is still there", network.interface))
        })));
    }
    if !others {
        // with the names of who was not torn down, as after the machine went down
        let _ = fs::remove_file(state.join("aardvark-dns").join(&network.id));
        netavark.forget_loopback(&network).map_err(reason)?;
    }
    Ok(held.release(turn)?)
}

/// True if this machine has the interface; read by way of this process, because the `/sys` that is mounted may show another network.
#[must_use]
pub fn has_interface(interface: &str) -> bool {
    interfaces(Path::new("/proc/self/net/dev")).iter().any(|found| found == interface)
}

fn interfaces(table: &Path) -> Vec<String> {
    let text = fs::read_to_string(table).unwrap_or_default();
    let names = text.lines().filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()));
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_loopback_and_nothing_by_a_strange_name() {
        assert!(has_interface("lo"));
        assert!(!has_interface("br-nothing") && !has_interface("") && !has_interface("l"));
    }
}
