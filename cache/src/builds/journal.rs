//! The files of lines, `builds/<number>.jsonl`, in the order of their numbers. A line is
//! `{"id","begun","subject","planned"?,"end"?}`; the later line of a build replaces the earlier one. Each write begins
//! and ends with a newline, so that a line that a killed process wrote in part does not spoil any other line.

use super::{
    build_id::BuildId,
    record::{BuildEnd, BuildSubject, RecordedStep},
};
use crate::{
    StoreError,
    disk::{list, make_dirs, open_private_file, whole_file},
};
use rbuild_oci::Timestamp;
use serde::{Deserialize, Serialize};
use std::{
    fs::File,
    io::{ErrorKind, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Once the newest file has this many bytes, lines go into a new one.
const FULL: u64 = 128 << 10;

/// A line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) id: BuildId,
    pub(super) begun: Timestamp,
    pub(super) subject: BuildSubject,
    /// The steps of the plan, if the build carries some out; the steps of its end replace them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) planned: Vec<RecordedStep>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) end: Option<BuildEnd>,
}

/// An open file of lines.
#[derive(Debug)]
pub(super) struct Lines {
    file: File,
    path: PathBuf,
}

/// The file that a line was appended to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Appended {
    /// A file that held other lines already.
    ToOld,
    /// A new file, of which it is the first line.
    ToNew,
}

/// Appends a line to the newest file in `directory`.
pub(super) fn append(directory: &Path, line: &Line) -> Result<(Lines, Appended), StoreError> {
    let bytes = bytes(line);
    let newest = numbers(directory)?.into_iter().max();
    if let Some(number) = newest {
        let lines = Lines::open(path(directory, number))?;
        if lines.has_room()? {
            lines.write(&bytes)?;
            return Ok((lines, Appended::ToOld));
        }
    }
    let lines = Lines::open(path(directory, newest.map_or(0, |number| number + 1)))?;
    lines.write(&bytes)?;
    Ok((lines, Appended::ToNew))
}

impl Lines {
    /// Appends a line to this file, or to the newest one of `directory` when this one is full or was removed.
    pub(super) fn append(&mut self, directory: &Path, line: &Line) -> Result<Appended, StoreError> {
        if self.has_room()? {
            return self.write(&bytes(line)).map(|()| Appended::ToOld);
        }
        let appended;
        (*self, appended) = append(directory, line)?;
        Ok(appended)
    }

    fn open(path: PathBuf) -> Result<Self, StoreError> {
        Ok(Self { file: open(&path)?, path })
    }

    fn has_room(&self) -> Result<bool, StoreError> {
        let found = self.file.metadata().map_err(StoreError::on("stat", &self.path))?;
        Ok(found.len() < FULL && found.nlink() > 0)
    }

    /// One write to a file opened for appending: lines of several processes never mix.
    fn write(&self, bytes: &[u8]) -> Result<(), StoreError> {
        (&self.file).write_all(bytes).map_err(StoreError::on("write", &self.path))
    }
}

fn bytes(line: &Line) -> Vec<u8> {
    let mut bytes = vec![b'\n'];
    serde_json::to_writer(&mut bytes, line).expect("a build's record is strings and numbers");
    bytes.push(b'\n');
    bytes
}

/// The numbers of the files in `directory`, unsorted.
pub(super) fn numbers(directory: &Path) -> Result<Vec<u64>, StoreError> {
    let number = |name: &String| name.strip_suffix(".jsonl")?.parse().ok();
    Ok(list(directory)?.iter().filter_map(number).collect())
}

/// The file with this number.
pub(super) fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number}.jsonl"))
}

/// The lines of a file, in the order they were written; none when it is not there.
pub(super) fn read(path: &Path) -> Result<Vec<Line>, StoreError> {
    let bytes = whole_file::read(path)?.unwrap_or_default();
    Ok(lines(&bytes).filter_map(|line| serde_json::from_slice(line).ok()).collect())
}

/// The builds of a file by its lines, without reading what is in them: a build may be there twice.
pub(super) fn read_ids(path: &Path) -> Result<Vec<BuildId>, StoreError> {
    let bytes = whole_file::read(path)?.unwrap_or_default();
    let id = |line: &[u8]| {
        let digits = line.strip_prefix(br#"{"id":""#)?.split(|byte| *byte == b'"').next()?;
        BuildId::parse(std::str::from_utf8(digits).ok()?)
    };
    Ok(lines(&bytes).filter_map(id).collect())
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|byte| *byte == b'\n')
}

fn open(path: &Path) -> Result<File, StoreError> {
    match open_private_file(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => {
            path.parent().map_or(Ok(()), make_dirs)?;
            open_private_file(path).map_err(StoreError::on("open", path))
        }
        opened => opened.map_err(StoreError::on("open", path)),
    }
}
