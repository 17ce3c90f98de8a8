//! Small files that are there whole or not at all: written in temporary space, then renamed.

use super::{TemporarySpace, create_private_file, list, make_dirs, remove_tree};
use crate::StoreError;
use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, OFlag},
    sys::{
        stat::{UtimensatFlags, utimensat},
        time::TimeSpec,
    },
};
use rbuild_oci::Timestamp;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Longer than nearly all files that are read whole.
const READ_AT_ONCE: usize = 8 << 10;

/// No file that is read whole is longer; a device in its place never ends.
const LONGEST: usize = 256 << 20;

/// When the bytes must be on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Before the name is: after a power cut the old or the new file is there.
    DiskFirst,
    /// With the next sync of the whole store: readers recognize a file that a power cut has emptied.
    DiskLater,
}

/// Replaces the file `path` by one with `bytes`; missing directories are made.
pub(crate) fn write(
    space: &TemporarySpace,
    path: &Path,
    bytes: &[u8],
    durability: Durability,
) -> Result<(), StoreError> {
    let temporary = draft(space, bytes, durability)?;
    rename(&temporary, path).inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}

/// The same, in a directory that must be there: one that another process has removed stays removed.
pub(crate) fn replace(
    space: &TemporarySpace,
    path: &Path,
    bytes: &[u8],
    durability: Durability,
) -> Result<(), StoreError> {
    let temporary = draft(space, bytes, durability)?;
    fs::rename(&temporary, path).map_err(|e| {
        let _ = fs::remove_file(&temporary);
        StoreError::io("create", path, e)
    })
}

/// A file in temporary space with `bytes`, to be given a name.
pub(crate) fn draft(
    space: &TemporarySpace,
    bytes: &[u8],
    durability: Durability,
) -> Result<PathBuf, StoreError> {
    let temporary = space.path("file")?;
    let written = create_private_file(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        if durability == Durability::DiskFirst { file.sync_data() } else { Ok(()) }
    });
    if let Err(e) = written {
        let _ = fs::remove_file(&temporary);
        return Err(StoreError::io("write", &temporary, e));
    }
    Ok(temporary)
}

/// Gives a draft its name, whose directory must be there.
pub(crate) fn replace_by(draft: &Path, path: &Path) -> Result<(), StoreError> {
    fs::rename(draft, path).map_err(StoreError::on("create", path))
}

/// Renames `from` to `to`, making the directories above `to`; they may vanish meanwhile, as empty ones are removed. A directory in the
/// place of a file is damage, and goes.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    for _ in 0..8 {
        match fs::rename(from, to) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                if let Some(parent) = to.parent() {
                    make_dirs(parent)?;
                }
            }
            Err(e) if e.kind() == io::ErrorKind::IsADirectory => remove_tree(to)?,
            renamed => return renamed.map_err(StoreError::on("create", to)),
        }
    }
    fs::rename(from, to).map_err(StoreError::on("create", to))
}

/// The file's bytes, or `None` when it does not exist. A link is followed, because layers of a lower store are links; a pipe or a
/// directory in its place is an empty file, which is a damaged one for every reader.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    read_up_to(path, LONGEST).map_err(|e| StoreError::io("read", path, e))
}

/// The same of a file that is short: one of more than `longest` bytes is as good as empty, which is damaged.
pub(crate) fn read_short(path: &Path, longest: usize) -> Result<Option<Vec<u8>>, StoreError> {
    match read_up_to(path, longest) {
        Err(e) if e.kind() == io::ErrorKind::FileTooLarge => Ok(Some(Vec::new())),
        read => read.map_err(|e| StoreError::io("read", path, e)),
    }
}

fn read_up_to(path: &Path, longest: usize) -> io::Result<Option<Vec<u8>>> {
    let plain = OFlag::O_NONBLOCK.bits();
    let file = File::options().read(true).custom_flags(plain).open(path);
    match file.and_then(|file| read_all(file, longest)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(e) if e.kind() == io::ErrorKind::IsADirectory => Ok(Some(Vec::new())),
        Err(e) => Err(e),
    }
}

/// What is in the place of a file that costs time only.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Nothing,
    /// Something that is no file of at most the length that was asked for: damage.
    Strange,
    Bytes(Vec<u8>),
}

/// Reads the file at `path` if it has at most `longest` bytes. No link is followed, and no pipe waited for.
pub(crate) fn read_plain(path: &Path, longest: u64) -> Result<Found, StoreError> {
    let file = match open_plain(path, File::options().read(true)) {
        Ok(Some(file)) => file,
        Ok(None) => return Ok(Found::Strange),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Found::Nothing);
        }
        Err(e) => return Err(StoreError::io("read", path, e)),
    };
    // a file that grows meanwhile is not read for ever
    match file.metadata() {
        Ok(found) if found.len() > longest => Ok(Found::Strange),
        _ => read_all(file, LONGEST).map(Found::Bytes).map_err(StoreError::on("read", path)),
    }
}

/// The bytes of a file that costs time only; none of what is damaged in the sense of [`read_plain`].
pub(crate) fn read_advice(path: &Path) -> Result<Vec<u8>, StoreError> {
    Ok(match read_plain(path, LONGEST as u64)? {
        Found::Bytes(bytes) => bytes,
        Found::Nothing | Found::Strange => Vec::new(),
    })
}

/// Opens a file that is there; `None` when what is there is no file.
///
/// # Errors
/// The system call's error.
pub(crate) fn open_plain(path: &Path, options: &mut OpenOptions) -> io::Result<Option<File>> {
    match options.custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits()).open(path) {
        Ok(file) => Ok(file.metadata()?.is_file().then_some(file)),
        // a link, a socket, a device without a driver or a pipe without a reader, a directory to be written to
        Err(e)
            if matches!(
                e.raw_os_error().map(Errno::from_raw),
                Some(Errno::ELOOP | Errno::ENXIO | Errno::EISDIR)
            ) =>
        {
            Ok(None)
        }
        Err(e) => Err(e),
    }
}

/// As `std::fs::read`, with half of its calls: it does not ask for the file's length, and it takes a read that leaves
/// room for the end, because a file that has its name does not grow.
fn read_all(mut file: File, longest: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; READ_AT_ONCE];
    let mut length = 0;
    loop {
        match file.read(&mut bytes[length..]) {
            Ok(count) => {
                length += count;
                if length < bytes.len() {
                    bytes.truncate(length);
                    return Ok(bytes);
                }
                if length > longest {
                    return Err(io::ErrorKind::FileTooLarge.into());
                }
                bytes.resize(2 * length, 0);
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// Removes a file; returns true if it was there.
pub(crate) fn remove(path: &Path) -> Result<bool, StoreError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
        Err(e) => Err(StoreError::io("remove", path, e)),
    }
}

/// Removes the files of `directory` that were last used before `limit`; `None` means all.
pub(crate) fn remove_unused(directory: &Path, limit: Option<Timestamp>) -> Result<(), StoreError> {
    for name in list(directory)? {
        let path = directory.join(&name);
        if is_unused(&path, limit) {
            remove(&path)?;
        }
    }
    Ok(())
}

/// True if a file was last used before `limit`; with `None` any is.
pub(crate) fn is_unused(path: &Path, limit: Option<Timestamp>) -> bool {
    let used = || fs::metadata(path).and_then(|file| file.modified()).map(Timestamp::from);
    limit.is_none_or(|limit| used().is_ok_and(|used| used < limit))
}

/// Marks a file as just used: it keeps a running collection from taking a blob, and says how old a use is.
pub(crate) fn refresh(path: &Path) {
    let (accessed, modified) = (TimeSpec::UTIME_OMIT, TimeSpec::UTIME_NOW);
    let _ = utimensat(AT_FDCWD, path, &accessed, &modified, UtimensatFlags::FollowSymlink);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_every_length_are_read_to_their_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        for length in [0, 1, READ_AT_ONCE - 1, READ_AT_ONCE, READ_AT_ONCE + 1, 5 * READ_AT_ONCE] {
            let bytes: Vec<u8> = (0..length).map(|at| at as u8).collect();
            fs::write(&path, &bytes).unwrap();
            assert!(read(&path).unwrap() == Some(bytes), "{length} bytes");
        }
        assert_eq!(read(directory.path()).unwrap(), Some(Vec::new()), "a directory is a damaged file");
        let fifo = directory.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(read(&fifo).unwrap(), Some(Vec::new()), "nothing waits for the other end of a FIFO");
        assert!(read(Path::new("/dev/zero")).is_err(), "what never ends is not read");
    }

    #[test]
    fn advice_is_read_of_files_of_a_sane_length_alone() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("file"), "12345").unwrap();
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", at("endless")).unwrap();
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        fs::create_dir(at("directory")).unwrap();
        assert_eq!(read_plain(&at("file"), 5).unwrap(), Found::Bytes(b"12345".to_vec()));
        assert_eq!(read_plain(&at("file"), 4).unwrap(), Found::Strange);
        for strange in ["link", "endless", "pipe", "socket", "directory"] {
            assert_eq!(read_plain(&at(strange), 5).unwrap(), Found::Strange, "{strange}");
            assert!(open_plain(&at(strange), File::options().write(true)).unwrap().is_none(), "{strange}");
        }
        assert_eq!(read_plain(&at("missing"), 5).unwrap(), Found::Nothing);
        assert_eq!(read_plain(&at("file/below"), 5).unwrap(), Found::Nothing);
        let space = TemporarySpace::new(&at("store"));
        write(&space, &at("directory"), b"again", Durability::DiskLater).unwrap();
        assert_eq!(fs::read(at("directory")).unwrap(), b"again");
    }

    #[test]
    fn a_file_is_replaced_whole_and_only_where_its_directory_is_wanted() {
        let directory = tempfile::tempdir().unwrap();
        let space = TemporarySpace::new(directory.path());
        let path = directory.path().join("a/b/file");
        assert_eq!(read(&path).unwrap(), None);
        assert!(replace(&space, &path, b"x", Durability::DiskLater).is_err(), "its directory was removed");
        for (bytes, durability) in [(&b"one"[..], Durability::DiskLater), (b"two", Durability::DiskFirst)] {
            write(&space, &path, bytes, durability).unwrap();
            assert_eq!(read(&path).unwrap().as_deref(), Some(bytes));
        }
        replace(&space, &path, b"three", Durability::DiskLater).unwrap();
        assert_eq!(read(&path).unwrap().as_deref(), Some(&b"three"[..]));
        assert_eq!(read(&path.join("below")).unwrap(), None, "a file is not a directory");
        assert_eq!((remove(&path).unwrap(), remove(&path).unwrap()), (true, false));
        let left = fs::read_dir(directory.path().join("tmp")).unwrap().next().unwrap().unwrap();
        assert_eq!(fs::read_dir(left.path()).unwrap().count(), 0, "no unfinished file stays behind");
    }
}
