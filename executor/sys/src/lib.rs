//! The system calls rbuild needs and `std` and `nix` do not offer, as safe functions over descriptors and
//! flag types.
//!
//! Invariants: this is the only crate with unsafe code; every unsafe block is one operation with its reasons
//! beside it; nothing here reads the environment or prints. What to mount and what to run is decided by
//! `rbuild-executor`.
//!
//! The reading order is [`program`] and [`spawn`] (how a container's first process comes to be without
//! running code that may lock or allocate), [`sandbox`] (the list of calls that makes a `RUN` step's world),
//! then the rest.

#![deny(unsafe_op_in_unsafe_fn)]
#![expect(unsafe_code, reason = "the one crate that talks to the kernel directly; all others forbid it")]

mod capability;
pub mod cgroup;
pub mod device;
pub mod disk;
mod error;
pub mod fs;
pub mod host_program;
mod init;
mod kernel;
pub mod limits;
pub mod member;
pub mod memory;
pub mod mount;
pub mod network;
pub mod overlay;
pub mod privileges;
mod proc_file;
pub mod program;
mod raw;
pub mod resident;
pub mod sandbox;
pub mod seccomp;
pub mod spawn;
pub mod terminal;
pub mod userns;

pub use capability::CapSet;
pub use error::{SandboxError, ScriptFault, SpawnError, SysError, UsernsError};
pub use kernel::kernel_version;
pub use proc_file::read_proc;
