//! The store on a real disk.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where it stopped")]

mod budget;
mod builds;
mod cache_mounts;
mod collection;
mod containers;
mod contents;
mod crash;
mod fixture;
mod listings;
mod remote_layers;
mod verification;
mod writers;
