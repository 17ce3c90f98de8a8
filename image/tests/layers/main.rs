//! Layer tars on the real thing: written from directories, applied to layers, made again.

#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

mod fixture;
mod hostile;
mod laws;
mod round_trip;
mod users;
