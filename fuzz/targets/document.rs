//! Any bytes as a manifest, an index and a config.

#![no_main]

#[path = "../../oci/tests/laws/document_laws/mod.rs"]
mod document_laws;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    document_laws::check(bytes);
});
