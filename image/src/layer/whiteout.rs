//! How overlayfs and layer tars write that something is gone (Linux Documentation/filesystems/overlayfs.rst, "whiteouts
//! and opaque directories"; OCI image specification, layer.md#whiteouts).

use rbuild_cache::Writer;

/// Before a name in a tar: that name is gone from the layers below.
pub(crate) const WHITEOUT_PREFIX: &[u8] = b".wh.";

/// In a directory in a tar: everything below it is gone from the layers below.
pub(crate) const OPAQUE_NAME: &[u8] = b".wh..wh..opq";

/// The extended attribute that makes a directory opaque in the layers of `writer`: `trusted.` belongs to the machine's root,
/// so in a user namespace overlayfs is mounted with `userxattr`.
pub(crate) fn opaque_attribute(writer: &Writer) -> &'static str {
    match writer {
        Writer::Root => "trusted.overlay.opaque",
        Writer::User { .. } => "user.overlay.opaque",
    }
}
