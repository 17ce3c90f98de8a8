//! Overlay mounts: many read-only directories under one, with or without a directory that takes the changes.
//!
//! Every layer is its own `lowerdir+` option (Linux 6.8), so neither a page of mount options nor commas and
//! colons in paths limit the stack. The mount is detached: it is worked in through its descriptor and
//! attached by a sandbox.
//!
//! Features that write state only this host can read back are off: redirects are neither made nor followed (a
//! hostile layer could carry them), renaming a lower directory fails with `EXDEV` and tools copy, as under
//! docker's defaults.

use crate::{
    SysError,
    mount::{FilesystemContext, MountAttributes, Submounts, c_path, clone_tree, set_mount_attributes},
};
use std::{
    ffi::{CStr, CString},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::Path,
};

/// Most layers that one overlay can have below its upper directory (`OVL_MAX_STACK`).
pub const MAX_LOWERS: usize = 500;

/// fsconfig(2) takes strings of at most 255 bytes.
const MAX_OPTION: usize = 255;

/// Nothing of one host's state goes to disk; `uuid` would be an attribute of every upper directory.
const OPTIONS: [(&CStr, &CStr); 6] = [
    (c"source", c"overlay"),
    (c"redirect_dir", c"nofollow"),
    (c"metacopy", c"off"),
    (c"index", c"off"),
    (c"xino", c"off"),
    (c"uuid", c"null"),
];

/// Where overlayfs keeps its marks on files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum XattrNamespace {
    /// `trusted.overlay.*`: for real root.
    Trusted,
    /// `user.overlay.*`: in a user namespace.
    User,
}

impl XattrNamespace {
    /// How the names of all marks begin.
    #[must_use]
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Trusted => "trusted.overlay.",
            Self::User => "user.overlay.",
        }
    }

    /// On a directory, `y`: what is below is hidden. `x`: marks in it may stand for whiteouts.
    #[must_use]
    pub fn opaque(self) -> &'static str {
        match self {
            Self::Trusted => "trusted.overlay.opaque",
            Self::User => "user.overlay.opaque",
        }
    }

    /// On an empty file: its name is gone, as a device 0/0 says (Linux 6.7).
    #[must_use]
    pub fn whiteout(self) -> &'static str {
        match self {
            Self::Trusted => "trusted.overlay.whiteout",
            Self::User => "user.overlay.whiteout",
        }
    }
}

/// The directories that take changes; both on one file system.
#[derive(Clone, Copy, Debug)]
pub struct Upper<'a> {
    /// Takes what is written.
    pub directory: &'a Path,
    /// Empty directory for the kernel's own use.
    pub work: &'a Path,
    /// The kernel's care for what is written.
    pub syncing: Syncing,
}

/// What the kernel does when a program asks for its files to be on the disk, and when the overlay is unmounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syncing {
    /// It sees to it.
    Done,
    /// Nothing (`volatile`): changes are worthless until committed, and the committer syncs what it keeps. The kernel refuses to
    /// mount the same work directory again.
    Skipped,
}

/// One overlay mount.
#[derive(Clone, Copy, Debug)]
pub struct OverlaySpec<'a> {
    /// Read-only layers, lowest first.
    pub lowers: &'a [&'a Path],
    /// Where changes go; `None` makes a read-only view.
    pub upper: Option<Upper<'a>>,
    /// An empty directory: it stands in where the kernel wants a lower layer and there is none.
    pub empty: &'a Path,
    /// Where the marks are.
    pub xattr: XattrNamespace,
}

/// Mounts an overlay, attached nowhere; usable at once with the `*at` calls.
///
/// # Errors
/// [`SysError::TooManyLayers`], [`SysError::KernelTooOld`], or the failed call with what overlayfs logged.
pub fn mount_overlay(spec: &OverlaySpec<'_>) -> Result<OwnedFd, SysError> {
    if spec.lowers.len() > MAX_LOWERS {
        return Err(SysError::TooManyLayers { found: spec.lowers.len(), limit: MAX_LOWERS });
    }
    if spec.lowers.is_empty() && spec.upper.is_none() {
        return empty_view(spec.empty);
    }
    let context = FilesystemContext::open(c"overlay")?;
    // Short names of long paths live as long as these descriptors.
    let mut anchors = Vec::new();
    let mut first = true;
    let padding = match (&spec.upper, spec.lowers.len()) {
        (Some(_), 0) => 1,
        (Some(_), _) => 0,
        (None, count) => usize::from(count < 2),
    };
    for lower in spec.lowers.iter().rev().copied().chain(std::iter::repeat_n(spec.empty, padding)) {
        let result = set_path(&context, c"lowerdir+", lower, &mut anchors);
        if std::mem::take(&mut first) {
            result.map_err(name_old_kernel)?;
        } else {
            result?;
        }
    }
    if let Some(upper) = &spec.upper {
        set_path(&context, c"upperdir", upper.directory, &mut anchors)?;
        set_path(&context, c"workdir", upper.work, &mut anchors)?;
        if upper.syncing == Syncing::Skipped {
            context.set_flag(c"volatile")?;
        }
    }
    match spec.xattr {
        XattrNamespace::Trusted => {}
        XattrNamespace::User => context.set_flag(c"userxattr")?,
    }
    for (key, value) in OPTIONS {
        context.set(key, value)?;
    }
    // Images hold device nodes, which may be made and copied; through this mount they open nothing.
    let attributes = match spec.upper {
        Some(_) => MountAttributes::NO_DEV,
        None => MountAttributes::NO_DEV.and(MountAttributes::READ_ONLY),
    };
    context.mount(attributes)
}

/// A view of no layers. The kernel refuses an overlay of fewer than two, so it is the empty directory itself.
fn empty_view(empty: &Path) -> Result<OwnedFd, SysError> {
    let view = clone_tree(nix::fcntl::AT_FDCWD, empty, Submounts::Leave)?;
    let attributes = MountAttributes::NO_DEV.and(MountAttributes::READ_ONLY);
    set_mount_attributes(view.as_fd(), attributes, Submounts::Leave)?;
    Ok(view)
}

fn set_path(
    context: &FilesystemContext,
    key: &CStr,
    path: &Path,
    anchors: &mut Vec<OwnedFd>,
) -> Result<(), SysError> {
    let fail = |source| SysError::call("open", path.display(), source);
    let name = c_path(path).map_err(fail)?;
    if name.as_bytes().len() <= MAX_OPTION {
        return context.set(key, &name);
    }
    let flags = nix::fcntl::OFlag::O_PATH | nix::fcntl::OFlag::O_CLOEXEC;
    let anchor = nix::fcntl::open(path, flags, nix::sys::stat::Mode::empty()).map_err(|e| fail(e.into()))?;
    let short =
        CString::new(format!("/proc/self/fd/{}", anchor.as_raw_fd())).expect("digits hold no NUL byte");
    anchors.push(anchor);
    context.set(key, &short)
}

/// Before 6.8 overlayfs answers `EINVAL` to the unknown option.
fn name_old_kernel(error: SysError) -> SysError {
    match error {
        SysError::Call { source, subject, .. }
            if source.raw_os_error() == Some(libc::EINVAL) && subject.contains("Unknown parameter") =>
        {
            SysError::KernelTooOld { feature: "stack layers one by one", source }
        }
        other @ (SysError::Call { .. } | SysError::KernelTooOld { .. } | SysError::TooManyLayers { .. }) => {
            other
        }
    }
}
