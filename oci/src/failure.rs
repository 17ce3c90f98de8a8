//! The three classes of failure. Every crate gives its errors a `class()` that matches each variant by name, so that a
//! new variant cannot be forgotten. An error that wraps the error of a system call asks [`FailureClass::of_io`].

use std::io::{self, ErrorKind};

/// The side that has to act on a failure: the user, the machine's owner, or rbuild's authors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureClass {
    /// The user has to change the Dockerfile, the command line, an image or an archive.
    Input,
    /// The machine's owner has to change its disk, permissions, kernel limits or network.
    Environment,
    /// rbuild's authors have to correct a mistake in the program.
    Internal,
}

/// The machine's faults for which [`ErrorKind`] has no name, by `errno`. The numbers are the same on every Linux
/// (errno.h).
const EIO: i32 = 5;
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;

impl FailureClass {
    /// Environment when `error` is a fault of the machine, in whatever operation, else `otherwise`. The caller gives
    /// `otherwise` because the rest depends on the operation: a missing file is the user's mistake when a Dockerfile names
    /// it, and the machine's fault when it was part of the store.
    #[must_use]
    pub fn of_io(error: &io::Error, otherwise: Self) -> Self {
        if is_fault_of_machine(error) { Self::Environment } else { otherwise }
    }
}

fn is_fault_of_machine(error: &io::Error) -> bool {
    let has_named_kind = matches!(
        error.kind(),
        ErrorKind::StorageFull
            | ErrorKind::QuotaExceeded
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::PermissionDenied
            | ErrorKind::OutOfMemory
            | ErrorKind::StaleNetworkFileHandle
            | ErrorKind::TimedOut
            | ErrorKind::NetworkDown
            | ErrorKind::NetworkUnreachable
            | ErrorKind::HostUnreachable
            | ErrorKind::AddrNotAvailable
            | ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::NotConnected
    );
    has_named_kind || matches!(error.raw_os_error(), Some(EIO | ENFILE | EMFILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of errno.h with their class.
    #[test]
    fn faults_of_the_machine_are_told_from_bad_input() {
        let table = [
            ("EPERM", 1, FailureClass::Environment),
            ("ENOENT", 2, FailureClass::Input),
            ("EIO", 5, FailureClass::Environment),
            ("ENOMEM", 12, FailureClass::Environment),
            ("EACCES", 13, FailureClass::Environment),
            ("EEXIST", 17, FailureClass::Input),
            ("ENOTDIR", 20, FailureClass::Input),
            ("EISDIR", 21, FailureClass::Input),
            ("EINVAL", 22, FailureClass::Input),
            ("ENFILE", 23, FailureClass::Environment),
            ("EMFILE", 24, FailureClass::Environment),
            ("ENOSPC", 28, FailureClass::Environment),
            ("EROFS", 30, FailureClass::Environment),
            ("ENAMETOOLONG", 36, FailureClass::Input),
            ("ELOOP", 40, FailureClass::Input),
            ("ENETDOWN", 100, FailureClass::Environment),
            ("ENETUNREACH", 101, FailureClass::Environment),
            ("ECONNRESET", 104, FailureClass::Environment),
            ("ETIMEDOUT", 110, FailureClass::Environment),
            ("ECONNREFUSED", 111, FailureClass::Environment),
            ("EHOSTUNREACH", 113, FailureClass::Environment),
            ("EDQUOT", 122, FailureClass::Environment),
        ];
        for (name, number, class) in table {
            let error = io::Error::from_raw_os_error(number);
            assert_eq!(FailureClass::of_io(&error, FailureClass::Input), class, "{name}");
        }
    }

    #[test]
    fn what_is_no_fault_of_the_machine_is_for_the_caller_to_judge() {
        let damaged = || io::Error::new(ErrorKind::InvalidData, "damaged");
        for class in [FailureClass::Input, FailureClass::Environment, FailureClass::Internal] {
            assert_eq!(FailureClass::of_io(&damaged(), class), class);
            assert_eq!(FailureClass::of_io(&ErrorKind::UnexpectedEof.into(), class), class);
        }
        // a kind counts even without an errno
        let kind_alone = io::Error::from(ErrorKind::StorageFull);
        assert_eq!(FailureClass::of_io(&kind_alone, FailureClass::Internal), FailureClass::Environment);
    }
}
