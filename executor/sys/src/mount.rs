//! Mounts as descriptors: made detached, configured, and attached only where a sandbox wants them.
//!
//! Invariant: nothing here is visible in any mount namespace until a sandbox attaches it; a detached mount
//! disappears with its last descriptor, so a killed process leaves none behind (fsopen(2), open_tree(2),
//! mount_setattr(2)).

use crate::SysError;
use std::{
    ffi::{CStr, CString},
    io,
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

/// Attributes of one mount (`MOUNT_ATTR_*` of mount_setattr(2)).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MountAttributes(u64);

impl MountAttributes {
    /// Nothing special.
    pub const NONE: Self = Self(0);
    /// No writes through this mount.
    pub const READ_ONLY: Self = Self(libc::MOUNT_ATTR_RDONLY);
    /// Set-user-id bits and file capabilities have no effect.
    pub const NO_SUID: Self = Self(libc::MOUNT_ATTR_NOSUID);
    /// Device nodes cannot be opened.
    pub const NO_DEV: Self = Self(libc::MOUNT_ATTR_NODEV);
    /// Nothing can be executed.
    pub const NO_EXEC: Self = Self(libc::MOUNT_ATTR_NOEXEC);

    /// Reading a file always changes its access time.
    pub const STRICT_TIMES: Self = Self(libc::MOUNT_ATTR_STRICTATIME);

    /// The attributes of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn bits(self) -> u64 {
        self.0
    }
}

/// Treatment of the mounts below a mount.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Submounts {
    /// Only the one mount.
    Leave,
    /// The whole tree below the path.
    Include,
}

/// A file system being configured, before it is mounted (fsopen(2)).
#[derive(Debug)]
pub struct FilesystemContext {
    fd: OwnedFd,
    kind: &'static CStr,
}

impl FilesystemContext {
    /// Begins a file system of type `kind`, for example `overlay`.
    ///
    /// # Errors
    /// The kernel's: an unknown type, or no right to mount.
    pub fn open(kind: &'static CStr) -> Result<Self, SysError> {
        // SAFETY: the type is a NUL-terminated string; the call only reads it.
        let result = unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), libc::FSOPEN_CLOEXEC) };
        let fd = owned(result).map_err(|source| SysError::call("fsopen", kind.to_string_lossy(), source))?;
        Ok(Self { fd, kind })
    }

    /// Sets the option `key` to `value`.
    ///
    /// # Errors
    /// The kernel's, with the reason it logged, if any.
    pub fn set(&self, key: &CStr, value: &CStr) -> Result<(), SysError> {
        self.configure(libc::FSCONFIG_SET_STRING as i32, Some(key), Some(value))
    }

    /// Turns the option `key` on.
    ///
    /// # Errors
    /// The kernel's, with the reason it logged, if any.
    pub fn set_flag(&self, key: &CStr) -> Result<(), SysError> {
        self.configure(libc::FSCONFIG_SET_FLAG as i32, Some(key), None)
    }

    /// Creates the file system and mounts it, attached nowhere.
    ///
    /// # Errors
    /// The kernel's, with the reason it logged, if any.
    pub fn mount(self, attributes: MountAttributes) -> Result<OwnedFd, SysError> {
        self.configure(libc::FSCONFIG_CMD_CREATE as i32, None, None)?;
        let fd = self.fd.as_raw_fd();
        // SAFETY: fsmount reads only its three integers.
        let result = unsafe { libc::syscall(libc::SYS_fsmount, fd, libc::FSMOUNT_CLOEXEC, attributes.0) };
        owned(result).map_err(|source| SysError::call("fsmount", self.kind.to_string_lossy(), source))
    }

    fn configure(&self, command: i32, key: Option<&CStr>, value: Option<&CStr>) -> Result<(), SysError> {
        let pointer = |text: Option<&CStr>| text.map_or(std::ptr::null(), CStr::as_ptr);
        let fd = self.fd.as_raw_fd();
        // SAFETY: key and value are NUL-terminated strings or null as the command wants; the call only reads
        // them.
        let result =
            unsafe { libc::syscall(libc::SYS_fsconfig, fd, command, pointer(key), pointer(value), 0) };
        if result == 0 {
            return Ok(());
        }
        let source = io::Error::last_os_error();
        let mut subject = self.kind.to_string_lossy().into_owned();
        for (before, text) in [(" option ", key), (" = ", value)] {
            if let Some(text) = text {
                subject.push_str(before);
                subject.push_str(&text.to_string_lossy());
            }
        }
        self.append_log(&mut subject);
        Err(SysError::call("fsconfig", subject, source))
    }

    /// The kernel queues its complaints as lines `e overlay: text` to be read from the context.
    fn append_log(&self, subject: &mut String) {
        let mut line = [0; 256];
        while let Ok(length @ 1..) = nix::unistd::read(&self.fd, &mut line) {
            let text = String::from_utf8_lossy(&line[..length]);
            if let Some(text) = text.strip_prefix("e ") {
                subject.push_str(": ");
                subject.push_str(text.trim_end());
            }
        }
    }
}

/// A detached copy of the mount at `path` below `directory`, showing what is at that path
/// (`OPEN_TREE_CLONE`). Symbolic links in `path` are followed: resolve untrusted paths first and pass an
/// empty path.
///
/// # Errors
/// The kernel's.
pub fn clone_tree(directory: BorrowedFd<'_>, path: &Path, submounts: Submounts) -> Result<OwnedFd, SysError> {
    let fail = |source| SysError::call("open_tree", path.display(), source);
    let name = c_path(path).map_err(fail)?;
    let mut flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | libc::AT_EMPTY_PATH as u32;
    if submounts == Submounts::Include {
        flags |= libc::AT_RECURSIVE as u32;
    }
    // SAFETY: the path is a NUL-terminated string the call only reads.
    let result = unsafe { libc::syscall(libc::SYS_open_tree, directory.as_raw_fd(), name.as_ptr(), flags) };
    owned(result).map_err(fail)
}

/// Adds attributes to a mount held by its descriptor.
///
/// # Errors
/// The kernel's.
pub fn set_mount_attributes(
    mount: BorrowedFd<'_>,
    attributes: MountAttributes,
    submounts: Submounts,
) -> Result<(), SysError> {
    let change = libc::mount_attr { attr_set: attributes.0, attr_clr: 0, propagation: 0, userns_fd: 0 };
    change_mount(mount, &change, submounts)
}

/// Sets attributes of a mount held by its descriptor, and makes it have nothing to do with the one that it is a copy of.
///
/// # Errors
/// The kernel's.
pub fn make_private(
    mount: BorrowedFd<'_>,
    attributes: MountAttributes,
    submounts: Submounts,
) -> Result<(), SysError> {
    let propagation = libc::MS_PRIVATE;
    let change = libc::mount_attr { attr_set: attributes.0, attr_clr: 0, propagation, userns_fd: 0 };
    change_mount(mount, &change, submounts)
}

/// Lets a mount held by its descriptor show what is mounted below the one that it is a copy of, and not the other way round.
///
/// # Errors
/// The kernel's.
pub fn make_slave(mount: BorrowedFd<'_>, submounts: Submounts) -> Result<(), SysError> {
    let change = libc::mount_attr { attr_set: 0, attr_clr: 0, propagation: libc::MS_SLAVE, userns_fd: 0 };
    change_mount(mount, &change, submounts)
}

fn change_mount(
    mount: BorrowedFd<'_>,
    change: &libc::mount_attr,
    submounts: Submounts,
) -> Result<(), SysError> {
    let flags = libc::AT_EMPTY_PATH | if submounts == Submounts::Include { libc::AT_RECURSIVE } else { 0 };
    let size = size_of::<libc::mount_attr>();
    // SAFETY: the path is an empty string and the structure has the size given; the call only reads both.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(change),
            size,
        )
    };
    done(result).map_err(|source| SysError::call("mount_setattr", "a detached mount", source))
}

/// A new tmpfs with an own size limit, attached nowhere. `options` are tmpfs(5)'s, such as `size` and `mode`.
///
/// # Errors
/// The kernel's.
pub fn detached_tmpfs(options: &[(&CStr, &CStr)], attributes: MountAttributes) -> Result<OwnedFd, SysError> {
    let context = FilesystemContext::open(c"tmpfs")?;
    options.iter().try_for_each(|(key, value)| context.set(key, value))?;
    context.mount(attributes)
}

/// A path as the kernel takes it; `EINVAL` for a NUL byte, as from the kernel for other nonsense.
pub(crate) fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

/// The descriptor a system call returned.
pub(crate) fn owned(result: libc::c_long) -> io::Result<OwnedFd> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just returned this descriptor to this call, so nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(result as RawFd) })
}

/// The success of a system call that returns 0.
pub(crate) fn done(result: libc::c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
