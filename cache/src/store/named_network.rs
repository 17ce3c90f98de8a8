//! Networks that containers find each other in. `networks/<id>/` has what is known of one in `network.json`, and a file in
//! `attached` for each container that has a place in it; `networks/names` is the directory of the program that answers for names.
//!
//! Who changes anything of networks, or has a program change it in the kernel, holds `locks/networks` ([`NetworksLock`]). A file in
//! `attached` is a lease of addresses: it is written before the kernel knows of them, and goes after the kernel has forgotten them. The
//! process that runs the container holds its lock; one whose lock is free was left by a process that was killed, or by a machine
//! that went down.

use super::{container_network::BoundPort, network_name::NetworkName, subnet::Subnet};
use crate::{
    Store, StoreError,
    disk::{
        FileLock, LockMode, OnUnlock, list, make_dirs, remove_tree,
        whole_file::{self, Durability},
    },
};
use rbuild_oci::Timestamp;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fs, io, net::IpAddr, path::PathBuf};

/// What is known of a network.
const RECORD: &str = "network.json";
/// The places in it.
const ATTACHED: &str = "attached";

/// A network with a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedNetwork {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: NetworkName,
    /// When it was made.
    pub created: Timestamp,
    /// Its addresses: of IPv4, and of IPv6 if it has them.
    pub subnets: Vec<NetworkSubnet>,
    /// True if nothing leads out of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub internal: bool,
    /// The interface of the machine that joins its containers.
    pub interface: String,
    /// Bytes of its packets, if not as usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Options as they were written.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// Addresses of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSubnet {
    /// All of them.
    pub subnet: Subnet,
    /// That of the machine.
    pub gateway: IpAddr,
    /// Those that containers get by themselves, if not all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<Subnet>,
}

impl NamedNetwork {
    /// True if it has addresses of IPv6.
    #[must_use]
    pub fn has_v6(&self) -> bool {
        self.subnets.iter().any(|one| !one.subnet.is_v4())
    }
}

/// The hardware address of who has these addresses in a network: nobody else there has it, because nobody else has them.
#[must_use]
pub fn hardware_address<'a>(addresses: impl IntoIterator<Item = &'a IpAddr>) -> [u8; 6] {
    let v4 = addresses.into_iter().find_map(|address| match address {
        IpAddr::V4(address) => Some(address.octets()),
        IpAddr::V6(_) => None,
    });
    let [a, b, c, d] = v4.unwrap_or_default();
    [0x02, 0x42, a, b, c, d]
}

/// The place of a container in a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkAttachment {
    /// The container's id.
    pub container: String,
    /// Its name.
    pub name: String,
    /// The interface in it.
    pub interface: String,
    /// The hardware address of that.
    pub hardware: [u8; 6],
    /// Its addresses, one of each family that the network has.
    pub addresses: Vec<IpAddr>,
    /// Names that it is found by besides its own.
    pub aliases: Vec<String>,
    /// Name servers that are asked for what is not in the network; the machine's when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<IpAddr>,
    /// Its ports that are reached through the machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<BoundPort>,
}

/// The right to change networks.
#[derive(Debug)]
pub struct NetworksLock {
    _lock: FileLock,
}

/// A place that this process keeps for a container. Dropping it leaves a place that is nobody's.
#[derive(Debug)]
pub struct HeldAttachment {
    lock: FileLock,
    path: PathBuf,
}

impl HeldAttachment {
    /// Gives the place up, once the kernel knows nothing of it any more.
    ///
    /// # Errors
    /// An I/O error when its file cannot be removed.
    pub fn release(self, _turn: &NetworksLock) -> Result<(), StoreError> {
        whole_file::remove(&self.path)?;
        drop(self.lock);
        Ok(())
    }
}

impl Store {
    /// Waits for the right to change networks.
    ///
    /// # Errors
    /// An I/O error when the lock file cannot be opened.
    pub fn lock_networks(&self) -> Result<NetworksLock, StoreError> {
        let lock = FileLock::wait(&self.at("locks/networks"), LockMode::Exclusive, OnUnlock::Keep)?;
        Ok(NetworksLock { _lock: lock })
    }

    /// Writes a network down.
    ///
    /// # Errors
    /// An I/O error when it cannot be written.
    pub fn keep_network(&self, network: &NamedNetwork, _turn: &NetworksLock) -> Result<(), StoreError> {
        let json = serde_json::to_vec(network).expect("a network's record is strings and numbers");
        let path = self.network_directory(&network.id).join(RECORD);
        whole_file::write(self.space(), &path, &json, Durability::DiskFirst)
    }

    /// All networks by their names, but for those whose records are damaged.
    ///
    /// # Errors
    /// An I/O error.
    pub fn networks(&self) -> Result<Vec<NamedNetwork>, StoreError> {
        let (mut networks, _) = self.all_networks()?;
        networks.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(networks)
    }

    /// The ids of networks whose records are damaged: nothing else is known of them.
    ///
    /// # Errors
    /// An I/O error.
    pub fn damaged_networks(&self) -> Result<Vec<String>, StoreError> {
        self.all_networks().map(|(_, damaged)| damaged)
    }

    fn all_networks(&self) -> Result<(Vec<NamedNetwork>, Vec<String>), StoreError> {
        let (mut networks, mut damaged) = (Vec::new(), Vec::new());
        for id in list(&self.at("networks"))?.into_iter().filter(|name| is_id(name)) {
            let Some(bytes) = whole_file::read(&self.network_directory(&id).join(RECORD))? else { continue };
            match serde_json::from_slice::<NamedNetwork>(&bytes) {
                // the id is part of paths
                Ok(network) if network.id == id => networks.push(network),
                Ok(_) | Err(_) => damaged.push(id),
            }
        }
        Ok((networks, damaged))
    }

    /// Removes a network in which no container has a place; fine when it is not there.
    ///
    /// # Errors
    /// An I/O error when something of it cannot be removed.
    pub fn remove_network(&self, id: &str, _turn: &NetworksLock) -> Result<(), StoreError> {
        let (place, gone) = (self.network_directory(id), self.space().path("gone")?);
        match fs::rename(&place, &gone) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            renamed => renamed.map_err(StoreError::on("remove", &place))?,
        }
        remove_tree(&gone)
    }

    /// The directory of the program that answers for names, made when it is not there: only the store's owner may look into it.
    ///
    /// # Errors
    /// An I/O error when it cannot be made.
    pub fn network_names(&self, _turn: &NetworksLock) -> Result<PathBuf, StoreError> {
        let path = self.at("networks/names");
        make_dirs(&path)?;
        Ok(path)
    }

    /// Writes down the place of a container in a network, and keeps it.
    ///
    /// # Errors
    /// An I/O error when it cannot be written.
    pub fn attach(
        &self,
        network: &str,
        attachment: &NetworkAttachment,
        _turn: &NetworksLock,
    ) -> Result<HeldAttachment, StoreError> {
        let json = serde_json::to_vec(attachment).expect("a place is strings and numbers");
        let path = self.attachment_path(network, &attachment.container);
        // no program of the kernel's outlives a power cut, so a place may be lost in one
        whole_file::write(self.space(), &path, &json, Durability::DiskLater)?;
        let lock = FileLock::wait(&path, LockMode::Exclusive, OnUnlock::Keep)?;
        Ok(HeldAttachment { lock, path })
    }

    /// The places in a network. One that cannot be read is not shown.
    ///
    /// # Errors
    /// An I/O error when they cannot be listed.
    pub fn attachments(&self, network: &str) -> Result<Vec<NetworkAttachment>, StoreError> {
        let mut attachments = Vec::new();
        for container in list(&self.network_directory(network).join(ATTACHED))? {
            let bytes = whole_file::read(&self.attachment_path(network, &container))?;
            attachments.extend(bytes.and_then(|bytes| read_attachment(&bytes, &container)));
        }
        attachments.sort_by(|a, b| (&a.name, &a.container).cmp(&(&b.name, &b.container)));
        Ok(attachments)
    }

    /// The places in a network that nobody keeps any more, each now kept by this process; what a power cut has emptied goes at once.
    ///
    /// # Errors
    /// An I/O error.
    pub fn left_attachments(
        &self,
        network: &str,
        _turn: &NetworksLock,
    ) -> Result<Vec<(NetworkAttachment, HeldAttachment)>, StoreError> {
        let mut left = Vec::new();
        for container in list(&self.network_directory(network).join(ATTACHED))? {
            let path = self.attachment_path(network, &container);
            let Some(lock) = FileLock::attempt(&path, OnUnlock::Keep)? else { continue };
            let bytes = whole_file::read(&path)?;
            match bytes.and_then(|bytes| read_attachment(&bytes, &container)) {
                Some(attachment) => left.push((attachment, HeldAttachment { lock, path })),
                None => {
                    whole_file::remove(&path)?;
                }
            }
        }
        Ok(left)
    }

    fn attachment_path(&self, network: &str, container: &str) -> PathBuf {
        self.network_directory(network).join(ATTACHED).join(container)
    }

    fn network_directory(&self, id: &str) -> PathBuf {
        self.at("networks").join(id)
    }
}

/// The place of the container whose file this is.
fn read_attachment(bytes: &[u8], container: &str) -> Option<NetworkAttachment> {
    let read: NetworkAttachment = serde_json::from_slice(bytes).ok()?;
    (read.container == container).then_some(read)
}

fn is_id(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Writer;
    use rbuild_oci::Clock;
    use rbuild_testkit::now;

    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("s"), &Writer::Root, Clock::new(now)).unwrap();
        (directory, store)
    }

    fn network(id: char, name: &str) -> NamedNetwork {
        NamedNetwork {
            id: id.to_string().repeat(64),
            name: name.parse().unwrap(),
            created: "2026-05-02T12:00:00Z".parse().unwrap(),
            subnets: vec![NetworkSubnet {
                subnet: "10.89.0.0/24".parse().unwrap(),
                gateway: "10.89.0.1".parse().unwrap(),
                range: None,
            }],
            internal: false,
            interface: "br-aaaaaaaaaaaa".to_owned(),
            mtu: None,
            options: BTreeMap::new(),
            labels: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
        }
    }

    #[test]
    fn places_that_nobody_keeps_are_found_and_others_are_not() {
        let (_directory, store) = store();
        let turn = store.lock_networks().unwrap();
        let made = network('a', "front");
        store.keep_network(&made, &turn).unwrap();
        store.network_names(&turn).unwrap();
        assert_eq!(store.networks().unwrap(), std::slice::from_ref(&made));
        let place = |container: &str| NetworkAttachment {
            container: container.to_owned(),
            name: format!("name-{container}"),
            interface: "eth0".to_owned(),
            hardware: [2, 66, 10, 89, 0, 2],
            addresses: vec!["10.89.0.2".parse().unwrap()],
            aliases: vec!["web".to_owned()],
            servers: Vec::new(),
            ports: Vec::new(),
        };
        let kept = store.attach(&made.id, &place("c1"), &turn).unwrap();
        drop(store.attach(&made.id, &place("c2"), &turn).unwrap());
        fs::write(store.attachment_path(&made.id, "c3"), "").unwrap();
        assert_eq!(store.attachments(&made.id).unwrap(), [place("c1"), place("c2")]);
        let left = store.left_attachments(&made.id, &turn).unwrap();
        assert_eq!(left.iter().map(|(one, _)| one.container.as_str()).collect::<Vec<_>>(), ["c2"]);
        assert!(!store.attachment_path(&made.id, "c3").exists());
        left.into_iter().for_each(|(_, held)| held.release(&turn).unwrap());
        assert_eq!(store.attachments(&made.id).unwrap(), [place("c1")]);
        kept.release(&turn).unwrap();
        store.remove_network(&made.id, &turn).unwrap();
        store.remove_network(&made.id, &turn).unwrap();
        assert!(store.networks().unwrap().is_empty());
    }

    #[test]
    fn a_damaged_record_hides_no_other() {
        let (_directory, store) = store();
        let turn = store.lock_networks().unwrap();
        store.keep_network(&network('b', "back"), &turn).unwrap();
        store.keep_network(&network('c', "front"), &turn).unwrap();
        let path = store.network_directory(&"b".repeat(64)).join(RECORD);
        for damage in [String::from("{"), fs::read_to_string(&path).unwrap().replace("bbbb", "aaaa")] {
            fs::write(&path, damage).unwrap();
            assert_eq!(store.networks().unwrap(), [network('c', "front")]);
            assert_eq!(store.damaged_networks().unwrap(), ["b".repeat(64)]);
        }
    }
}
