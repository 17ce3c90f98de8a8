//! The files of a container's log: `log`, to which the newest lines go, and `log.1`, `log.2` and so on, which are older the higher
//! their number is.

use nix::fcntl::OFlag;
use rbuild_cache::create_private_file;
use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// More files are not looked for.
const MOST: u32 = 1000;

/// The name of the file that is so many rotations old.
pub(super) fn rotated(path: &Path, age: u32) -> PathBuf {
    if age == 0 {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{age}"));
    name.into()
}

/// Makes room for a new `log`: there are at most `count` files afterwards.
pub(super) fn rotate(path: &Path, count: u32) -> io::Result<()> {
    let absent = |error: io::Error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) };
    if count <= 1 {
        return fs::remove_file(path).or_else(absent);
    }
    for age in (0..count - 1).rev() {
        fs::rename(rotated(path, age), rotated(path, age + 1)).or_else(absent)?;
    }
    Ok(())
}

/// Opens the newest file for appending.
pub(super) fn append_to(path: &Path) -> io::Result<File> {
    match create_private_file(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => drop(made?),
    }
    open(path, File::options().append(true))
}

/// Opens a file of the log. A pipe in its place would be waited for.
fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let file = options.custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits()).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")),
    }
}

/// All files, the oldest first.
pub(super) fn open_all(path: &Path) -> io::Result<VecDeque<File>> {
    let mut files: VecDeque<File> = VecDeque::new();
    // the newest first, so that none is missed that gets older meanwhile
    for age in 0..MOST {
        let file = match open(&rotated(path, age), File::options().read(true)) {
            // one that is about to be made
            Err(error) if error.kind() == io::ErrorKind::NotFound && age == 0 => continue,
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            opened => opened?,
        };
        let is_known = match files.front() {
            Some(newer) => identity(newer)? == identity(&file)?,
            None => false,
        };
        if !is_known {
            files.push_front(file);
        }
    }
    Ok(files)
}

/// The files that are newer than `file`, the oldest of them first.
pub(super) fn newer_than(path: &Path, file: &File) -> io::Result<VecDeque<File>> {
    let own = identity(file)?;
    match fs::metadata(path) {
        Ok(newest) if (newest.dev(), newest.ino()) == own => return Ok(VecDeque::new()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(VecDeque::new()),
        _ => {}
    }
    let mut files = open_all(path)?;
    let mut place = None;
    for (index, other) in files.iter().enumerate() {
        if identity(other)? == own {
            place = Some(index + 1);
        }
    }
    drop(files.drain(..place.unwrap_or(0)));
    Ok(files)
}

fn identity(file: &File) -> io::Result<(u64, u64)> {
    file.metadata().map(|found| (found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    fn texts(files: VecDeque<File>) -> Vec<String> {
        let text = |mut file: File| {
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            text
        };
        files.into_iter().map(text).collect()
    }

    #[test]
    fn files_get_older_and_the_oldest_go() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut first = None;
        for text in ["a", "b", "c", "d"] {
            rotate(&path, 3).unwrap();
            append_to(&path).unwrap().write_all(text.as_bytes()).unwrap();
            first.get_or_insert_with(|| File::open(&path).unwrap());
        }
        assert_eq!(texts(open_all(&path).unwrap()), ["b", "c", "d"]);
        let middle = File::open(rotated(&path, 1)).unwrap();
        assert_eq!(texts(newer_than(&path, &middle).unwrap()), ["d"]);
        assert_eq!(texts(newer_than(&path, &first.unwrap()).unwrap()), ["b", "c", "d"], "it is gone");
        assert!(newer_than(&path, &File::open(&path).unwrap()).unwrap().is_empty());
        rotate(&path, 1).unwrap();
        assert!(!path.exists());
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(open_all(&path).unwrap_err().to_string(), "it is no regular file");
        assert!(append_to(&path).is_err());
    }
}
