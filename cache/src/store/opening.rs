//! Making a store and recognizing one: its layout, the number of its format, and its writer.

use super::writer::Writer;
use crate::{
    StoreError,
    disk::{
        TemporarySpace, make_dirs,
        whole_file::{self, Durability},
    },
};
use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

/// The store format this code writes and the newest it reads.
const FORMAT: u32 = 3;
/// The last format whose stores may have no file that names the writer.
const WITHOUT_WRITER: u32 = 1;

const DIRECTORIES: [&str; 21] = [
    "blobs/sha256",
    "refs",
    "images",
    "manifests",
    "lists",
    "layers",
    "index",
    "contexts",
    "recent",
    "mounts",
    "containers",
    "volumes",
    "networks",
    "builds",
    "locks",
    "tmp",
    "partial",
    "sources/web",
    "uploads",
    "sources/git",
    "empty",
];

/// What was there before a store was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// A store.
    Found,
    /// Nothing: it was made.
    Made,
}

/// Sees that `root` is a store that `opener` may use, and makes it one when there is nothing.
pub(super) fn open(root: &Path, opener: &Writer) -> Result<Opened, StoreError> {
    let path = root.join("version");
    let (opened, recorded) = match whole_file::read(&path)? {
        Some(recorded) => (Opened::Found, recorded),
        None => (Opened::Made, create(root, opener)?),
    };
    let not_a_store = || StoreError::NotAStore { root: root.to_owned() };
    let number = std::str::from_utf8(&recorded).ok().and_then(|text| text.trim().parse().ok());
    let found: u32 = number.ok_or_else(not_a_store)?;
    if found > FORMAT {
        return Err(StoreError::NewerStore { root: root.to_owned(), found, known: FORMAT });
    }
    if found <= WITHOUT_WRITER {
        adopt(root, &path, opener)?;
    }
    check(root, opener)?;
    if found < FORMAT {
        // an older rbuild would take a layer without files for one that is empty
        replace(root, "version", version().as_bytes())?;
    }
    Ok(opened)
}

/// Sees that `root` is a store that `opener` may look into; nothing is written there.
pub(super) fn look_into(root: &Path, opener: &Writer) -> Result<(), StoreError> {
    let not_a_store = || StoreError::NotAStore { root: root.to_owned() };
    let recorded = whole_file::read(&root.join("version"))?.ok_or_else(not_a_store)?;
    let number = std::str::from_utf8(&recorded).ok().and_then(|text| text.trim().parse().ok());
    match number.ok_or_else(not_a_store)? {
        // it would have to be written to before it can be used
        0..=WITHOUT_WRITER => Err(not_a_store()),
        found if found > FORMAT => {
            Err(StoreError::NewerStore { root: root.to_owned(), found, known: FORMAT })
        }
        _ => {
            let path = root.join("writer");
            let bytes = whole_file::read(&path)?.ok_or_else(not_a_store)?;
            let writer: Writer =
                serde_json::from_slice(&bytes).map_err(|source| StoreError::Document { path, source })?;
            let agree = match (&writer, opener) {
                (Writer::Root, Writer::Root) => true,
                (Writer::User { uid, ids }, Writer::User { uid: own, ids: present }) => {
                    uid == own && ids == present
                }
                (Writer::Root | Writer::User { .. }, _) => false,
            };
            if agree { Ok(()) } else { Err(other_writer(root, &writer, opener)) }
        }
    }
}

/// Makes the layout. The version comes last: a store that has one has everything else. Returns the version's file.
fn create(root: &Path, opener: &Writer) -> Result<Vec<u8>, StoreError> {
    make_dirs(root)?;
    // a home directory must never become a store
    let foreign = fs::read_dir(root).map_err(StoreError::on("read", root))?.flatten().any(|entry| {
        let name = entry.file_name();
        let known = |first: &str| name.to_str() == Some(first);
        !DIRECTORIES.iter().any(|path| known(path.split('/').next().unwrap_or(path)))
            && !["version", "writer", "usage", "reserve", "lost+found"].into_iter().any(known)
    });
    if foreign {
        return Err(StoreError::NotAStore { root: root.to_owned() });
    }
    for directory in DIRECTORIES {
        make_dirs(&root.join(directory))?;
    }
    write_once(root, "writer", &to_json(opener))?;
    write_once(root, "version", version().as_bytes())
}

/// Writes a file if there is none, and returns what it holds: of several processes the first one's bytes stay.
fn write_once(root: &Path, name: &str, bytes: &[u8]) -> Result<Vec<u8>, StoreError> {
    let (path, space) = (root.join(name), TemporarySpace::new(root));
    let unnamed = whole_file::draft(&space, bytes, Durability::DiskLater)?;
    match fs::hard_link(&unnamed, &path) {
        Ok(()) => Ok(bytes.to_owned()),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            whole_file::read(&path)?.ok_or_else(|| StoreError::NotAStore { root: root.to_owned() })
        }
        Err(e) => Err(StoreError::io("create", &path, e)),
    }
}

/// Replaces a file in one step.
fn replace(root: &Path, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
    whole_file::write(&TemporarySpace::new(root), &root.join(name), bytes, Durability::DiskLater)
}

/// Names the writer of a store of format 1: the owner of its `version`, which rbuild itself has made. If that is the
/// opener, the store has a writer from then on.
fn adopt(root: &Path, version_file: &Path, opener: &Writer) -> Result<(), StoreError> {
    is_maker(root, version_file, opener)?;
    write_once(root, "writer", &to_json(opener)).map(drop)
}

/// Sees that `opener` has made `version_file`.
fn is_maker(root: &Path, version_file: &Path, opener: &Writer) -> Result<(), StoreError> {
    let owner = fs::metadata(version_file).map_err(StoreError::on("stat", version_file))?.uid();
    let own = match opener {
        // in its namespace, a user is 0
        Writer::Root | Writer::User { ids: Some(_), .. } => 0,
        Writer::User { uid, ids: None } => *uid,
    };
    if owner != own {
        let writer = if owner == 0 { Writer::Root } else { Writer::User { uid: owner, ids: None } };
        return Err(other_writer(root, &writer, opener));
    }
    Ok(())
}

/// Sees that the store's writer is `opener`, and notes ids that the user has been given since. If the file that names the writer is
/// damaged, the owner of `version` is the writer, who is noted anew.
fn check(root: &Path, opener: &Writer) -> Result<(), StoreError> {
    let not_a_store = || StoreError::NotAStore { root: root.to_owned() };
    let bytes = whole_file::read(&root.join("writer"))?.ok_or_else(not_a_store)?;
    let Ok(writer) = serde_json::from_slice::<Writer>(&bytes) else {
        is_maker(root, &root.join("version"), opener)?;
        return replace(root, "writer", &to_json(opener));
    };
    match (&writer, opener) {
        (Writer::Root, Writer::Root) => Ok(()),
        (Writer::User { uid, ids }, Writer::User { uid: own, ids: present }) if uid == own => {
            match (ids, present) {
                (_, None) => Ok(()),
                (Some(ids), Some(present)) if !present.includes(ids) => {
                    let recorded = ids.to_string();
                    Err(StoreError::OtherIds { root: root.to_owned(), writer, recorded })
                }
                (ids, Some(present)) if ids.as_ref() == Some(present) => Ok(()),
                (_, Some(_)) => replace(root, "writer", &to_json(opener)),
            }
        }
        (Writer::Root | Writer::User { .. }, _) => Err(other_writer(root, &writer, opener)),
    }
}

fn other_writer(root: &Path, writer: &Writer, opener: &Writer) -> StoreError {
    StoreError::OtherWriter { root: root.to_owned(), writer: writer.clone(), opener: opener.clone() }
}

fn version() -> String {
    format!("{FORMAT}\n")
}

fn to_json(writer: &Writer) -> Vec<u8> {
    serde_json::to_vec(writer).expect("a writer is numbers")
}
