//! The log of a container, in the form that Kubernetes gave to logs of containers: a line each with the time, the stream, `F` for
//! a line that ends there or `P` for a part of one, and then the bytes as they were written.

use super::packet::OutputStream;
use crate::containers::log_files::{append_to, rotate};
use rbuild_cache::ContainerLog;
use rbuild_oci::Timestamp;
use std::{
    fs::File,
    io::{self, Write},
    path::PathBuf,
};

/// A log that is being written. A disk that has no room costs lines, and the log says how many once there is room again.
pub(super) struct LogWriter {
    path: PathBuf,
    limits: ContainerLog,
    /// Opened when there is something to write.
    file: Option<File>,
    lost: u64,
    /// The stream whose last line has no end yet.
    unfinished: Option<OutputStream>,
}

impl LogWriter {
    pub(super) fn new(path: PathBuf, limits: ContainerLog) -> Self {
        Self { path, limits, file: None, lost: 0, unfinished: None }
    }

    /// Appends what was written to `stream`.
    pub(super) fn append(&mut self, stream: OutputStream, bytes: &[u8], now: Timestamp) {
        if !self.limits.is_kept {
            return;
        }
        let mut entries = Vec::with_capacity(bytes.len() + 64);
        if self.lost > 0 {
            let lost = format!("rbuild: {} pieces of output could not be written here\n", self.lost);
            self.remark_in(&mut entries, lost.as_bytes(), now);
        }
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            entry(&mut entries, stream, line, now);
        }
        if self.write(&entries).is_err() {
            self.lost += 1;
        } else {
            self.lost = 0;
            self.unfinished = (!bytes.ends_with(b"\n")).then_some(stream);
        }
    }

    /// Appends what rbuild itself has to say, whole lines.
    pub(super) fn remark(&mut self, lines: &[u8], now: Timestamp) {
        if self.limits.is_kept {
            let mut entries = Vec::new();
            self.remark_in(&mut entries, lines, now);
            if self.write(&entries).is_ok() {
                self.unfinished = None;
            }
        }
    }

    /// What is said on lines of its own, whatever the program has written before.
    fn remark_in(&self, entries: &mut Vec<u8>, lines: &[u8], now: Timestamp) {
        if let Some(stream) = self.unfinished {
            entry(entries, stream, b"\n", now);
        }
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            entry(entries, OutputStream::Stderr, line, now);
        }
    }

    /// All of `entries`, or nothing of them; in a new file if they do not fit into this one.
    fn write(&mut self, entries: &[u8]) -> io::Result<()> {
        let mut before = self.opened()?.metadata()?.len();
        if self.limits.max_size.is_some_and(|most| before > 0 && before + entries.len() as u64 > most) {
            self.file = None;
            rotate(&self.path, self.limits.max_files.unwrap_or(1))?;
            before = 0;
        }
        let file = self.opened()?;
        let written = file.write_all(entries);
        if written.is_err() {
            file.set_len(before)?;
        }
        written
    }

    fn opened(&mut self) -> io::Result<&mut File> {
        let file = match self.file.take() {
            Some(file) => file,
            None => append_to(&self.path)?,
        };
        Ok(self.file.insert(file))
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
