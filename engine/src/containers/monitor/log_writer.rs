//! The log of a container, in the form that Kubernetes gave to logs of containers: a line each with the time, the stream, `F` for
//! a line that ends there or `P` for a part of one, and then the bytes as they were written.

use super::packet::OutputStream;
use rbuild_cache::create_private_file;
use rbuild_oci::Timestamp;
use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

/// A log that is being written. A disk that has no room costs lines, and the log says how many once there is room again.
pub(super) struct LogWriter {
    path: PathBuf,
    /// Opened when there is something to write.
    file: Option<File>,
    lost: u64,
}

impl LogWriter {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, file: None, lost: 0 }
    }

    /// Appends what was written to `stream`.
    pub(super) fn append(&mut self, stream: OutputStream, bytes: &[u8], now: Timestamp) {
        let mut entries = Vec::with_capacity(bytes.len() + 64);
        if self.lost > 0 {
            let lost = format!("rbuild: {} pieces of output could not be written here\n", self.lost);
            entry(&mut entries, OutputStream::Stderr, lost.as_bytes(), now);
        }
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            entry(&mut entries, stream, line, now);
        }
        if self.write(&entries).is_err() {
            self.lost += 1;
        } else {
            self.lost = 0;
        }
    }

    /// All of `entries`, or nothing of them.
    fn write(&mut self, entries: &[u8]) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(open(&self.path)?),
        };
        let before = file.metadata()?.len();
        let written = file.write_all(entries);
        if written.is_err() {
            file.set_len(before)?;
        }
        written
    }
}

fn entry(entries: &mut Vec<u8>, stream: OutputStream, line: &[u8], now: Timestamp) {
    let name = match stream {
        OutputStream::Stdout => "stdout",
        OutputStream::Stderr => "stderr",
    };
    let (kind, line) = match line.strip_suffix(b"\n") {
        Some(line) => ('F', line),
        None => ('P', line),
    };
    entries.extend_from_slice(format!("{now} {name} {kind} ").as_bytes());
    entries.extend_from_slice(line);
    entries.push(b'\n');
}

fn open(path: &Path) -> io::Result<File> {
    match create_private_file(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => File::options().append(true).open(path),
        made => {
            drop(made?);
            File::options().append(true).open(path)
        }
    }
}
