//! What was left out of a layer because it cannot be had here.

use std::fmt;

/// Something in a layer tar that is not in the unpacked layer; no reason to fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A device node, which cannot be made in a user namespace.
    DeviceSkipped {
        /// Its path.
        entry: String,
    },
    /// An extended attribute the file system or the user's rights do not allow.
    AttributeSkipped {
        /// The path it is of.
        entry: String,
        /// Its name.
        attribute: String,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DeviceSkipped { entry } => write!(f, "device {entry:?} cannot be made in a user namespace"),
            Self::AttributeSkipped { entry, attribute } => {
                write!(f, "attribute {attribute} of {entry:?} cannot be kept here")
            }
        }
    }
}
