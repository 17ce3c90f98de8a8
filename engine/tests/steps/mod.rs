//! Keys, look-ups, reasons and plans on a real store, with steps that are carried out by a stub: no step needs root here.
//!
//! These tests need what the library keeps to itself, so they are a part of its own test program (see `lib.rs`).

mod agreement;
mod events;
mod outputs;
mod queue;
mod reasons;
mod registries;
mod world;
