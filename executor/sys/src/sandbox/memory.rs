//! Small files that exist in memory only: secrets, and the `/etc/hosts` and `/etc/resolv.conf` of a step.

use super::{MountSource, PartKind};
use crate::{
    SysError,
    mount::{MountAttributes, detached_tmpfs},
};
use nix::{
    fcntl::{OFlag, openat},
    sys::stat::{Mode, fchmod},
    unistd::{Gid, Uid, fchown},
};
use std::{
    fs::File,
    io::Write,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A detached tmpfs whose files can be mounted one by one. Nothing of it reaches a disk except by swapping.
#[derive(Debug)]
pub struct MemoryFiles {
    mount: Arc<OwnedFd>,
    count: usize,
}

impl MemoryFiles {
    /// None yet.
    ///
    /// # Errors
    /// The kernel's.
    pub fn create() -> Result<Self, SysError> {
        let quiet = MountAttributes::NO_SUID.and(MountAttributes::NO_DEV).and(MountAttributes::NO_EXEC);
        let mount = detached_tmpfs(&[(c"mode", c"700")], quiet)?;
        Ok(Self { mount: Arc::new(mount), count: 0 })
    }

    /// A file with the given content, permission bits and owner, to be mounted read-only.
    ///
    /// # Errors
    /// The kernel's.
    pub fn add(&mut self, content: &[u8], mode: u32, owner: (u32, u32)) -> Result<MountSource, SysError> {
        let name = self.count.to_string();
        let fail = |source: std::io::Error| SysError::call("write", "a file in memory", source);
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let file =
            openat(&*self.mount, Path::new(&name), flags, Mode::S_IRUSR).map_err(|e| fail(e.into()))?;
        let mut file = File::from(file);
        file.write_all(content).map_err(fail)?;
        fchown(&file, Some(Uid::from_raw(owner.0)), Some(Gid::from_raw(owner.1)))
            .map_err(|e| fail(e.into()))?;
        fchmod(&file, Mode::from_bits_truncate(mode)).map_err(|e| fail(e.into()))?;
        self.count += 1;
        let quiet = MountAttributes::NO_SUID.and(MountAttributes::NO_DEV).and(MountAttributes::NO_EXEC);
        Ok(MountSource::Part {
            mount: Arc::clone(&self.mount),
            path: PathBuf::from(name),
            kind: PartKind::File,
            attributes: quiet.and(MountAttributes::READ_ONLY),
        })
    }
}
