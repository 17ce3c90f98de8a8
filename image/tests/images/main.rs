//! Layers, archives and registries.

#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

mod archives;
mod damaged;
mod elsewhere;
mod layers;
mod packing;
mod registry;
