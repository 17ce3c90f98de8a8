//! Removing what stands in the way in a directory of the host, beneath its descriptor and through no link.

use super::descent::Descent;
use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat, unlinkat},
    io::Errno,
};
use std::{
    ffi::{CStr, CString},
    os::fd::OwnedFd,
};

/// The names in `directory`, sorted.
pub(super) fn names(directory: &OwnedFd) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_owned();
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// The kind of what is called `name` in `directory`; `None` when nothing is.
pub(super) fn kind(directory: &OwnedFd, name: &CStr) -> Result<Option<FileType>, Errno> {
    match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Removes `name` from `directory` with all that is in it; nothing is wrong with what is not there.
pub(super) fn remove_all(directory: &OwnedFd, name: &CStr) -> Result<(), Errno> {
    match kind(directory, name)? {
        None => return Ok(()),
        Some(FileType::Directory) => {}
        Some(_) => return unlinkat(directory, name, AtFlags::empty()),
    }
    let top = openat(directory, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut way = Descent::of_host(top)?;
    way.enter(name)?;
    let mut levels = vec![(name.to_owned(), names(way.here())?)];
    while let Some((name, left)) = levels.last_mut() {
        let Some(inner) = left.pop() else {
            way.leave()?;
            unlinkat(way.here(), &*name, AtFlags::REMOVEDIR)?;
            levels.pop();
            continue;
        };
        match kind(way.here(), &inner)? {
            None => {}
            Some(FileType::Directory) => {
                way.enter(&inner)?;
                levels.push((inner, names(way.here())?));
            }
            Some(_) => unlinkat(way.here(), &inner, AtFlags::empty())?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{DirectoryOptions, StaleFiles, export_root_directory};
    use super::*;
    use crate::layer::EntryTimes;
    use rbuild_cache::Cancel;
    use rustix::fs::{linkat, mkdirat};
    use std::os::fd::AsFd;

    /// More levels than a process has descriptors, and a path longer than the kernel takes.
    const DEPTH: usize = 3000;

    fn deep(top: &OwnedFd) {
        let mut here = openat(top, c".", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let flags = OFlags::WRONLY | OFlags::CREATE;
        drop(openat(top, c"first", flags, Mode::RUSR).unwrap());
        for _ in 0..DEPTH {
            mkdirat(&here, c"a", Mode::RWXU).unwrap();
            here = openat(&here, c"a", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
        }
        drop(openat(&here, c"alone", flags, Mode::RUSR).unwrap());
        drop(openat(&here, c"one", flags, Mode::RUSR).unwrap());
        linkat(&here, c"one", &here, c"two", AtFlags::empty()).unwrap();
    }

    fn links_at_the_bottom(top: &OwnedFd) -> Vec<(CString, u64)> {
        let mut here = openat(top, c".", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..DEPTH {
            here = openat(&here, c"a", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
        }
        let links = |name: &CString| statat(&here, name, AtFlags::SYMLINK_NOFOLLOW).unwrap().st_nlink;
        names(&here).unwrap().into_iter().map(|name| (name.clone(), links(&name))).collect()
    }

    #[test]
    fn a_tree_of_any_depth_is_copied_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let open = |name: &str| {
            std::fs::create_dir_all(directory.path().join(name)).unwrap();
            OwnedFd::from(std::fs::File::open(directory.path().join(name)).unwrap())
        };
        let (from, to) = (open("from"), open("to"));
        deep(&from);
        let options = DirectoryOptions { stale: StaleFiles::Removed, times: EntryTimes::AsTheyAre };
        let path = directory.path().join("to");
        // the second time there is a tree already, and then it is old
        for _ in 0..2 {
            export_root_directory(from.as_fd(), &path, &options, &Cancel::default()).unwrap();
            let found = links_at_the_bottom(&to);
            assert_eq!(found, [(c"alone".into(), 1), (c"one".into(), 2), (c"two".into(), 2)]);
        }
        remove_all(&from, c"a").unwrap();
        export_root_directory(from.as_fd(), &path, &options, &Cancel::default()).unwrap();
        assert_eq!(names(&to).unwrap(), [c"first".to_owned()]);
    }
}
