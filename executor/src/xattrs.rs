//! Extended attributes as copies carry them: all of them, but those overlayfs keeps for itself, which would change
//! what a layer means. A copy does not fail when one cannot be read or written (Docker logs and goes on).

use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fsetxattr};
use std::{ffi::CStr, os::fd::AsFd};

/// Names and values of one attribute list; larger ones do not exist (`xattr(7)`).
const LIST: usize = 64 << 10;

/// Names and values.
pub type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// The attributes of an open file or directory, sorted by name; none when they cannot be read.
#[must_use]
pub fn read(fd: impl AsFd) -> Xattrs {
    // nearly no file has any: ask with a small buffer on the stack first
    let mut small = [0_u8; 512];
    let mut large = Vec::new();
    let names: &[u8] = match flistxattr(&fd, &mut small) {
        Ok(0) => return Vec::new(),
        Ok(length) => &small[..length],
        Err(rustix::io::Errno::RANGE) => {
            large.resize(LIST, 0);
            let Ok(length) = flistxattr(&fd, large.as_mut_slice()) else { return Vec::new() };
            &large[..length]
        }
        Err(_) => return Vec::new(),
    };
    collect(names, |name, value| fgetxattr(&fd, name, value))
}

/// Sets `attributes` on an open file or directory.
pub(crate) fn write(fd: impl AsFd, attributes: &Xattrs) {
    for (name, value) in attributes {
        let _ = fsetxattr(&fd, name.as_slice(), value, XattrFlags::empty());
    }
}

/// True if an attribute is part of a file's content digest.
pub(crate) fn is_content(name: &[u8]) -> bool {
    name == b"security.capability" || !(name.starts_with(b"security.") || name.starts_with(b"system."))
}

fn collect(names: &[u8], get: impl Fn(&CStr, &mut [u8]) -> rustix::io::Result<usize>) -> Xattrs {
    let mut attributes = Xattrs::new();
    for name in names.split_inclusive(|byte| *byte == 0) {
        let Ok(text) = CStr::from_bytes_with_nul(name) else { continue };
        let name = text.to_bytes();
        if name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.") {
            continue;
        }
        let mut value = vec![0; LIST];
        if let Ok(length) = get(text, &mut value) {
            value.truncate(length);
            attributes.push((name.to_vec(), value));
        }
    }
    attributes.sort_unstable();
    attributes
}
