//! Files that people write: settings and lock files. What stands in their place may be anything, a pipe or an endless device too,
//! so what cannot be read to its end at once is refused.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::{FileTypeExt, OpenOptionsExt},
    path::Path,
};

/// Bytes that a person does not write.
const MOST: u64 = 16 << 20;

/// Whether a link may lead to the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Links {
    /// It may: the file is the user's own.
    Followed,
    /// It may not: the directory may be a stranger's.
    Refused,
}

/// The bytes of the file `path`.
///
/// # Errors
/// The system call's error; [`io::ErrorKind::InvalidInput`] for a file that is refused.
pub(crate) fn read(path: &Path, links: Links) -> io::Result<Vec<u8>> {
    let refused = |why: &str| io::Error::new(io::ErrorKind::InvalidInput, why.to_owned());
    let no_follow = if links == Links::Refused { nix::libc::O_NOFOLLOW } else { 0 };
    let file = File::options().read(true).custom_flags(nix::libc::O_NONBLOCK | no_follow).open(path);
    let file = file.map_err(|error| match error.raw_os_error() {
        Some(nix::libc::ELOOP) if links == Links::Refused => refused("is a link"),
        _ => error,
    })?;
    let kind = file.metadata()?.file_type();
    // people turn settings off with /dev/null
    if !kind.is_file() && !kind.is_char_device() {
        return Err(refused(if kind.is_dir() { "is a directory" } else { "is no regular file" }));
    }
    let mut bytes = Vec::new();
    file.take(MOST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST { Err(refused("is larger than 16 MiB")) } else { Ok(bytes) }
}

/// The text of the file `path`, which may be a link.
///
/// # Errors
/// As [`read`]; [`io::ErrorKind::InvalidData`] when it is not UTF-8.
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(read(path, Links::Followed)?)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::{sys::stat::Mode, unistd::mkfifo};

    #[test]
    fn only_what_ends_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("file"), "text").unwrap();
        std::os::unix::fs::symlink("file", at("link")).unwrap();
        mkfifo(&at("pipe"), Mode::S_IRWXU).unwrap();
        File::create(at("large")).unwrap().set_len(MOST + 1).unwrap();
        assert_eq!(read_text(&at("link")).unwrap(), "text");
        assert_eq!(read_text(Path::new("/dev/null")).unwrap(), "");
        let said = |path: &Path, links| read(path, links).unwrap_err().to_string();
        assert_eq!(said(&at("link"), Links::Refused), "is a link");
        assert_eq!(said(&at("pipe"), Links::Followed), "is no regular file");
        assert_eq!(said(&at("large"), Links::Followed), "is larger than 16 MiB");
        assert_eq!(said(Path::new("/dev/zero"), Links::Followed), "is larger than 16 MiB");
        assert_eq!(said(directory.path(), Links::Followed), "is a directory");
    }
}
