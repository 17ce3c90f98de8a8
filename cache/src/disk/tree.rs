//! Directory trees as a whole: removing them whatever their modes, and adding up what they hold.

use crate::StoreError;
use std::{
    collections::{HashMap, HashSet},
    fs::{self, Metadata},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// The unit of st_blocks, in bytes (stat(2)).
const BLOCK: u64 = 512;

/// Removes the tree at `path`; one that is not there is fine. Directories that their owner may not search (a build can
/// leave them) are opened first. Nothing is followed.
///
/// # Errors
/// An I/O error when something of it cannot be removed.
pub(crate) fn remove(path: &Path) -> Result<(), StoreError> {
    let removed = match fs::remove_dir_all(path) {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            open_directories(path);
            fs::remove_dir_all(path)
        }
        other => other,
    };
    match removed {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => {
            fs::remove_file(path).map_err(StoreError::on("remove", path))
        }
        other => other.map_err(StoreError::on("remove", path)),
    }
}

/// Adds up the blocks that a file or tree takes on the disk, in bytes; a file with several links counts once. What
/// cannot be read counts as nothing, because this is only ever shown.
pub(crate) fn size(path: &Path) -> u64 {
    sum(path, |file| file.blocks() * BLOCK)
}

/// Adds up the blocks in the same way, without files that have links elsewhere: the bytes that removing the tree would free.
pub(crate) fn own_size(path: &Path) -> u64 {
    let mut found: HashMap<(u64, u64), u64> = HashMap::new();
    let mut bytes = 0;
    visit(path, |file| {
        let mut is_last = || {
            let links = found.entry((file.dev(), file.ino())).or_default();
            *links += 1;
            *links == file.nlink()
        };
        if file.is_dir() || file.nlink() == 1 || is_last() {
            bytes += file.blocks() * BLOCK;
        }
    });
    bytes
}

/// Adds up the lengths of the regular files of a tree in the same way.
pub(crate) fn content(path: &Path) -> u64 {
    sum(path, |file| if file.is_file() { file.len() } else { 0 })
}

fn sum(path: &Path, bytes_of: impl Fn(&Metadata) -> u64) -> u64 {
    let mut linked: HashSet<(u64, u64)> = HashSet::new();
    let mut bytes = 0;
    visit(path, |metadata| {
        let counts =
            metadata.is_dir() || metadata.nlink() == 1 || linked.insert((metadata.dev(), metadata.ino()));
        bytes += if counts { bytes_of(metadata) } else { 0 };
    });
    bytes
}

/// Shows `add` everything in the tree at `path`, itself included.
fn visit(path: &Path, mut add: impl FnMut(&Metadata)) {
    let Ok(top) = fs::symlink_metadata(path) else { return };
    add(&top);
    let mut pending: Vec<PathBuf> = if top.is_dir() { vec![path.to_owned()] } else { Vec::new() };
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            add(&metadata);
            if metadata.is_dir() {
                pending.push(entry.path());
            }
        }
    }
}

fn open_directories(path: &Path) {
    let mut pending = vec![path.to_owned()];
    while let Some(directory) = pending.pop() {
        let _ = fs::set_permissions(&directory, fs::Permissions::from_mode(0o700));
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                pending.push(entry.path());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_goes_whatever_its_modes_and_what_it_links_to_stays() {
        let directory = tempfile::tempdir().unwrap();
        let (tree, other) = (directory.path().join("tree"), directory.path().join("other"));
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::create_dir(&other).unwrap();
        fs::write(other.join("kept"), "x").unwrap();
        std::os::unix::fs::symlink(&other, tree.join("a/link")).unwrap();
        fs::write(tree.join("a/b/file"), "x").unwrap();
        for path in [tree.join("a/b"), tree.join("a")] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
        }
        remove(&tree).unwrap();
        assert!(!tree.exists() && other.join("kept").exists());
        remove(&tree).unwrap();
        remove(&other.join("kept")).unwrap();
        assert!(!other.join("kept").exists(), "a file is a tree of one");
    }

    #[test]
    fn a_size_is_in_blocks_and_counts_links_once() {
        let directory = tempfile::tempdir().unwrap();
        let blocks = |path: &Path| fs::symlink_metadata(path).unwrap().blocks() * BLOCK;
        let [file, link, sparse] = ["file", "link", "sparse"].map(|name| directory.path().join(name));
        fs::write(&file, vec![1; 10_000]).unwrap();
        assert_eq!(size(&file), blocks(&file));
        let one = size(directory.path());
        assert_eq!(one, blocks(directory.path()) + blocks(&file));
        fs::hard_link(&file, &link).unwrap();
        fs::File::create(&sparse).unwrap().set_len(1 << 30).unwrap();
        assert!(size(directory.path()) < one + (1 << 20), "neither a second link nor a hole takes room");
        assert_eq!(size(&directory.path().join("missing")), 0);
    }

    #[test]
    fn what_other_trees_link_to_is_not_a_tree_s_own() {
        let directory = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| directory.path().join(name));
        fs::create_dir(&one).unwrap();
        fs::create_dir(&other).unwrap();
        fs::write(one.join("file"), vec![1; 50_000]).unwrap();
        fs::hard_link(one.join("file"), one.join("again")).unwrap();
        let whole = own_size(&one);
        assert_eq!(whole, size(&one));
        fs::hard_link(one.join("file"), other.join("linked")).unwrap();
        assert!(own_size(&one) < whole - 40_000 && own_size(&other) < 40_000);
        remove(&one).unwrap();
        assert!(own_size(&other) > 40_000, "the last link has it");
    }
}
