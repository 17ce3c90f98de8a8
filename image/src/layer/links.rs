//! Symbolic links on the way to an entry, which lead where they lead in a container: beneath the layer's root, whatever they
//! say. Links of the layers below are not followed: as docker has it, a directory of this layer takes their place.

use super::{
    beneath::Beneath,
    directories::Directories,
    entry_path::{EntryPath, parts},
};
use crate::{ImageError, error::EntryProblem};

/// As the kernel's own limit (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// `path` as it is without the links in it, the last component's too; what is not there yet stays as it is.
pub(super) fn follow(
    path: &EntryPath,
    tree: &mut Beneath,
    directories: &Directories,
) -> Result<EntryPath, ImageError> {
    let mut todo: Vec<Vec<u8>> = parts(path.as_bytes()).rev().map(<[u8]>::to_vec).collect();
    let mut at = EntryPath::root();
    let mut links = 0;
    while let Some(part) = todo.pop() {
        if part == b".." {
            at.pop();
            continue;
        }
        let next = at.join(&part);
        // a path known to be a directory is not a link
        let link = if directories.contains(&next) { None } else { tree.link(&at, &part)? };
        let Some(target) = link else {
            at = next;
            continue;
        };
        links += 1;
        if links > MOST_LINKS {
            return Err(ImageError::entry(path.as_bytes(), EntryProblem::TooManyLinks));
        }
        if target.starts_with(b"/") {
            at = EntryPath::root();
        }
        todo.extend(parts(&target).rev().map(<[u8]>::to_vec));
    }
    Ok(at)
}

/// The same, but for the last component.
pub(super) fn follow_to(
    path: EntryPath,
    tree: &mut Beneath,
    directories: &Directories,
) -> Result<EntryPath, ImageError> {
    let (parent, base) = path.split();
    if directories.contains(&parent) {
        return Ok(path);
    }
    Ok(follow(&parent, tree, directories)?.join(base))
}
