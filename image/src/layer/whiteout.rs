//! How overlayfs and layer tars write that something is gone (Linux Documentation/filesystems/overlayfs.rst, "whiteouts
//! and opaque directories"; OCI image specification, layer.md#whiteouts).

use rbuild_cache::Writer;
use rustix::{
    fs::{FileType, Mode, OFlags, Stat, XattrFlags, fgetxattr, fsetxattr, mknodat, openat},
    io::Errno,
};
use std::os::fd::OwnedFd;

/// Before a name in a tar: that name is gone from the layers below.
pub(crate) const WHITEOUT_PREFIX: &[u8] = b".wh.";

/// Before names in a tar that aufs kept for itself, but for the next one.
pub(crate) const MARK_PREFIX: &[u8] = b".wh..wh.";

/// In a directory in a tar: everything below it is gone from the layers below.
pub(crate) const OPAQUE_NAME: &[u8] = b".wh..wh..opq";

/// The extended attributes that overlayfs reads in the layers of one writer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marks {
    /// With the value `y` it makes a directory opaque.
    pub(crate) opaque: &'static str,
    /// It makes an empty file a whiteout.
    pub(crate) whiteout: &'static str,
}

impl Marks {
    /// `trusted.` belongs to the machine's root, so in a user namespace overlayfs is mounted with `userxattr`.
    pub(crate) fn of(writer: &Writer) -> Self {
        match writer {
            Writer::Root => Self { opaque: "trusted.overlay.opaque", whiteout: "trusted.overlay.whiteout" },
            Writer::User { .. } => Self { opaque: "user.overlay.opaque", whiteout: "user.overlay.whiteout" },
        }
    }

    /// Makes the whiteout `name` in `directory`: a device 0/0, or, on overlayfs, which refuses to make one, the attributes
    /// that stand for it: one on an empty file, and one on its directory that says that there may be such files.
    pub(crate) fn make_whiteout(self, directory: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
        match mknodat(directory, name, FileType::CharacterDevice, Mode::empty(), 0) {
            Err(Errno::PERM) => {}
            made => return made,
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(directory, name, flags, Mode::empty())?;
        fsetxattr(&file, self.whiteout, b"y", XattrFlags::empty())?;
        // the descriptor may be one that only leads there
        let directory =
            openat(directory, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        match fsetxattr(&directory, self.opaque, b"x", XattrFlags::CREATE) {
            Err(Errno::EXIST) => Ok(()),
            set => set,
        }
    }

    /// True if `name` in `directory`, whose metadata is `stat`, is a whiteout.
    pub(crate) fn is_whiteout(self, directory: &OwnedFd, name: &[u8], stat: &Stat) -> bool {
        let file_type = FileType::from_raw_mode(stat.st_mode);
        if file_type.is_char_device() {
            return stat.st_rdev == 0;
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        file_type.is_file()
            && stat.st_size == 0
            && openat(directory, name, flags, Mode::empty())
                .is_ok_and(|file| fgetxattr(&file, self.whiteout, &mut [0; 8]).is_ok())
    }
}
