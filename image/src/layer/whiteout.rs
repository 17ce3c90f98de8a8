//! How overlayfs and layer tars write that something is gone (Linux Documentation/filesystems/overlayfs.rst, "whiteouts
//! and opaque directories"; OCI image specification, layer.md#whiteouts).

use std::sync::OnceLock;

/// Before a name in a tar: that name is gone from the layers below.
pub(crate) const WHITEOUT_PREFIX: &[u8] = b".wh.";

/// In a directory in a tar: everything below it is gone from the layers below.
pub(crate) const OPAQUE_NAME: &[u8] = b".wh..wh..opq";

/// The extended attribute that makes a directory opaque: `trusted.` belongs to real root, so in a user namespace overlayfs
/// is mounted with `userxattr`.
pub(crate) fn opaque_attribute() -> &'static str {
    if in_user_namespace() { "user.overlay.opaque" } else { "trusted.overlay.opaque" }
}

/// Whether this process is in a user namespace, or is no root at all.
pub(crate) fn in_user_namespace() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let identity = ["0", "0", "4294967295"];
        let whole = std::fs::read_to_string("/proc/self/uid_map")
            .is_ok_and(|map| map.split_ascii_whitespace().eq(identity));
        !whole || !rustix::process::geteuid().is_root()
    })
}
