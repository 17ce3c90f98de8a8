//! Git repositories, through the installed `git`: what a reference leads to, and the files of a commit.
//!
//! A repository is a stranger's. Nothing of it runs: there are no hooks, no filters and no configuration but what is written
//! here, and no transport but those of the network, so that a submodule cannot point to files of this machine. Logins come
//! from secrets, reach `git` in its environment alone, and are for the host of the remote.

mod access;
mod checkout;
mod error;
mod program;
mod repository;

pub(crate) use access::GitAccess;
pub(crate) use checkout::Checkout;
pub use error::GitError;
pub(crate) use repository::{GitCommit, is_pinned};
