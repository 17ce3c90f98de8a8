//! Layer tars on the real thing: written from directories, applied to layers, made again.

mod fixture;
mod hostile;
mod laws;
mod many_files;
mod round_trip;
mod users;
