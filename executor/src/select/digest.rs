//! The content digest of what was selected (`spec` §10.3): names, kinds, permission bits, owners, links, devices,
//! content; hard links among the entries; never times.
//!
//! A directory's listing is encoded into one buffer and hashed at once; a tree's digest is over the listings in path
//! order. Every field has its length before it or a fixed one.

use super::tree::{Dir, Entry, Kind, Tree};
use crate::rooted::FileType;
use rbuild_oci::{Digest, Hasher};

/// The digest of everything below and including the top directory.
pub(crate) fn of_tree(tree: &Tree) -> Digest {
    let base = tree.dirs[0].path.len();
    let mut hasher = Hasher::new();
    hasher.field(b"tree 2");
    let mut listing = Vec::new();
    for id in tree.in_order() {
        let dir = &tree.dirs[id as usize];
        hasher.field(&dir.path[base..]);
        listing.clear();
        encode_dir(dir, &mut listing);
        hasher.field(&listing);
    }
    for group in tree.hard_links() {
        hasher.field(b"link");
        for (id, index) in group {
            let dir = &tree.dirs[id as usize];
            hasher.field(&dir.path[base..]);
            hasher.field(dir.text(dir.entries[index as usize].name));
        }
    }
    hasher.finish()
}

/// The digest of the only entry of `dir`, without its name.
pub(crate) fn of_entry(dir: &Dir, entry: &Entry) -> Digest {
    let mut encoded = b"entry 2".to_vec();
    encode_entry(dir, entry, &mut encoded);
    Digest::of(&encoded)
}

fn encode_dir(dir: &Dir, out: &mut Vec<u8>) {
    for number in [dir.meta.mode, dir.meta.uid, dir.meta.gid] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    let counted = || dir.xattrs.iter().filter(|(name, _)| crate::xattrs::is_content(name));
    out.extend_from_slice(&(counted().count() as u32).to_be_bytes());
    for (name, value) in counted() {
        field(out, name);
        field(out, value);
    }
    for entry in &dir.entries {
        field(out, dir.text(entry.name));
        encode_entry(dir, entry, out);
    }
}

fn encode_entry(dir: &Dir, entry: &Entry, out: &mut Vec<u8>) {
    let (kind, device) = match entry.kind {
        Kind::File => (b'f', 0),
        Kind::Dir(_) => (b'd', 0),
        Kind::Symlink => (b'l', 0),
        Kind::Device(FileType::CharacterDevice, number) => (b'c', number),
        Kind::Device(FileType::BlockDevice, number) => (b'b', number),
        Kind::Device(..) => (b'p', 0),
        Kind::Socket => (b's', 0),
    };
    out.push(kind);
    if matches!(entry.kind, Kind::Dir(_)) {
        // everything about it is in its own listing
        return;
    }
    for number in [entry.meta.mode, entry.meta.uid, entry.meta.gid] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    out.extend_from_slice(&device.to_be_bytes());
    field(out, dir.text(entry.target));
    match &entry.content {
        Some(digest) => {
            out.push(1);
            out.extend_from_slice(digest.as_bytes());
        }
        None => out.push(0),
    }
}

fn field(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}
