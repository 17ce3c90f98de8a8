//! Which builds run: each holds a lock on one byte of the file `locks/builds`, the byte that its id says. Such a lock
//! (F_OFD_SETLK of fcntl(2)) needs no file of its own and ends with its process.

use super::build_id::BuildId;
use crate::{
    StoreError,
    disk::{make_dirs, open_private_file},
};
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, fcntl},
    libc,
};
use std::{
    fs::File,
    io::{self, ErrorKind},
    path::Path,
};

/// The lock that shows that a build runs. It ends when this is dropped, or with the process.
#[derive(Debug)]
pub(super) struct Running {
    file: File,
    byte: i64,
}

impl Running {
    /// Takes the lock of `id` in the file at `path`.
    pub(super) fn begin(path: &Path, id: &BuildId) -> Result<Self, StoreError> {
        let file = match open_private_file(path) {
            Err(e) if e.kind() == ErrorKind::NotFound => {
                path.parent().map_or(Ok(()), make_dirs)?;
                open_private_file(path)
            }
            opened => opened,
        };
        let file = file.map_err(StoreError::on("open", path))?;
        let byte = byte(id);
        fcntl(&file, FcntlArg::F_OFD_SETLK(&lock(libc::F_WRLCK, byte))).map_err(failed(path))?;
        Ok(Self { file, byte })
    }

    /// True if the build with this id runs, according to the locks on the file at `path`.
    pub(super) fn is(path: &Path, id: &BuildId) -> Result<bool, StoreError> {
        let file = match File::open(path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
            opened => opened.map_err(StoreError::on("open", path))?,
        };
        // a read lock would be refused: the file need not be writable to ask
        let mut found = lock(libc::F_RDLCK, byte(id));
        fcntl(&file, FcntlArg::F_OFD_GETLK(&mut found)).map_err(failed(path))?;
        Ok(i32::from(found.l_type) != libc::F_UNLCK)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // not left to close: a child between fork and exec still shares the open file
        let _ = fcntl(&self.file, FcntlArg::F_OFD_SETLK(&lock(libc::F_UNLCK, self.byte)));
    }
}

/// The byte that an id stands for: its first 15 digits, which no two builds of a store share.
fn byte(id: &BuildId) -> i64 {
    i64::from_str_radix(&id.as_str()[..15], 16).expect("an id is hexadecimal digits")
}

fn lock(kind: i32, byte: i64) -> libc::flock {
    libc::flock {
        l_type: i16::try_from(kind).expect("a small number"),
        l_whence: i16::try_from(libc::SEEK_SET).expect("a small number"),
        l_start: byte,
        l_len: 1,
        l_pid: 0,
    }
}

fn failed(path: &Path) -> impl FnOnce(Errno) -> StoreError + '_ {
    move |errno| StoreError::io("lock", path, io::Error::from(errno))
}
