//! Lines of `context ls`.

use crate::human_size;
use rbuild::{ContextFile, ContextFileKind};
use serde::Serialize;
use std::collections::BTreeMap;

/// One line of `context ls`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContextRow {
    /// How many files are in a directory; empty of anything else.
    pub files: String,
    /// The kind of file.
    pub kind: String,
    /// Relative to the context; a directory ends with a slash.
    pub path: String,
    /// The size in words.
    pub size: String,
    /// The size.
    pub bytes: u64,
}

impl ContextRow {
    /// The line of `file`.
    #[must_use]
    pub fn new(file: &ContextFile) -> Self {
        let path = String::from_utf8_lossy(&file.path);
        let (kind, slash) = match file.kind {
            ContextFileKind::Directory => ("directory", "/"),
            ContextFileKind::File => ("file", ""),
            ContextFileKind::Link => ("link", ""),
            ContextFileKind::Special => ("special", ""),
        };
        Self {
            files: String::new(),
            kind: kind.to_owned(),
            path: format!("{path}{slash}"),
            size: human_size(file.size),
            bytes: file.size,
        }
    }
}

/// The lines of the directories of `files`, the root among them, each with all that is below it; the largest first.
#[must_use]
pub fn directory_rows(files: &[ContextFile]) -> Vec<ContextRow> {
    let mut directories: BTreeMap<&[u8], (u64, u64)> = BTreeMap::from([(&b""[..], (0, 0))]);
    for file in files {
        let is_directory = file.kind == ContextFileKind::Directory;
        if is_directory {
            directories.entry(&file.path).or_default();
        }
        let ends = file.path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        for end in std::iter::once(0).chain(ends) {
            let (bytes, count) = directories.entry(&file.path[..end]).or_default();
            *bytes += file.size;
            *count += u64::from(!is_directory);
        }
    }
    let row = |(path, (bytes, count)): (&[u8], (u64, u64))| {
        let path = if path.is_empty() { ".".into() } else { String::from_utf8_lossy(path) };
        ContextRow {
            files: count.to_string(),
            kind: "directory".to_owned(),
            path: format!("{path}/"),
            size: human_size(bytes),
            bytes,
        }
    };
    let mut rows: Vec<ContextRow> = directories.into_iter().map(row).collect();
    // the order of paths stays among equals
    rows.sort_by_key(|row| std::cmp::Reverse(row.bytes));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_have_the_size_of_all_below() {
        let file = |path: &str, kind, size| ContextFile { path: path.into(), kind, size };
        let files = [
            file("a", ContextFileKind::Directory, 0),
            file("a/b", ContextFileKind::Directory, 0),
            file("a/b/c", ContextFileKind::File, 10),
            file("a/link", ContextFileKind::Link, 0),
            file("d", ContextFileKind::File, 5),
        ];
        let rows: Vec<_> =
            directory_rows(&files).into_iter().map(|row| (row.path, row.bytes, row.files)).collect();
        let expected = [("./", 15, "3"), ("a/", 10, "2"), ("a/b/", 10, "1")];
        assert_eq!(rows, expected.map(|(path, bytes, files)| (path.to_owned(), bytes, files.to_owned())));
        assert_eq!(ContextRow::new(&files[0]).path, "a/");
    }
}
