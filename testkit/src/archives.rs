//! Tars made block by block, with whatever a hostile one may say, and what came of them on the disk.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
};

const BLOCK: usize = 512;

/// A tar being made. Nothing is checked: names may be absolute, sizes may lie.
#[derive(Clone, Debug, Default)]
pub struct Tar(Vec<u8>);

impl Tar {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file.
    #[must_use]
    pub fn file(self, name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        self.entry(b'0', name.as_ref(), "", content.as_ref())
    }

    /// Adds a directory.
    #[must_use]
    pub fn directory(self, name: &str) -> Self {
        self.entry(b'5', name.as_ref(), "", b"")
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(b'2', name.as_ref(), target, b"")
    }

    /// Adds a hard link.
    #[must_use]
    pub fn hard_link(self, name: &str, target: &str) -> Self {
        self.entry(b'1', name.as_ref(), target, b"")
    }

    /// Adds a character device.
    #[must_use]
    pub fn device(self, name: &str, (major, minor): (u8, u8)) -> Self {
        self.changed(b'3', name.as_ref(), &[(329, &[b'0' + major, 0]), (337, &[b'0' + minor, 0])], b"")
    }

    /// Adds a PAX header with these records.
    #[must_use]
    pub fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut body = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let length = (rest..).find(|length| rest + length.to_string().len() == *length);
            body.extend_from_slice(format!("{} {key}=", length.expect("it counts itself")).as_bytes());
            body.extend_from_slice(value);
            body.push(b'\n');
        }
        self.entry(b'x', b"pax", "", &body)
    }

    /// Adds an entry of any type.
    #[must_use]
    pub fn entry(self, flag: u8, name: &[u8], link: &str, content: &[u8]) -> Self {
        self.changed(flag, name, &[(157, link.as_bytes())], content)
    }

    /// Adds an entry whose header has these bytes at these places, its checksum right nevertheless.
    #[must_use]
    pub fn changed(mut self, flag: u8, name: &[u8], changes: &[(usize, &[u8])], content: &[u8]) -> Self {
        let mut block = [0; BLOCK];
        let size = format!("{:011o}\0", content.len());
        let mode: &[u8] = if flag == b'5' { b"0000755\0" } else { b"0000644\0" };
        let fields = [
            (0, name),
            (100, mode),
            (108, b"0000000\0"),
            (116, b"0000000\0"),
            (124, size.as_bytes()),
            (136, b"14524770400\0"),
            (156, &[flag]),
            (257, b"ustar\x0000"),
        ];
        for (at, bytes) in fields.into_iter().chain(changes.iter().copied()) {
            block[at..at + bytes.len()].copy_from_slice(bytes);
        }
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&block);
        self.0.extend_from_slice(content);
        let padded = self.0.len().next_multiple_of(BLOCK);
        self.0.resize(padded, 0);
        self
    }

    /// Adds bytes as they are.
    #[must_use]
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// The tar with its end.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 2 * BLOCK]);
        self.0
    }

    /// The first bytes of it, without an end.
    #[must_use]
    pub fn cut(mut self, length: usize) -> Vec<u8> {
        self.0.truncate(length);
        self.0
    }
}

/// The checksum of gzip, xz and others (RFC 1952, 8).
#[must_use]
pub fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        let crc = crc ^ u32::from(*byte);
        (0..8).fold(crc, |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

/// Everything below `root`, a line each, sorted: `dir d`, `file f "text"`, `link l -> x`, `char c 1:3`.
///
/// # Panics
/// When it cannot be read.
#[must_use]
pub fn described(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    describe(root, root, &mut lines);
    lines.sort();
    lines
}

fn describe(root: &Path, directory: &Path, lines: &mut Vec<String>) {
    for entry in fs::read_dir(directory).expect("a readable directory") {
        let path = entry.expect("a readable directory").path();
        let metadata = fs::symlink_metadata(&path).expect("an entry of a directory");
        let kind = metadata.file_type();
        let name = path.strip_prefix(root).expect("it is below the root").as_os_str().as_encoded_bytes();
        let name = name.escape_ascii();
        lines.push(if kind.is_dir() {
            format!("dir {name}")
        } else if kind.is_symlink() {
            format!("link {name} -> {}", fs::read_link(&path).expect("a link").display())
        } else if kind.is_file() && metadata.len() > 1000 {
            format!("file {name} of {} bytes", metadata.len())
        } else if kind.is_file() {
            format!("file {name} \"{}\"", fs::read(&path).expect("a file").escape_ascii())
        } else if kind.is_char_device() {
            let (major, minor) = (metadata.rdev() >> 8, metadata.rdev() & 0xff);
            format!("char {name} {major}:{minor}")
        } else {
            format!("other {name}")
        });
        if kind.is_dir() {
            describe(root, &path, lines);
        }
    }
}
