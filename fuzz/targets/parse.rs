//! Any bytes as a Dockerfile.

#![no_main]

#[path = "../../parser/tests/dump/mod.rs"]
mod dump;
#[path = "../../parser/tests/file_laws/mod.rs"]
mod file_laws;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    file_laws::check(bytes);
});
