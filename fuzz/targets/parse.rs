//! Any bytes as a Dockerfile.

#![no_main]

#[path = "../../parser/tests/language/dump/mod.rs"]
mod dump;
#[path = "../../parser/tests/language/file_laws/mod.rs"]
mod file_laws;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    file_laws::check(bytes);
});
