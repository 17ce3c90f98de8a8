//! Device nodes of the machine.

use super::below_dev;
use crate::DeviceError;
use nix::sys::stat::{major, minor};
use rbuild_executor::{Device, DeviceAccess, DeviceKind};
use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

/// Names in a directory of devices that are none, as Docker leaves them out.
const LEFT_OUT: [&str; 7] = ["pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"];

/// How deep directories of devices are looked through.
const DEEPEST: usize = 16;

/// The device at `source`, or those in the directory that it is, as `target` and below it.
pub(super) fn of_machine(
    source: &Path,
    target: &str,
    access: DeviceAccess,
) -> Result<Vec<Device>, DeviceError> {
    let mut found = Vec::new();
    let fail = |error| DeviceError::Node { path: source.to_owned(), source: error };
    if !fs::metadata(source).map_err(fail)?.is_dir() {
        found.push(one(source, target, access)?);
        return Ok(found);
    }
    let mut todo = vec![(source.to_owned(), PathBuf::from(target), 0)];
    while let Some((directory, shown, depth)) = todo.pop() {
        for entry in fs::read_dir(&directory).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let kind = entry.file_type().map_err(fail)?;
            let (path, shown) = (entry.path(), shown.join(entry.file_name()));
            if LEFT_OUT.iter().any(|name| entry.file_name() == *name) {
                continue;
            }
            if kind.is_dir() && depth < DEEPEST {
                todo.push((path, shown, depth + 1));
            } else if kind.is_char_device() || kind.is_block_device() {
                found.push(one(&path, &shown.to_string_lossy(), access)?);
            }
        }
    }
    if found.is_empty() { Err(fail(not_a_device())) } else { Ok(found) }
}

/// The device whose node is at `source`, through links.
pub(super) fn one(source: &Path, target: &str, access: DeviceAccess) -> Result<Device, DeviceError> {
    let fail = |error| DeviceError::Node { path: source.to_owned(), source: error };
    let node = fs::metadata(source).map_err(fail)?;
    let kind = match node.file_type() {
        kind if kind.is_char_device() => DeviceKind::Character,
        kind if kind.is_block_device() => DeviceKind::Block,
        _ => return Err(fail(not_a_device())),
    };
    let number = node.rdev();
    Ok(Device {
        source: source.to_owned(),
        target: below_dev(target)?,
        kind,
        numbers: (half(major(number)), half(minor(number))),
        mode: node.mode() & 0o7777,
        owner: (node.uid(), node.gid()),
        access,
    })
}

/// The kernel's numbers have 32 bits.
fn half(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn not_a_device() -> io::Error {
    io::Error::other("not a device node")
}
