//! Files of `/proc` and the like, whose length is not known before they are read.

use std::{
    fs::File,
    io::{self, ErrorKind, Read},
    path::Path,
};

/// Longer than nearly all of them.
const READ_AT_ONCE: usize = 8 << 10;

/// The text of such a file, in one read where it fits: the kernel writes it anew for each, and between two reads its
/// subject may have changed.
///
/// # Errors
/// The kernel's; [`ErrorKind::InvalidData`] when it is not UTF-8.
pub fn read_proc(path: impl AsRef<Path>) -> io::Result<String> {
    String::from_utf8(read_proc_bytes(path)?).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
}

/// The same, of a file that may hold any bytes.
///
/// # Errors
/// The kernel's.
pub(crate) fn read_proc_bytes(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let mut bytes = vec![0; READ_AT_ONCE];
    let mut length = 0;
    loop {
        match file.read(&mut bytes[length..]) {
            Ok(0) => {
                bytes.truncate(length);
                return Ok(bytes);
            }
            Ok(count) => {
                length += count;
                bytes.resize(bytes.len().max(length + READ_AT_ONCE / 2), 0);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn files_are_read_to_their_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        for length in [0, 1, READ_AT_ONCE, READ_AT_ONCE + 1, 5 * READ_AT_ONCE] {
            let text = "x".repeat(length);
            fs::write(&path, &text).unwrap();
            assert!(read_proc(&path).unwrap() == text, "{length} bytes");
        }
        fs::write(&path, b"\xff").unwrap();
        assert_eq!(read_proc(&path).unwrap_err().kind(), ErrorKind::InvalidData);
        assert!(read_proc("/proc/self/stat").unwrap().contains(&std::process::id().to_string()));
    }
}
