//! Any bytes as the description of a cache that machines share.

#![no_main]

#[path = "../../cache/remote/tests/documents/description_laws/mod.rs"]
mod description_laws;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    description_laws::check(bytes);
});
