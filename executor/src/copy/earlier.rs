//! Files that an earlier copy has made already. A layer of a copied tree has a note of what its files are; where the next copy
//! would make the same file at the same path (content and attributes, owner, mode, time), it links to the one that is
//! there. A layer's files never change, so two layers can share them.

use crate::{
    draft::Policy,
    rooted::{Rooted, join},
    select::{Entry, Kind, Meta, Tree},
};
use rbuild_cache::{LayerId, Store};
use rbuild_oci::Digest;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, openat};
use std::{
    collections::{HashMap, HashSet},
    ops::Range,
    os::fd::OwnedFd,
};

/// The name of the note beside a layer.
pub(super) const NOTE: &str = "copied";
/// The first bytes of a note.
const MAGIC: &[u8] = b"rbuild-copied 1\n";
/// Digest, mode, owner, group, seconds and nanoseconds.
const FACTS: usize = 32 + 3 * 4 + 8 + 4;
/// With fewer files than this a note costs more than it saves.
const FEWEST_FILES: usize = 128;

type Facts = [u8; FACTS];

/// The layer of an earlier copy.
pub(crate) struct Earlier {
    fs: Rooted,
    note: Vec<u8>,
    /// Where the files of each directory are in the note.
    dirs: HashMap<Vec<u8>, Range<usize>>,
}

/// A directory of such a layer, with the files that can be linked to, sorted by name.
pub(super) struct EarlierDir<'a> {
    fd: OwnedFd,
    files: Vec<(&'a [u8], &'a [u8])>,
}

impl Earlier {
    /// The layer, if it is here and has a note.
    pub(crate) fn open(store: &Store, layer: &LayerId) -> Option<Self> {
        let note = store.layer_note(layer, NOTE)?;
        let dirs = parse(&note)?;
        // a layer of a lower store is a link, and stays as it is
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fs = openat(CWD, store.layer_fs(layer), flags, Mode::empty()).ok()?;
        Some(Self { fs: Rooted::new(fs), note, dirs })
    }

    /// Its directory at `path`.
    pub(super) fn dir(&self, path: &[u8]) -> Option<EarlierDir<'_>> {
        let mut rest = &self.note[self.dirs.get(path)?.clone()];
        let mut files = Vec::new();
        while !rest.is_empty() {
            files.push((counted(&mut rest)?, take(&mut rest, FACTS)?));
        }
        Some(EarlierDir { fd: self.fs.try_open_dir(path).ok()?, files })
    }
}

impl EarlierDir<'_> {
    /// Makes `name` in `to` a link to the same file of the earlier layer; false where there is none, or it cannot be linked to.
    pub(super) fn link(&self, name: &[u8], (entry, meta): (&Entry, &Meta), to: &OwnedFd) -> bool {
        let Some(content) = entry.content else { return false };
        let Ok(place) = self.files.binary_search_by(|(known, _)| (*known).cmp(name)) else { return false };
        self.files[place].1 == facts(&content, meta)
            && linkat(&self.fd, name, to, name, AtFlags::empty()).is_ok()
    }
}

/// The note of a layer to which `tree` was copied, at `top`; `None` where it is not worth one.
pub(super) fn note(tree: &Tree, top: &[u8], policy: &Policy) -> Option<Vec<u8>> {
    let files = |entry: &&Entry| entry.kind == Kind::File && entry.content.is_some();
    if tree.dirs.iter().map(|dir| dir.entries.iter().filter(files).count()).sum::<usize>() < FEWEST_FILES {
        return None;
    }
    // each of these is one file of the layer, not a file of its own
    let linked: HashSet<(u32, u32)> = tree.hard_links().into_iter().flatten().collect();
    let base = tree.dirs[0].path.len();
    let (mut out, mut listed) = (MAGIC.to_vec(), Vec::new());
    for (id, dir) in tree.dirs.iter().enumerate() {
        listed.clear();
        for (index, entry) in dir.entries.iter().enumerate().filter(|(_, entry)| entry.kind == Kind::File) {
            let Some(content) = entry.content else { continue };
            if !linked.contains(&(id as u32, index as u32)) {
                put(dir.text(entry.name), &mut listed);
                listed.extend_from_slice(&facts(&content, &policy.apply(entry.meta, entry.kind)));
            }
        }
        if !listed.is_empty() {
            let below = &dir.path[base..];
            put(&join(top, below.strip_prefix(b"/").unwrap_or(below)), &mut out);
            put(&listed, &mut out);
        }
    }
    let sum = Digest::of(&out);
    out.extend_from_slice(sum.as_bytes());
    Some(out)
}

/// Where the files of each directory are; `None` when the note is damaged or of another version.
fn parse(note: &[u8]) -> Option<HashMap<Vec<u8>, Range<usize>>> {
    let (whole, sum) = note.split_last_chunk::<32>()?;
    let mut rest = whole.strip_prefix(MAGIC).filter(|_| Digest::of(whole).as_bytes() == sum)?;
    let mut dirs = HashMap::new();
    while !rest.is_empty() {
        let path = counted(&mut rest)?.to_vec();
        let files = counted(&mut rest)?;
        let end = whole.len() - rest.len();
        dirs.insert(path, end - files.len()..end);
    }
    Some(dirs)
}

/// Everything that two files must agree in, besides their names.
fn facts(content: &Digest, meta: &Meta) -> Facts {
    let mut facts = [0; FACTS];
    facts[..32].copy_from_slice(content.as_bytes());
    for (place, number) in [meta.mode, meta.uid, meta.gid].into_iter().enumerate() {
        facts[32 + 4 * place..][..4].copy_from_slice(&number.to_le_bytes());
    }
    facts[44..52].copy_from_slice(&meta.mtime.seconds.to_le_bytes());
    facts[52..].copy_from_slice(&(meta.mtime.nanoseconds as u32).to_le_bytes());
    facts
}

fn put(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn counted<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take(rest, 4)?.try_into().map(u32::from_le_bytes).ok()?;
    take(rest, length as usize)
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken)
}
