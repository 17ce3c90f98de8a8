//! File calls that `std` and `nix` lack or do slowly. What `nix` offers safely is used from there: mknodat,
//! linkat, symlinkat, renameat2, utimensat, fchownat, syncfs, flock, fallocate, statfs.
//!
//! Invariant: every path is relative to a directory descriptor, and a last component that is a symbolic link
//! is never followed unless the name says so.

mod mode;
mod open;
mod stat;

pub use mode::set_mode;
pub use open::{Resolve, open_below, open_in_root};
pub use stat::{FileStat, stat_at, stat_fd};
