//! Real overlays and real containers. Needs root and busybox-static.

#![expect(clippy::unwrap_used, reason = "test support outside of test functions")]

mod escape;
mod overlay;
mod sandbox;
mod threads;
mod world;
