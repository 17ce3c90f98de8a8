//! Real overlays and real containers. Needs root and busybox-static.

mod overlay;
mod sandbox;
mod threads;
mod world;
